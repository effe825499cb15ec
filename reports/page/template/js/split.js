// How the classes are divided among the splits.

function startSplit() {
  const choice = byId("split-system");
  if (!choice) return;
  const { balance, names, straddling } = data.split;
  const node = document.querySelector('[data-chart="balance"]');
  const draw = () => {
    const one = balance[choice.selectedIndex];
    const parts = (pixels, images) => pixels.map((value, side) => ({
      ...names[side], value, text: `${names[side].name}, ${whole.format(value)} pixels` + (images ? ` in ${whole.format(images[side])} images` : ""),
    }));
    const inner = h("div");
    node.replaceChildren(legend(names), inner);
    stacks(inner, `${one.system} in the splits`, [
      { name: "all pixels", index: "", parts: parts(one.whole) },
      ...one.rows.map((row) => ({ name: row.name, index: row.index, parts: parts(row.pixels, row.images) })),
    ], true);
  };
  choice.append(...balance.map((one) => h("option", { text: one.system })));
  if (balance.length) {
    choice.selectedIndex = balance.length > 1 ? 1 : 0;
    choice.addEventListener("change", draw);
    draw();
  }
  const wall = document.querySelector("[data-straddling]");
  if (wall) gallery(wall, straddling, {});
}
