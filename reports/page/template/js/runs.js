// Curves of the runs, and their previews as time goes by.

function startRuns() {
  const runs = data.runs.runs;
  if (!runs) return;
  const colour = (place) => LINE_COLOURS[place % LINE_COLOURS.length];
  const find = (name) => document.querySelector(`#runs [data-chart="${name}"]`);
  lines(find("loss"), "Training loss over steps", runs.flatMap((run, place) => [
    { name: run.name, colour: colour(place), points: run.curves.loss, pale: true },
    { name: run.name, colour: colour(place), points: run.curves.smoothed },
  ]));
  lines(find("validation"), "Validation loss over steps", runs.flatMap((run, place) => [
    { name: run.name, colour: colour(place), points: run.curves.ema },
    { name: run.name + ", as trained", colour: colour(place), points: run.curves.model, dashed: true },
  ]));
  lines(find("rate"), "Learning rate over steps", runs.map((run, place) => ({ name: run.name, colour: colour(place), points: run.curves.rate })));
  const buckets = (place) => lines(find("buckets"), `Validation loss of ${runs[place].name} by noise`, runs[place].buckets.map((points, at) => ({
    name: `${Math.round((100 * at) / runs[place].buckets.length)}-${Math.round((100 * (at + 1)) / runs[place].buckets.length)} %`,
    colour: colour(at), points,
  })));
  buckets(0);
  const choice = byId("bucket-run");
  if (choice) choice.addEventListener("change", () => buckets(Number(choice.value)));
  document.querySelectorAll("[data-previews]").forEach((node) => previews(node, runs[Number(node.dataset.previews)]));
}

function previews(node, run) {
  const all = run.previews;
  const image = h("img", { alt: "", width: all[0].width, height: all[0].height });
  const said = h("output", { class: "note" });
  const slider = h("input", { type: "range", min: 0, max: all.length - 1, value: all.length - 1, "aria-label": `Preview of ${run.name}` });
  const draw = () => {
    const one = all[Number(slider.value)];
    image.src = one.image;
    image.alt = `Masks above the images that ${run.name} made for them at step ${one.step}`;
    said.textContent = `step ${whole.format(one.step)}`;
    slider.setAttribute("aria-valuetext", said.textContent);
  };
  slider.hidden = all.length < 2;
  slider.addEventListener("input", draw);
  draw();
  node.append(image, h("figcaption", {}, slider, said));
}
