// Charts of rows: bars, divided bars and matrices, drawn anew for every width so that text keeps its size.

const ROW = 24;
const measure = document.createElement("canvas").getContext("2d");

function textWidth(text) {
  measure.font = "13px system-ui, sans-serif";
  return measure.measureText(text).width;
}

function cut(text, room) {
  const marks = [...text.slice(0, 300)];
  if (marks.join("") === text && textWidth(text) <= room) return text;
  let [least, most] = [1, marks.length];
  while (least < most) {
    const end = Math.ceil((least + most) / 2);
    if (textWidth(marks.slice(0, end).join("") + "…") > room) most = end - 1;
    else least = end;
  }
  return marks.slice(0, least).join("") + "…";
}

function chart(node, label, draw) {
  let width = 0;
  const redraw = () => {
    const now = Math.floor(node.clientWidth);
    if (!now || now === width) return;
    width = now;
    const picture = draw(now);
    picture.setAttribute("role", "group");
    picture.setAttribute("aria-label", label);
    node.replaceChildren(picture);
    if (picture.querySelector(".mark")) roving(picture, ".mark");
  };
  whenNear(node, () => {
    redraw();
    new ResizeObserver(redraw).observe(node);
  });
}

function mark(text, ...children) {
  const group = s("g", { class: "mark", tabindex: "-1", role: "img", "aria-label": text }, ...children);
  group.addEventListener("pointerenter", () => showTip(group, text));
  group.addEventListener("pointerleave", hideTip);
  group.addEventListener("focus", () => showTip(group, text));
  group.addEventListener("blur", hideTip);
  return group;
}

function nameColumn(rows, width) {
  const widest = Math.max(...rows.map((row) => textWidth(row.name)), 40);
  return Math.min(widest + 12, Math.max(90, width * 0.42));
}

function rowName(row, left, middle, number) {
  const parts = [s("text", { x: left - 8, y: middle, class: "name", text: cut(row.name, left - (number ? 40 : 12)) })];
  if (number) parts.push(s("text", { x: 26, y: middle, class: "name quiet", text: String(row.index) }));
  return parts;
}

// A rectangle in the colour of an entry, and over it the hatch of one whose colour others have, too.
function painted(entry, shape) {
  const ground = s("rect", { ...shape, fill: entry.colour });
  return entry.hatch ? [ground, s("rect", { ...shape, class: "hatch", fill: `url(#${entry.hatch})` })] : [ground];
}

function swatch(entry) {
  return s("svg", { width: 12, height: 12, class: "swatch", "aria-hidden": "true" }, ...painted(entry, { width: 12, height: 12, rx: 2 }));
}

// rows: name, index, colour, hatch, value, shown (the value in words), text (on hover).
function bars(node, label, rows) {
  chart(node, label, (width) => {
    const left = nameColumn(rows, width - 40) + 34;
    const tail = Math.max(...rows.map((row) => textWidth(row.shown))) + 12;
    const most = Math.max(...rows.map((row) => row.value), 1e-12);
    const room = Math.max(width - left - tail, 20);
    return s("svg", { width, height: rows.length * ROW, class: "bars" }, ...rows.map((row, place) => {
      const middle = place * ROW + ROW / 2;
      const long = row.value ? Math.max((row.value / most) * room, 1.5) : 0;
      return mark(row.text,
        s("rect", { x: 0, y: place * ROW, width, height: ROW, class: "hit" }),
        ...rowName(row, left, middle, true),
        ...painted(row, { x: left, y: middle - 7, width: long, height: 14, rx: 2, class: "bar" }),
        s("text", { x: left + long + 6, y: middle, class: "value", text: row.shown }));
    }));
  });
}

// rows: name, index, parts (value, colour, hatch, text); each row is divided into its parts.
function stacks(node, label, rows, numbered) {
  chart(node, label, (width) => {
    const left = nameColumn(rows, width) + (numbered ? 34 : 8);
    const room = width - left - 2;
    return s("svg", { width, height: rows.length * ROW, class: "stacks" }, ...rows.map((row, place) => {
      const total = row.parts.reduce((sum, part) => sum + part.value, 0);
      let start = left;
      const pieces = row.parts.filter((part) => part.value > 0).map((part) => {
        const share = part.value / total;
        const piece = mark(`${row.name}: ${part.text}, ${percent(share)}`, ...painted(part, {
          x: start, y: place * ROW + 3, width: Math.max(share * room - 0.5, 0.5), height: ROW - 6, class: "bar",
        }));
        start += share * room;
        return piece;
      });
      if (!pieces.length) pieces.push(s("text", { x: left, y: place * ROW + ROW / 2, class: "value quiet", text: "none" }));
      return s("g", {}, ...rowName(row, left, place * ROW + ROW / 2, numbered), ...pieces);
    }));
  });
}

// Of the images with the class of a row, the share that holds the class of the column.
function matrix(node, label, classes, together) {
  chart(node, label, (width) => {
    const left = Math.min(nameColumn(classes, width) + 34, width * 0.4);
    const cell = Math.max(Math.min((width - left - 4) / classes.length, 30), 5);
    const top = 22;
    const picture = s("svg", { width, height: top + classes.length * cell + 4, class: "matrix" });
    const every = Math.ceil(20 / cell);
    classes.forEach((column, place) => {
      if (place % every === 0) picture.append(s("text", { x: left + (place + 0.5) * cell, y: 14, class: "tick", text: String(column.index) }));
    });
    classes.forEach((row, down) => {
      const middle = top + (down + 0.5) * cell;
      if (cell >= 13 || down % Math.ceil(13 / cell) === 0) picture.append(...rowName(row, left, middle, true));
      classes.forEach((column, across) => {
        const all = together[down][down];
        const share = all ? together[down][across] / all : 0;
        picture.append(mark(
          `${row.name} with ${column.name}: ${whole.format(together[down][across])} of ${whole.format(all)} images, ${percent(share)}`,
          s("rect", { x: left + across * cell, y: top + down * cell, width: cell - 1, height: cell - 1, class: "cell-ground" }),
          s("rect", { x: left + across * cell, y: top + down * cell, width: cell - 1, height: cell - 1, class: "cell", "fill-opacity": share.toFixed(3) })));
      });
    });
    return picture;
  });
}

function legend(entries) {
  return h("ul", { class: "legend" }, ...entries.map((entry) =>
    h("li", {}, swatch(entry), " " + entry.name)));
}
