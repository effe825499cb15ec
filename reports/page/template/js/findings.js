// The table of findings: as many rows as there are, of which only those in view are drawn.

const SEVERITIES = ["error", "warning", "info"];
const table = { rows: null, order: null, sort: 2, down: false, current: -1, height: 34, ranks: [] };

async function startFindings() {
  if (!byId("finding-grid")) return;
  const packed = await unpack("packed-findings");
  const kinds = data.findings.codes;
  const severity = kinds.map((kind) => SEVERITIES.indexOf(kind.severity));
  const paths = packed.name.map((name, row) => {
    const folder = packed.folders[packed.folder[row]];
    return folder === "." ? name : folder + "/" + name;
  });
  table.rows = {
    ...packed, kinds, paths, severity, total: paths.length,
    sought: paths.map((path) => path.toLowerCase()), said: packed.messages.map((text) => text.toLowerCase()),
  };
  table.ranks = [
    Float64Array.from(packed.code, (code) => severity[code]), Float64Array.from(packed.code), Float64Array.from(paths, (_, row) => row),
    Float64Array.from(packed.message),
  ];
  const counts = new Map();
  packed.folder.forEach((folder) => counts.set(folder, (counts.get(folder) || 0) + 1));
  packed.folders.forEach((name, place) => byId("finding-folder").append(
    h("option", { value: place, text: `${name} (${whole.format(counts.get(place))})` })));
  buildGrid();
  connectTools();
  filterFindings();
}

function buildGrid() {
  const titles = ["Severity", "Code", "File", "What is wrong"];
  const heads = titles.map((title, column) => h("div", { role: "columnheader", "aria-sort": "none" },
    h("button", { type: "button", class: "sort", onclick: () => sortBy(column), text: title })));
  table.body = h("div", { role: "rowgroup", class: "grid-rows" });
  const grid = byId("finding-grid");
  grid.replaceChildren(h("div", { role: "rowgroup", class: "grid-top" }, h("div", { role: "row", class: "grid-row head" }, ...heads)), table.body);
  grid.addEventListener("scroll", drawRows, { passive: true });
  grid.addEventListener("keydown", moveRow);
  new ResizeObserver(() => { measureRows(); drawRows(); }).observe(grid);
  table.body.addEventListener("click", (event) => {
    const row = event.target.closest("[data-place]");
    if (row) choose(Number(row.dataset.place));
  });
}

function measureRows() {
  table.height = matchMedia("(max-width: 760px)").matches ? 62 : 34;
  table.body.style.height = (table.order ? table.order.length : 0) * table.height + "px";
}

function connectTools() {
  const again = debounce(filterFindings, 20);
  byId("finding-search").addEventListener("input", again);
  for (const name of ["code", "severity", "folder"]) byId("finding-" + name).addEventListener("change", filterFindings);
  byId("finding-sort").addEventListener("change", (event) => { table.down = false; table.sort = -1; sortBy(Number(event.target.value)); });
  byId("finding-csv").addEventListener("click", saveCsv);
  byId("finding-clear").addEventListener("click", () => {
    for (const name of ["search", "code", "severity", "folder"]) byId("finding-" + name).value = "";
    filterFindings();
  });
  document.querySelectorAll("[data-filter-code]").forEach((button) => button.addEventListener("click", () => {
    byId("finding-code").value = button.dataset.filterCode;
    filterFindings();
    byId("finding-tools").scrollIntoView({ block: "start" });
  }));
  document.querySelectorAll("[data-filter-folder]").forEach((button) => button.addEventListener("click", () => {
    byId("finding-folder").value = table.rows.folders.indexOf(button.dataset.filterFolder);
    filterFindings();
    byId("finding-tools").scrollIntoView({ block: "start" });
  }));
}

function filterFindings() {
  const { rows } = table;
  const sought = byId("finding-search").value.trim().toLowerCase();
  const code = rows.kinds.findIndex((kind) => kind.code === byId("finding-code").value);
  const severity = SEVERITIES.indexOf(byId("finding-severity").value);
  const chosen = byId("finding-folder").value;
  const folder = chosen === "" ? -1 : Number(chosen);
  const said = sought ? rows.said.map((text) => text.includes(sought)) : null;
  const codes = sought ? rows.kinds.map((kind) => kind.code.includes(sought)) : null;
  const kept = new Uint32Array(rows.total);
  let number = 0;
  for (let row = 0; row < rows.total; row += 1) {
    if (code >= 0 && rows.code[row] !== code) continue;
    if (severity >= 0 && rows.severity[rows.code[row]] !== severity) continue;
    if (folder >= 0 && rows.folder[row] !== folder) continue;
    if (said && !said[rows.message[row]] && !codes[rows.code[row]] && !rows.sought[row].includes(sought)) continue;
    kept[number] = row;
    number += 1;
  }
  table.order = kept.subarray(0, number);
  sortRows();
  table.current = -1;
  byId("finding-detail").replaceChildren();
  byId("finding-grid").removeAttribute("aria-activedescendant");
  byId("finding-grid").setAttribute("aria-rowcount", number + 1);
  byId("finding-count").textContent = number === rows.total ? `${whole.format(number)} findings` : `${whole.format(number)} of ${whole.format(rows.total)} findings`;
  byId("finding-grid").scrollTop = 0;
  measureRows();
  drawRows();
}

function sortBy(column) {
  table.down = table.sort === column ? !table.down : false;
  table.sort = column;
  filterFindings();
}

// Rows keep the order of their paths where the column says nothing: that order is the one they came in.
function sortRows() {
  const rank = table.ranks[table.sort];
  const sign = table.down ? -1 : 1;
  if (table.sort !== 2) table.order.sort((one, other) => sign * (rank[one] - rank[other]) || one - other);
  else if (table.down) table.order.reverse();
  byId("finding-grid").querySelectorAll("[role=columnheader]").forEach((head, column) =>
    head.setAttribute("aria-sort", column !== table.sort ? "none" : table.down ? "descending" : "ascending"));
  byId("finding-sort").value = table.sort;
}

function drawRows() {
  const grid = byId("finding-grid");
  const { rows, order, height, body } = table;
  if (!order) return;
  const first = Math.max(Math.floor(grid.scrollTop / height) - 8, 0);
  const end = Math.min(first + Math.ceil(grid.clientHeight / height) + 18, order.length);
  const drawn = [];
  for (let place = first; place < end; place += 1) {
    const row = order[place];
    const kind = rows.kinds[rows.code[row]];
    const node = h("div", {
      role: "row", class: "grid-row", id: "finding-row-" + place, "data-place": place, "aria-rowindex": place + 2,
      "aria-selected": place === table.current ? "true" : "false",
    },
    h("div", { role: "gridcell" }, h("span", { class: "severity " + kind.severity, text: kind.severity })),
    h("div", { role: "gridcell", class: "code", text: kind.code }),
    h("div", { role: "gridcell", class: "path", text: rows.paths[row], title: rows.paths[row] }),
    h("div", { role: "gridcell", class: "reason", text: rows.messages[rows.message[row]] }));
    node.style.top = place * height + "px";
    drawn.push(node);
  }
  if (!order.length) drawn.push(h("div", { role: "row", class: "grid-row empty" }, h("div", { role: "gridcell", text: "No finding matches." })));
  body.replaceChildren(...drawn);
}

function choose(place) {
  const { rows, order, height } = table;
  const grid = byId("finding-grid");
  table.current = place;
  const top = place * height, head = 36;
  if (top < grid.scrollTop) grid.scrollTop = top;
  else if (top + height + head > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + height + head - grid.clientHeight;
  drawRows();
  grid.setAttribute("aria-activedescendant", "finding-row-" + place);
  const row = order[place];
  const kind = rows.kinds[rows.code[row]];
  const path = rows.paths[row];
  const card = cardOf(path, kind.code);
  const parts = [
    h("p", {}, h("span", { class: "severity " + kind.severity, text: kind.severity }), " ", h("code", { text: kind.code }), " ", h("span", { class: "path", text: path })),
    h("p", { text: rows.messages[rows.message[row]] }),
    h("p", {}, commandLine(showCommand(path, kind.code, data.option))),
  ];
  if (card) {
    const button = h("button", { type: "button", onclick: () => openViewer(card.cards, card.place, { code: kind.code }, null), text: "Show the picture" });
    parts.push(h("p", {}, button));
  }
  byId("finding-detail").replaceChildren(...parts);
}

function cardOf(path, code) {
  for (const one of data.thumbnails.galleries || []) {
    if (one.code !== code) continue;
    const place = one.cards.findIndex((card) => card.path === path);
    if (place >= 0) return { cards: one.cards, place };
  }
  return null;
}

function moveRow(event) {
  if (event.target !== event.currentTarget || !table.order.length) return;
  const page = Math.max(Math.floor((event.currentTarget.clientHeight - 36) / table.height), 1);
  const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
  if (event.key === "Enter" && table.current >= 0) {
    const button = byId("finding-detail").querySelector("button:not(.copy)");
    if (button) button.click();
    return;
  }
  if (!(event.key in moves)) return;
  event.preventDefault();
  const from = table.current < 0 && moves[event.key] > 0 ? -1 : table.current;
  choose(Math.min(Math.max(from + moves[event.key], 0), table.order.length - 1));
}

// A cell that begins like a formula gets an apostrophe before it, so that spreadsheets show it as it is.
function csvCell(text) {
  const harmless = /^[=+\-@\t\r]/.test(text) ? "'" + text : text;
  return '"' + harmless.replaceAll('"', '""') + '"';
}

function saveCsv() {
  const { rows, order } = table;
  const texts = ["severity,code,path,message"];
  for (const row of order) {
    const kind = rows.kinds[rows.code[row]];
    texts.push([kind.severity, kind.code, rows.paths[row], rows.messages[rows.message[row]]].map(csvCell).join(","));
  }
  const address = URL.createObjectURL(new Blob(["\ufeff" + texts.join("\r\n") + "\r\n"], { type: "text/csv;charset=utf-8" }));
  const link = h("a", { href: address, download: "findings.csv" });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
