// One sample enlarged: arrow keys step, Escape closes.

const viewer = { cards: [], place: 0, options: {}, from: null };

function openViewer(cards, place, options, from) {
  Object.assign(viewer, { cards, place, options, from });
  const dialog = byId("viewer");
  const bar = h("div", { class: "tools", "data-toolbar": true });
  toolbar(bar, Boolean(options.system));
  dialog.replaceChildren(
    h("div", { class: "viewer-head" }, h("h2", { id: "viewer-title" }), h("p", { id: "viewer-place", role: "status" }),
      h("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => dialog.close(), text: "✕" })),
    bar,
    h("div", { class: "viewer-body" }, h("div", { id: "viewer-picture" }), h("div", { id: "viewer-text" })),
    h("div", { class: "viewer-foot" },
      h("button", { type: "button", onclick: () => step(-1), text: "← Previous" }),
      h("button", { type: "button", onclick: () => step(1), text: "Next →" })));
  live.add(drawViewer);
  drawViewer();
  if (!dialog.open) dialog.showModal();
}

function step(by) {
  viewer.place = (viewer.place + by + viewer.cards.length) % viewer.cards.length;
  drawViewer();
}

function drawViewer() {
  const { cards, place, options } = viewer;
  const card = cards[place];
  const picture = pictures[card.picture];
  const now = lookOf(options);
  byId("viewer-title").textContent = card.path;
  byId("viewer-place").textContent = `${place + 1} of ${cards.length}`;
  byId("viewer-picture").replaceChildren(drawPicture(card.picture, now));
  const command = showCommand(card.path, options.code, data.option);
  byId("viewer-text").replaceChildren(...[
    card.message ? h("p", { text: card.message }) : null,
    card.share === undefined ? null : h("p", { text: `${options.name}: ${percent(card.share)} of the mask` }),
    card.group ? h("p", { class: "note", text: "Group " + card.group }) : null,
    ...(picture ? picture.notes : []).map((text) => h("p", { class: "note", text })),
    picture && picture.size ? h("p", { class: "note", text: `${picture.size[0]} x ${picture.size[1]} pixels` }) : null,
    maskLegend(card.picture, now.system),
    command ? h("p", {}, commandLine(command)) : null,
  ].filter(Boolean));
}

function startViewer() {
  const dialog = byId("viewer");
  dialog.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select")) return;
    if (event.key === "ArrowRight") step(1);
    else if (event.key === "ArrowLeft") step(-1);
    else return;
    event.preventDefault();
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => {
    live.delete(drawViewer);
    const cards = viewer.from ? [...viewer.from.parentNode.querySelectorAll(".card")] : [];
    const target = cards[viewer.place] || viewer.from;
    cards.forEach((one) => one.setAttribute("tabindex", one === target ? "0" : "-1"));
    if (target) target.focus();
  });
}
