// The matrix as a picture, with x above and A x beside it; equal weights have equal colours.

const MOST_DRAWN_ENTRIES = 4000; // more entries are drawn as the pixels of one image, which is fast at 400 x 400
const LARGEST_CELL = 38;
const LEGIBLE_CELL = 17; // the least side to which a matrix is reduced to fit the screen
const HATCHED_CELL = 10; // the same on narrow screens, where the numbers give way to hatching
const NUMBERED_CELL = 12; // rows of at least this height have numbers
const WIDE_MARGINS = 76;
const NARROW_MARGINS = 44;
const SMALLEST_CELL = 1;

/** Return the lengths of a plot from the side of a cell: margins, the height of the strip of x, the width of that of A x. */
function plotMeasures(shape, side) {
  const strip = Math.max(side, 8);
  const wide = side >= 14 ? Math.max(side, 32) : strip;
  const left = side >= NUMBERED_CELL ? 30 : 14;
  return {
    side,
    strip,
    wide,
    left,
    top: strip + 8,
    width: left + shape[1] * side + 10 + wide + 2,
    height: strip + 8 + shape[0] * side + 2,
  };
}

/** Return the side of a cell for which the plot fits a width, and if its numbers stay legible also the screen. */
function fittingSide(shape, [width, height], zoom) {
  const wide = (width - WIDE_MARGINS) / shape[1]; // with row numbers, and room for the numbers of A x
  const across = wide >= NUMBERED_CELL ? wide : Math.min((width - NARROW_MARGINS) / shape[1], NUMBERED_CELL - 1);
  const down = Math.max(height / shape[0], window.innerWidth < 500 ? HATCHED_CELL : LEGIBLE_CELL);
  const side = Math.min(across, down) * zoom;
  return Math.max(
    SMALLEST_CELL,
    Math.min(LARGEST_CELL * Math.max(zoom, 1), side >= 4 ? Math.floor(side) : Math.floor(side * 4) / 4),
  );
}

/**
 * Return an image of a matrix with one pixel per entry, as a data URL; drawRow(row, set) sets the colours of a row, three
 * or, with the opacity, four numbers.
 */
function pixelImage(shape, drawRow) {
  const canvas = document.createElement("canvas");
  drawPixels(canvas, shape, drawRow);
  return canvas.toDataURL();
}

function drawPixels(canvas, shape, drawRow) {
  [canvas.height, canvas.width] = shape;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(shape[1], shape[0]);
  for (let row = 0; row < shape[0]; row += 1) {
    drawRow(row, (column, colour) => pixels.data.set([...colour, 255].slice(0, 4), 4 * (row * shape[1] + column)));
  }
  context.putImageData(pixels, 0, 0);
}

function imageTag(measures, shape, address) {
  const { left, top, side } = measures;
  return (
    `<image href="${address}" x="${left}" y="${top}" width="${shape[1] * side}" height="${shape[0] * side}" ` +
    'preserveAspectRatio="none" class="pixels"/>'
  );
}

/** Return the entries of the shown matrix as SVG. */
function entriesTag(model, measures) {
  const { shown, colours, labels } = model;
  const { left, top, side } = measures;
  if (shown.rows.reduce((sum, entries) => sum + entries.length, 0) > MOST_DRAWN_ENTRIES) {
    const grey = [128, 128, 128];
    const most = mostPaths(shown);
    const accent = accentColour();
    const colourOf = ({ weights, minus = [], paths }) => {
      if (paths) return [...accent, 255 * pathTint(paths, most)];
      const own = [...weights, ...minus];
      return own.length === 1 ? colours[own[0]] : grey;
    };
    const address = pixelImage(shown.shape, (row, set) =>
      shown.rows[row].forEach((entry) => set(entry.column, colourOf(entry))),
    );
    return imageTag(measures, shown.shape, address);
  }
  const parts = [];
  const most = mostPaths(shown);
  shown.rows.forEach((entries, row) => {
    for (const entry of entries) {
      const own = [...entry.weights, ...(entry.minus ?? [])];
      const [x, y] = [left + entry.column * side, top + row * side];
      const name = labels === "names" && own.length ? entryName(entry) : numberText(entry.value);
      const text =
        labels === "none"
          ? ""
          : cellText(x, y, side, side, name, own.length ? entryInk(own, colours) : null, own.length > 1 ? "halo" : "");
      const fill = entry.paths
        ? rectTag(x, y, side, side, "path", ` fill-opacity="${pathTint(entry.paths, most).toFixed(3)}"`)
        : cellFill(x, y, side, side, own, colours, !text && side >= 5);
      const frame = side >= 4 ? rectTag(x, y, side, side, "frame") : "";
      parts.push(
        `<g data-row="${row}" data-column="${entry.column}" data-weights="${entryName(entry)}">${fill}${frame}${text}</g>`,
      );
    }
  });
  return parts.join("");
}

/** Return the largest number of hidden units that connect an output and a pixel; 1 if there is no hidden layer. */
function mostPaths({ rows }) {
  return rows.flat().reduce((most, { paths }) => Math.max(most, paths ?? 0), 1);
}

/** Return the accent of the page's colours, light or dark, as three numbers. */
function accentColour() {
  const code = getComputedStyle(document.documentElement).getPropertyValue("--accent").trim();
  return [1, 3, 5].map((at) => Number.parseInt(code.slice(at, at + 2), 16));
}

/** Return the text colour on one weight's colour; on stripes the text is black with a halo. */
function entryInk(weights, colours) {
  return weights.length === 1 ? inkOn(colours[weights[0]]) : "#000";
}

/** Return a strip of numbers: x above the matrix, or A x (upright) beside it. */
function stripTag(vector, at, side, strip, upright) {
  const shade = shadeOf(vector);
  return vector
    .map((value, index) => {
      const [x, y] = upright ? [at[0], at[1] + index * side] : [at[0] + index * side, at[1]];
      const [width, height] = upright ? [strip, side] : [side, strip];
      const opacity = ` fill-opacity="${(0.05 + 0.25 * shade(value)).toFixed(3)}"`;
      const text = cellText(x, y, width, height, numberText(value), null);
      return rectTag(x, y, width, height, "cell sample", opacity) + text;
    })
    .join("");
}

/** Return the row numbers, and crosses at the rows that break the symmetry. */
function marksTag(model, measures) {
  const { left, top, side } = measures;
  const broken = new Set(model.shown.brokenRows ?? []);
  let tags = "";
  for (let row = 0; row < model.shown.shape[0]; row += 1) {
    const y = top + (row + 0.5) * side;
    if (broken.has(row)) {
      tags += rectTag(left, top + row * side, model.shown.shape[1] * side, side, "broken-band");
      tags += crossTag(side >= NUMBERED_CELL ? 5 : left / 2, y, Math.min(side * 0.3, 4));
    }
    if (side >= NUMBERED_CELL) {
      tags += `<text x="${left - 4}" y="${y}" font-size="9" text-anchor="end" dominant-baseline="central" class="faint">${row}</text>`;
    }
  }
  return tags;
}

/** Draw the shown matrix into an SVG element. */
function drawMatrix(svg, model, side) {
  const { shown } = model;
  const measures = plotMeasures(shown.shape, side);
  const { left, top, strip, wide, width, height } = measures;
  const [rows, columns] = shown.shape;
  const lines = side >= 8 ? gridLines(measures, shown.shape) : "";
  sizeSvg(svg, width, height);
  svg.innerHTML =
    hatchDefinitions() +
    rectTag(left, top, columns * side, rows * side, "paper") +
    `${lines}<g class="underlay"></g>` +
    marksTag(model, measures) +
    entriesTag(model, measures) +
    stripTag(model.vector, [left, 0], side, strip, false) +
    stripTag(model.product, [left + columns * side + 10, top], side, wide, true) +
    '<g class="overlay"></g>';
  return measures;
}

/** Draw a dense layer of the same shape, with one weight per entry. */
function drawDense(svg, shape, side) {
  const measures = plotMeasures(shape, side);
  const colours = palette(Math.max(shape[0] * shape[1], DISTINCT.length + 1));
  const address = pixelImage(shape, (row, set) => {
    for (let column = 0; column < shape[1]; column += 1) set(column, colours[row * shape[1] + column]);
  });
  let names = "";
  if (side >= 22) {
    for (let index = 0; index < shape[0] * shape[1]; index += 1) {
      const [x, y] = [measures.left + (index % shape[1]) * side, measures.top + Math.floor(index / shape[1]) * side];
      names += cellText(x, y, side, side, `w${index}`, inkOn(colours[index]));
    }
  }
  sizeSvg(svg, measures.left + shape[1] * side + 2, measures.height);
  const lines = side >= 6 ? gridLines(measures, shape) : "";
  svg.innerHTML = `${imageTag(measures, shape, address)}${lines}${names}<g class="overlay"></g>`;
}

function sizeSvg(svg, width, height) {
  svg.setAttribute("width", width);
  svg.setAttribute("height", height);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
}

function gridLines({ left, top, side }, [rows, columns]) {
  let path = "";
  for (let row = 1; row < rows; row += 1) path += `M${left} ${top + row * side}h${columns * side}`;
  for (let column = 1; column < columns; column += 1) path += `M${left + column * side} ${top}v${rows * side}`;
  return `<path d="${path}" class="lines"/>`;
}

/** Highlight the current row, the entry in focus, its column, and the entries with the same weights. */
function drawOverlay(svg, model, measures, focus) {
  const { left, top, side, strip, wide } = measures;
  const [rows, columns] = model.shown.shape;
  const lit = [rectTag(left, top + model.row * side, columns * side, side, "")];
  let tags = rectTag(left - 1, top + model.row * side - 1, columns * side + 2, side + 2, "row-band");
  tags += rectTag(left + columns * side + 9, top + model.row * side - 1, wide + 2, side + 2, "row-band");
  for (const { column } of model.shown.rows[model.row]) tags += rectTag(left + column * side, 0, side, strip, "read-band");
  if (focus?.column !== undefined) {
    tags += rectTag(left + focus.column * side, 0, side, strip, "focus");
    lit.push(rectTag(left + focus.column * side, top, side, rows * side, ""));
  }
  for (const [row, column] of equalEntries(model, focus)) {
    tags += rectTag(left + column * side, top + row * side, side, side, "equal");
  }
  if (focus?.row !== undefined && focus.column !== undefined) {
    tags += rectTag(left + focus.column * side - 1, top + focus.row * side - 1, side + 2, side + 2, "focus");
  }
  svg.querySelector(".underlay").innerHTML = lit.join("");
  svg.querySelector(".overlay").innerHTML = tags;
}

/** Return the weights in focus: one, or those of an entry. */
function focusedWeights(model, focus) {
  if (focus?.weight !== undefined) return [focus.weight];
  const entry = focusedEntry(model, focus);
  return entry ? [...entry.weights, ...(entry.minus ?? [])] : [];
}

/** Return the positions [row, column] of all entries with a weight in focus. */
function equalEntries(model, focus) {
  const own = focusedWeights(model, focus);
  if (!own.length) return [];
  const chosen = new Set(own);
  const found = [];
  model.shown.rows.forEach((entries, row) => {
    for (const { column, weights, minus = [] } of entries) {
      if ([...weights, ...minus].some((weight) => chosen.has(weight))) found.push([row, column]);
    }
  });
  return found.length > MOST_DRAWN_ENTRIES ? [] : found;
}

function focusedEntry(model, focus) {
  if (focus?.row === undefined || focus.column === undefined) return undefined;
  return model.shown.rows[focus.row]?.find(({ column }) => column === focus.column);
}

/** Return the position under the pointer: {row, column}, {column} on the strip of x, {row} beside the matrix. */
function positionAt(svg, model, measures, event) {
  const box = svg.getBoundingClientRect();
  const scale = measures.width / box.width;
  const column = Math.floor(((event.clientX - box.left) * scale - measures.left) / measures.side);
  const row = Math.floor(((event.clientY - box.top) * scale - measures.top) / measures.side);
  const position = {};
  if (column >= 0 && column < model.shown.shape[1]) position.column = column;
  if (row >= 0 && row < model.shown.shape[0]) position.row = row;
  return position;
}
