// Galleries: cards that are drawn as they come into view, and one way of looking that all of them share.

const look = { mode: "fill", opacity: 0.5, system: "labels" };
const live = new Set(); // functions that draw again what is in view
const MODES = [["fill", "Fill"], ["outline", "Outline"], ["side", "Side by side"], ["image", "Image"]];
let bars_made = 0;

function repaint() {
  for (const draw of live) draw();
  document.querySelectorAll("[data-toolbar]").forEach((bar) => bar.dispatchEvent(new Event("look")));
}

// Buttons for the way of looking; `fixed` toolbars have no choice of classes.
function toolbar(node, fixed) {
  const name = "mode-" + (bars_made += 1);
  const modes = MODES.map(([mode, text]) => h("label", {}, h("input", {
    type: "radio", name, value: mode, onchange: () => { look.mode = mode; repaint(); },
  }), h("span", { text })));
  const opacity = h("input", {
    type: "range", min: 0, max: 100, "aria-label": "Opacity of the mask",
    oninput: (event) => { look.opacity = event.target.value / 100; repaint(); },
  });
  const systems = ["labels", ...data.systems.map((one) => one.name)];
  const choice = h("select", { onchange: (event) => { look.system = event.target.value; repaint(); } },
    ...systems.map((text) => h("option", { text })));
  node.replaceChildren(h("fieldset", { class: "segments" }, h("legend", { text: "Show the mask as" }), ...modes),
    h("label", { class: "range" }, "Opacity ", opacity));
  if (!fixed && systems.length > 1) node.append(h("label", {}, "Colours of ", choice));
  const update = () => {
    modes.forEach((label) => { label.firstChild.checked = label.firstChild.value === look.mode; });
    opacity.value = Math.round(look.opacity * 100);
    opacity.disabled = look.mode !== "fill";
    choice.value = look.system;
  };
  node.addEventListener("look", update);
  update();
}

function caption(card) {
  const name = card.path.slice(card.path.lastIndexOf("/") + 1);
  const share = card.share === undefined ? null : h("span", { class: "share", text: percent(card.share) });
  return h("span", { class: "caption" }, h("span", { class: "file", text: name, title: card.path }), share);
}

// cards: path, message or share, picture; options: code, option, only and system of a class.
function gallery(node, cards, options) {
  const buttons = cards.map((card, place) => {
    const frame = h("span", { class: "frame" });
    const button = h("button", {
      type: "button", class: "card", tabindex: "-1", "aria-label": card.path + (card.message ? ": " + card.message : ""),
      onclick: () => openViewer(cards, place, options, button),
    }, frame, caption(card));
    const draw = () => frame.replaceChildren(drawPicture(card.picture, lookOf(options)));
    whenNear(button, () => { live.add(draw); draw(); });
    return button;
  });
  node.replaceChildren(...buttons);
  roving(node, ".card");
}

function lookOf(options) {
  return { ...look, system: options.system || look.system, only: options.only };
}
