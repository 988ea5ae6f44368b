// The look of weights, and the notation of numbers, names and positions.

// Colours from Python's convmatrix/display/palette.py: distinct ones for a few weights, and corners of a ramp for more.
const { distinct: DISTINCT, ramp: RAMP } = START.colours;

/** Return one colour [red, green, blue] per weight, interpolated between the corners of the ramp if there are many. */
function palette(n) {
  if (n <= DISTINCT.length) return DISTINCT.slice(0, n);
  return Array.from({ length: n }, (_, index) => {
    const position = (index * (RAMP.length - 1)) / (n - 1);
    const corner = Math.min(Math.floor(position), RAMP.length - 2);
    return RAMP[corner].map((from, channel) =>
      Math.round(from + (position - corner) * (RAMP[corner + 1][channel] - from)),
    );
  });
}

const css = ([red, green, blue]) => `rgb(${red},${green},${blue})`;

/** Return black or white, whichever is easier to read on a colour (relative luminance of WCAG 2). */
function inkOn(colour) {
  const linear = colour.map((value) => {
    const c = value / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 ? "#000" : "#fff";
}

// Hatchings for cells too small for a label; together with the colours they distinguish more weights.
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

/** Return the fill of the hatching of a weight on its colour, or null if it has none. */
function hatchFill(weight, colour) {
  const index = weight % HATCHES.length;
  return HATCHES[index] ? `url(#hatch-${index}-${inkOn(colour).slice(1)})` : null;
}

/** Return a number with at most four significant digits and a typographic minus sign. */
function numberText(value) {
  const short = Number.isInteger(value) && Math.abs(value) < 1e6 ? value : Number.parseFloat(value.toPrecision(4));
  return String(Object.is(short, -0) ? 0 : short).replace("-", "\u2212");
}

/** Return the name of an entry: its weights with their factors, repeated ones as multiples, such as w0+2w2\u2212w3. */
function weightName(weights, factors = weights.map(() => 1), letter = "w") {
  return totals(weights.map((weight, place) => [weight, factors[place]]))
    .map(([weight, count], place) => `${signText(count, place > 0)}${factorText(count)}${letter}${weight}`)
    .join("");
}

const signText = (factor, plus) => (factor < 0 ? "\u2212" : plus ? "+" : "");
const factorText = (factor) => (Math.abs(factor) === 1 ? "" : String(Math.abs(factor)));

/** Return the name of an entry; in a commutator weights may be subtracted: w0\u2212w3, \u2212w1. */
function entryName({ weights, factors, minus = [], minusFactors = [] }, letter = "w") {
  return weightName([...weights, ...minus], [...factors, ...minusFactors.map((factor) => -factor)], letter);
}

/** Return an element of an array in indexing notation, such as x[2,1]. */
const elementName = (name, indices) => `${name}[${indices.join(",")}]`;

const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** Create an element with attributes and children; the attribute "colour" sets its background and ink. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "colour") {
      element.style.backgroundColor = css(value);
      element.style.color = inkOn(value);
    } else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Return a rectangle of SVG with a class. */
const rectTag = (x, y, width, height, className, more = "") =>
  `<rect x="${x}" y="${y}" width="${width}" height="${height}" class="${className}"${more}/>`;

/** Return a cross around a point. */
const crossTag = (x, y, arm) =>
  `<path d="M${x - arm} ${y - arm}l${2 * arm} ${2 * arm}m0 ${-2 * arm}l${-2 * arm} ${2 * arm}" class="cross"/>`;

/** Return an SVG cell: one colour, or stripes for the sum of several weights. */
function cellFill(x, y, width, height, weights, colours, hatched) {
  const stripe = width / weights.length;
  return weights
    .map((weight, number) => {
      const box = `x="${(x + number * stripe).toFixed(2)}" y="${y}" width="${stripe.toFixed(2)}" height="${height}"`;
      const hatch = hatched ? hatchFill(weight, colours[weight]) : null;
      return `<rect ${box} fill="${css(colours[weight])}"/>${hatch ? `<rect ${box} fill="${hatch}"/>` : ""}`;
    })
    .join("");
}

/** Return the width of a letter, at a size of 1; text with a halo is bold. */
const letterWidth = (className) => (className === "halo" ? 0.78 : 0.6);

/** Return text centred in a cell, or nothing if it does not fit. */
function cellText(x, y, width, height, text, ink, className = "") {
  const size = Math.min(13, height * 0.5, (width - 3) / (letterWidth(className) * text.length));
  if (size < 6.5) return "";
  return (
    `<text x="${x + width / 2}" y="${y + height / 2}" font-size="${size.toFixed(1)}" text-anchor="middle" ` +
    `dominant-baseline="central" class="${className}"${ink ? ` fill="${ink}"` : ""}>${text}</text>`
  );
}
