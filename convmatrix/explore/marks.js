// How weights look and how numbers, names and places are written.

// Masataka Okabe and Kei Ito, Color Universal Design (2008), without black: told apart by colour-blind readers.
const DISTINCT = [
  [86, 180, 233],
  [230, 159, 0],
  [0, 158, 115],
  [240, 228, 66],
  [0, 114, 178],
  [213, 94, 0],
  [204, 121, 167],
];
// More weights than that: a ramp through the corners of matplotlib's viridis, which grows lighter for every eye.
const RAMP = [
  [68, 1, 84],
  [59, 82, 139],
  [33, 145, 140],
  [94, 201, 98],
  [253, 231, 37],
];

/** Return a colour [red, green, blue] for each of n weights. */
function palette(n) {
  if (n <= DISTINCT.length) return DISTINCT.slice(0, n);
  return Array.from({ length: n }, (_, index) => {
    const place = (index * (RAMP.length - 1)) / (n - 1);
    const corner = Math.min(Math.floor(place), RAMP.length - 2);
    return RAMP[corner].map((from, channel) =>
      Math.round(from + (place - corner) * (RAMP[corner + 1][channel] - from)),
    );
  });
}

const css = ([red, green, blue]) => `rgb(${red},${green},${blue})`;

/** Return black or white, whichever reads better on a colour (relative luminance of WCAG 2). */
function inkOn(colour) {
  const linear = colour.map((value) => {
    const c = value / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 ? "#000" : "#fff";
}

// Hatchings for cells too small for a label: with colours they tell weights apart, without colours too.
const HATCHES = ["", "M0 2H4", "M2 0V4", "M0 4L4 0", "M0 0L4 4", "M0 2H4M2 0V4", "M0 4L4 0M0 0L4 4", "M1.5 2H2.5"];

/** Return the SVG definitions of the hatchings, each in black and in white. */
function hatchDefinitions() {
  const pattern = (path, index, ink) =>
    `<pattern id="hatch-${index}-${ink.slice(1)}" width="4" height="4" patternUnits="userSpaceOnUse">` +
    `<path d="${path}" stroke="${ink}" stroke-width="${index === 7 ? 1.4 : 0.7}" fill="none"/></pattern>`;
  const patterns = HATCHES.flatMap((path, index) =>
    path ? [pattern(path, index, "#000"), pattern(path, index, "#fff")] : [],
  );
  return `<defs>${patterns.join("")}</defs>`;
}

/** Return the fill of the hatching of a weight on its colour, or null where it has none. */
function hatchFill(weight, colour) {
  const index = weight % HATCHES.length;
  return HATCHES[index] ? `url(#hatch-${index}-${inkOn(colour).slice(1)})` : null;
}

/** Return a number in at most four significant digits, with a minus sign that is one. */
function numberText(value) {
  const short = Number.isInteger(value) && Math.abs(value) < 1e6 ? value : Number.parseFloat(value.toPrecision(4));
  return String(Object.is(short, -0) ? 0 : short).replace("-", "\u2212");
}

/** Return how the weights of one entry are written, the same one twice as a multiple: w0+2w2. */
function weightName(weights) {
  const counts = new Map();
  for (const weight of weights) counts.set(weight, (counts.get(weight) ?? 0) + 1);
  return [...counts].map(([weight, count]) => `${count > 1 ? count : ""}w${weight}`).join("+");
}

/** Return the name of an entry; in a commutator its weights may be taken away: w0\u2212w3, \u2212w1. */
function entryName({ weights, minus = [] }) {
  const names = weightName(weights);
  if (!minus.length) return names;
  return `${names}\u2212${weightName(minus).replaceAll("+", "\u2212")}`;
}

/** Return a place as people write it: x[2,1]. */
const placeName = (name, place) => `${name}[${place.join(",")}]`;

const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** Return a tuple as Python writes it. */
const tuple = (items) => (items.length === 1 ? `(${items[0]},)` : `(${items.join(", ")})`);

/** Make an element: attributes, then children; on... attributes are listeners, colours go to its style. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "colour") {
      element.style.backgroundColor = css(value);
      element.style.color = inkOn(value);
    } else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Return an SVG cell: one colour, or stripes where several weights are added. */
function cellFill(x, y, width, height, weights, colours, hatched) {
  const stripe = width / weights.length;
  return weights
    .map((weight, place) => {
      const box = `x="${(x + place * stripe).toFixed(2)}" y="${y}" width="${stripe.toFixed(2)}" height="${height}"`;
      const hatch = hatched ? hatchFill(weight, colours[weight]) : null;
      return `<rect ${box} fill="${css(colours[weight])}"/>${hatch ? `<rect ${box} fill="${hatch}"/>` : ""}`;
    })
    .join("");
}

/** Return a text in the middle of a cell, or nothing where it does not fit. */
function cellText(x, y, width, height, text, ink, className = "") {
  const size = Math.min(13, height * 0.5, (width - 2) / (0.6 * text.length));
  if (size < 6.5) return "";
  return (
    `<text x="${x + width / 2}" y="${y + height / 2}" font-size="${size.toFixed(1)}" text-anchor="middle" ` +
    `dominant-baseline="central" class="${className}"${ink ? ` fill="${ink}"` : ""}>${text}</text>`
  );
}
