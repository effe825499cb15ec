// Elements, numbers, data, and what is said on hover and focus.

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function s(tag, attributes, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function byId(id) {
  return document.getElementById(id);
}

function readJson(id) {
  const node = byId(id);
  return node ? JSON.parse(node.textContent) : null;
}

const data = readJson("data");

async function unpack(id) {
  const text = readJson(id);
  if (text === null) return null;
  const bytes = Uint8Array.from(atob(text), (mark) => mark.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

function percent(share) {
  if (share === 0) return "0 %";
  return (share < 0.0001 ? (100 * share).toPrecision(2) : (100 * share).toFixed(share < 0.1 ? 2 : 1)) + " %";
}

function debounce(call, wait) {
  let timer = 0;
  return (...words) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...words), wait);
  };
}

// As a shell reads it: quoted where it holds anything but plain marks.
function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : "'" + text.replaceAll("'", "'\"'\"'") + "'";
}

function commandLine(text) {
  return h("span", { class: "command" }, h("code", { text }), h("button", {
    type: "button", class: "copy", "data-copy": text, "aria-label": "Copy the command " + text, text: "Copy",
  }));
}

// A card in the findings' words: the command that tells all that is known of its sample.
function showCommand(path, code, option) {
  if (path.includes("\\")) return code ? "histods show " + code + option : null; // a name that cannot be typed
  return "histods show " + quoted(path.startsWith("-") ? "./" + path : path) + option;
}

function showTip(node, text) {
  const tip = byId("tip");
  tip.textContent = text;
  tip.hidden = false;
  const box = node.getBoundingClientRect();
  const room = document.documentElement.clientWidth;
  const left = Math.min(Math.max(box.left + Math.min(box.width, 260) / 2 - tip.offsetWidth / 2, 8), room - tip.offsetWidth - 8);
  const above = box.top - tip.offsetHeight - 8;
  tip.style.left = left + "px";
  tip.style.top = (above > 4 ? above : box.bottom + 8) + "px";
}

function hideTip() {
  byId("tip").hidden = true;
}

// Things in a row of which one can be reached with Tab and the others with arrow keys.
function roving(container, selector) {
  const items = () => [...container.querySelectorAll(selector)];
  const first = items()[0];
  if (first) first.setAttribute("tabindex", "0");
  container.addEventListener("keydown", (event) => {
    const all = items();
    const place = all.indexOf(event.target.closest(selector));
    if (place < 0) return;
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -place, End: all.length - 1 - place };
    if (!(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const next = all[Math.min(Math.max(place + steps[event.key], 0), all.length - 1)];
    all.forEach((one) => one.setAttribute("tabindex", one === next ? "0" : "-1"));
    next.focus();
  });
}

// Call once a node comes near the part of the page that is seen, and for all nodes before printing.
const waiting = new Map();
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) begin(entry.target);
}, { rootMargin: "600px" });

function whenNear(node, call) {
  waiting.set(node, call);
  watcher.observe(node);
}

function begin(node) {
  const call = waiting.get(node);
  waiting.delete(node);
  watcher.unobserve(node);
  if (call) call();
}
