// Masks over images: small palette pictures whose values are places in a list of labels.

const pictures = readJson("pictures") || [];
const decoded = new Map();

function readMask(number) {
  if (!decoded.has(number)) {
    decoded.set(number, (async () => {
      const image = new Image();
      image.src = pictures[number].mask;
      await image.decode();
      const canvas = h("canvas", { width: image.naturalWidth, height: image.naturalHeight });
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
      const places = new Uint8Array(pixels.length / 4);
      for (let at = 0; at < places.length; at += 1) places[at] = pixels[4 * at];
      return { width: canvas.width, height: canvas.height, places };
    })());
  }
  return decoded.get(number);
}

function rgb(colour) {
  return [1, 3, 5].map((from) => parseInt(colour.slice(from, from + 2), 16));
}

// What each label of a picture is in the chosen class system: key, name, colour, hatch, ground (whether it is left clear).
function meaning(number, system) {
  const labels = pictures[number].labels || [];
  const table = data.systems.find((one) => one.name === system);
  const none = { key: -1, name: "no class", colour: "#c8c8c8", ground: true };
  return labels.map((label) => {
    const key = table ? table.of[label] : system === "labels" ? label : null;
    if (key === null || key === undefined) return none;
    const [name, paint] = table ? table.classes[key] : data.labels[key];
    return { ...paint, key, name, ground: key === 0 };
  });
}

// Lines of hatches in masks, in pixels: far enough apart to see the tissue between them.
const HATCH_EVERY = 10, HATCH_WIDTH = 2;

// The colour of the lines of a hatch; null without one.
function hatchInk(kind) {
  if (!kind.hatch) return null;
  const target = kind.hatch.endsWith("light") ? 255 : 0;
  return rgb(kind.colour).map((value) => value + (target - value) * 0.6);
}

function isHatched(hatch, across, down) {
  return (hatch.startsWith("slash") ? across + down : across) % HATCH_EVERY < HATCH_WIDTH;
}

// look: mode (fill, outline, side, image), opacity 0..1, system, only (the one class that is coloured).
async function paintMask(canvas, number, look) {
  const mask = await readMask(number);
  const kinds = meaning(number, look.system);
  canvas.width = mask.width;
  canvas.height = mask.height;
  const context = canvas.getContext("2d");
  if (look.mode === "image") return;
  const made = context.createImageData(mask.width, mask.height);
  const colours = kinds.map((kind) => rgb(kind.colour));
  const all = look.only === null || look.only === undefined;
  const inks = kinds.map((kind) => (all ? hatchInk(kind) : null));
  const alphas = kinds.map((kind) => {
    if (!all) return kind.key === look.only ? 255 : 0;
    return kind.ground ? 0 : 255;
  });
  const strength = look.mode === "fill" ? look.opacity : 1;
  const { places, width, height } = mask;
  for (let at = 0; at < places.length; at += 1) {
    const place = places[at];
    let alpha = look.mode === "side" && all ? 255 : alphas[place];
    if (look.mode === "outline" && alpha) {
      const across = at % width, down = (at - across) / width, key = kinds[place].key;
      const edge = (across > 0 && kinds[places[at - 1]].key !== key) || (across < width - 1 && kinds[places[at + 1]].key !== key)
        || (down > 0 && kinds[places[at - width]].key !== key) || (down < height - 1 && kinds[places[at + width]].key !== key);
      if (!edge) alpha = 0;
    }
    const ink = inks[place] && isHatched(kinds[place].hatch, at % width, Math.floor(at / width));
    made.data.set(ink ? inks[place] : colours[place], 4 * at);
    made.data[4 * at + 3] = alpha * strength;
  }
  context.putImageData(made, 0, 0);
}

// The picture of a card: image under mask, both beside each other, or what there is.
function drawPicture(number, look) {
  const picture = pictures[number];
  const box = h("div", { class: "picture " + look.mode });
  if (!picture) {
    box.append(h("p", { class: "none", text: "Left out, so that this page stays small." }));
    return box;
  }
  const apart = picture.size && picture.mask_size && String(picture.size) !== String(picture.mask_size);
  if (apart || !picture.image) box.classList.add("side");
  if (picture.image) box.append(h("img", { src: picture.image, alt: "", decoding: "async", draggable: "false" }));
  if (picture.mask) {
    const canvas = h("canvas", { class: "mask" });
    box.append(canvas);
    paintMask(canvas, number, apart || !picture.image ? { ...look, mode: "side" } : look).catch(() => canvas.remove());
  }
  if (picture.mask_picture) {
    box.classList.add("side");
    box.append(h("img", { src: picture.mask_picture, alt: "", decoding: "async" }));
  }
  if (!picture.image && !picture.mask && !picture.mask_picture) {
    box.append(h("p", { class: "none", text: picture.notes[0] || "Nothing can be shown." }));
  }
  return box;
}

// What the colours of a mask mean, the largest first.
const LEGEND_ROWS = 12;

function maskLegend(number, system) {
  const node = h("div");
  if (!pictures[number] || !pictures[number].mask) return node;
  readMask(number).then((mask) => {
    const known = new Map();
    const kinds = meaning(number, system);
    for (const place of mask.places) {
      const kind = kinds[place];
      if (!known.has(kind.key)) known.set(kind.key, { ...kind, pixels: 0 });
      known.get(kind.key).pixels += 1;
    }
    const entries = [...known.values()].sort((one, other) => other.pixels - one.pixels);
    node.replaceChildren(legend(entries.slice(0, LEGEND_ROWS)));
    if (entries.length > LEGEND_ROWS) node.append(h("p", { class: "note", text: `and ${entries.length - LEGEND_ROWS} more` }));
  }).catch(() => node.replaceChildren());
  return node;
}
