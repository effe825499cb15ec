// Curves over steps, several beside each other, whose values are read with the pointer or the arrow keys.

const LINE_COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#882255", "#737373", "#332288", "#b59b00"];

function ticks(least, most, number) {
  const span = most - least || Math.abs(most) || 1;
  const power = 10 ** Math.floor(Math.log10(span / number));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => span / one <= number) || 10 * power;
  const found = [];
  for (let at = Math.ceil(least / step) * step; at <= most + step * 1e-6; at += step) found.push(Math.abs(at) < step * 1e-6 ? 0 : at);
  return found;
}

// The point of a curve at a step, or the last before it.
function valueAt(points, step) {
  let found = null;
  for (const point of points) {
    if (point[0] > step) break;
    found = point;
  }
  return found || points[0];
}

// series: name, colour, points [[step, value]], pale, dashed.
function lines(node, label, series) {
  const drawn = series.filter((one) => one.points.length);
  if (!drawn.length) {
    node.replaceChildren(h("p", { class: "missing", text: "No values were recorded yet." }));
    return;
  }
  const picture = h("div", { class: "lines" });
  const named = drawn.filter((one) => !one.pale);
  node.replaceChildren(picture, legend(named.map((one) => ({ name: one.name, colour: one.colour }))));
  const steps = [...new Set(named.flatMap((one) => one.points.map((point) => point[0])))].sort((one, other) => one - other);
  chart(picture, label, (width) => {
    const height = 240, left = 56, right = 12, top = 8, bottom = 26;
    const every = drawn.flatMap((one) => one.points);
    const last = Math.max(...every.map((point) => point[0]));
    const values = every.map((point) => point[1]).sort((one, other) => one - other);
    // A few leaps would flatten all else: the highest hundredth may leave the chart.
    const least = Math.min(values[0], named[0].points[0][1]), cap = values[Math.floor((values.length - 1) * 0.995)];
    const most = Math.max(cap, ...named.flatMap((one) => one.points.map((point) => point[1]))) || 1;
    const pad = (most - least || most) * 0.06;
    const low = Math.max(least - pad, least >= 0 ? 0 : -Infinity), high = most + pad;
    const x = (step) => left + (step / (last || 1)) * (width - left - right);
    const y = (value) => top + (1 - (Math.min(value, high) - low) / (high - low || 1)) * (height - top - bottom);
    const art = s("svg", { width, height, class: "curves" });
    for (const tick of ticks(low, high, 5)) {
      art.append(s("line", { x1: left, x2: width - right, y1: y(tick), y2: y(tick), class: "rule" }),
        s("text", { x: left - 8, y: y(tick), class: "name quiet", text: short.format(tick) }));
    }
    for (const tick of ticks(0, last, Math.max(Math.floor(width / 110), 2))) {
      art.append(s("text", { x: x(tick), y: height - 8, class: "tick", text: whole.format(tick) }));
    }
    for (const one of drawn) {
      const points = one.points.map((point) => `${x(point[0]).toFixed(1)},${y(point[1]).toFixed(1)}`).join(" ");
      art.append(s("polyline", { points, stroke: one.colour, class: "curve" + (one.pale ? " pale" : "") + (one.dashed ? " dashed" : "") }));
      if (one.points.length === 1) art.append(s("circle", { cx: x(one.points[0][0]), cy: y(one.points[0][1]), r: 3, fill: one.colour }));
    }
    art.append(cursor(art, { steps, named, x, width, top, left, height, bottom, label }));
    return art;
  });
}

// A line that the pointer and the arrow keys move from step to step, and what the curves are there.
function cursor(art, place) {
  const { steps, named, x, top, height, bottom } = place;
  const rule = s("line", { y1: top, y2: height - bottom, class: "cursor" });
  const slider = s("g", {
    class: "slider", tabindex: "0", role: "slider", "aria-label": place.label, "aria-valuemin": steps[0],
    "aria-valuemax": steps[steps.length - 1],
  }, rule, s("rect", { x: place.left, y: top, width: Math.max(place.width - place.left, 1), height: height - top - bottom, class: "hit" }));
  let at = steps.length - 1;
  const say = (visible) => {
    const step = steps[at];
    const text = `step ${whole.format(step)}: ` + named.map((one) => `${one.name} ${short.format(valueAt(one.points, step)[1])}`).join(", ");
    rule.setAttribute("x1", x(step));
    rule.setAttribute("x2", x(step));
    slider.setAttribute("aria-valuenow", step);
    slider.setAttribute("aria-valuetext", text);
    if (visible) showTip(rule, text);
  };
  say(false);
  slider.addEventListener("pointermove", (event) => {
    const inside = event.clientX - art.getBoundingClientRect().left;
    at = steps.reduce((best, step, index) => (Math.abs(x(step) - inside) < Math.abs(x(steps[best]) - inside) ? index : best), 0);
    slider.classList.add("on");
    say(true);
  });
  const off = () => { slider.classList.remove("on"); hideTip(); };
  slider.addEventListener("pointerleave", off);
  slider.addEventListener("blur", off);
  slider.addEventListener("focus", () => { if (slider.matches(":focus-visible")) { slider.classList.add("on"); say(true); } });
  slider.addEventListener("keydown", (event) => {
    const page = Math.max(Math.round(steps.length / 20), 1);
    const moves = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: page, PageDown: -page, Home: -steps.length, End: steps.length };
    if (!(event.key in moves)) return;
    event.preventDefault();
    at = Math.min(Math.max(at + moves[event.key], 0), steps.length - 1);
    slider.classList.add("on");
    say(true);
  });
  return slider;
}
