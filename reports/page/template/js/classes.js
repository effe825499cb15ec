// Labels and class systems, one panel for each.

function startClasses() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  if (!tabs.length) return;
  const open = (place, focus) => {
    tabs.forEach((tab, number) => {
      tab.setAttribute("aria-selected", number === place ? "true" : "false");
      tab.setAttribute("tabindex", number === place ? "0" : "-1");
      byId("system-" + number).hidden = number !== place;
    });
    if (focus) tabs[place].focus();
    drawSystem(place);
  };
  tabs.forEach((tab, place) => {
    tab.addEventListener("click", () => open(place));
    tab.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (by) open((place + by + tabs.length) % tabs.length, true);
    });
  });
  open(tabs.length > 1 ? 1 : 0);
}

const systems_drawn = new Set();

function drawSystem(place) {
  if (systems_drawn.has(place)) return;
  systems_drawn.add(place);
  const system = data.classes.systems[place];
  const panel = byId("system-" + place);
  const find = (name) => panel.querySelector(`[data-chart="${name}"]`);
  const kept = new Set(system.drawn);
  const rows = system.classes.filter((row) => kept.has(row.index));
  const of = new Map(system.classes.map((row) => [row.index, row]));
  const title = (text) => `${text} of ${system.name}`;
  const bar = (value, shown, row) => ({
    ...row, value, shown,
    text: `${row.name}: ${whole.format(row.pixels)} pixels, ${percent(row.percent / 100)}` + (row.images === null ? "" : `, in ${whole.format(row.images)} images`),
  });
  bars(find("percent"), title("Share of pixels"), rows.map((row) => bar(row.percent, percent(row.percent / 100), row)));
  bars(find("images"), title("Images"), rows.map((row) => bar(row.images || 0, whole.format(row.images || 0), row)));
  if (find("groups")) {
    const others = { name: "others", colour: "#888888" };
    stacks(find("groups"), title("Mix of the groups"), system.groups.rows.map((group) => ({
      name: group.name,
      parts: group.parts.map(([index, value]) => {
        const one = of.get(index) || others;
        return { ...one, value, text: one.name };
      }),
    })), false);
    find("groups").after(legend(rows));
  }
  if (find("together")) matrix(find("together"), title("Classes that occur together"), rows, system.together);
  const wall = panel.querySelector("[data-class-gallery]");
  if (wall) wall.append(...system.gallery.map((one) => classGallery(system, of.get(one.index), one)));
}

function classGallery(system, row, one) {
  const options = { only: row.index, system: system.name, name: row.name };
  const part = (title, cards) => {
    if (!cards.length) return null;
    const node = h("div", { class: "cards small" });
    gallery(node, cards, options);
    return h("div", {}, h("p", { class: "note", text: title }), node);
  };
  return h("article", { "aria-label": row.name },
    h("h4", {}, swatch(row), ` ${row.index} ${row.name}`),
    h("div", { class: "pairs" }, part("largest share", one.clear), part("smallest share", one.doubtful)));
}
