// Grids of cells: an image, a vector or a kernel, its channels side by side.

const LARGEST_STAGE_CELL = 36;
const CHANNEL_GAP = 0.5; // between channels, in cells

/**
 * A cell: its place, its number, and the weights by whose colours it is filled; `tint` colours it without weights.
 * @typedef {{y: number, x: number, kind: string, text?: string, shade?: number, weights?: number[], colours?: number[][],
 *   tint?: number, label?: string, index?: number, outline?: string, broken?: boolean, title?: string}} Cell
 */

/** Return the rows and columns of a shape as drawn; one axis is drawn as one row. */
const planeShape = (shape) => (shape.length === 1 ? [1, shape[0]] : shape);
const planePosition = (indices) => (indices.length === 1 ? [0, indices[0]] : indices);

/** Return the place of a sample of a channel: images are drawn side by side, signals below each other. */
function channelPlace(channel, indices, shape) {
  const [y, x] = planePosition(indices);
  if (shape.length === 1) return [y + channel * (1 + CHANNEL_GAP), x];
  return [y, x + channel * (shape[1] + CHANNEL_GAP)];
}

/** Return a function from the numbers of a vector to shades from 0 (smallest) to 1 (largest). */
function shadeOf(vector) {
  const low = Math.min(...vector, 0);
  const high = Math.max(...vector, 0);
  return (value) => (high > low ? (value - low) / (high - low) : 0);
}

/** Draw one grid of cells into an SVG element of at most a width. */
function drawGrid(svg, cells, room) {
  const ys = cells.map((cell) => cell.y);
  const xs = cells.map((cell) => cell.x);
  const [top, left] = [Math.min(...ys), Math.min(...xs)];
  const [height, width] = [Math.max(...ys) - top + 1, Math.max(...xs) - left + 1];
  const side = Math.max(9, Math.min(LARGEST_STAGE_CELL, Math.floor((room - 6) / width)));
  const parts = cells.map((cell) => cellTag(cell, (cell.x - left) * side, (cell.y - top) * side, side));
  svg.setAttribute("width", width * side + 4);
  svg.setAttribute("height", height * side + 4);
  svg.setAttribute("viewBox", `-2 -2 ${width * side + 4} ${height * side + 4}`);
  svg.innerHTML = hatchDefinitions() + parts.join("");
}

/** Return a cell as SVG. */
function cellTag(cell, x, y, side) {
  const data = cell.index === undefined ? "" : ` data-index="${cell.index}"`;
  const shade = cell.shade === undefined ? "" : ` fill-opacity="${(0.05 + 0.25 * cell.shade).toFixed(3)}"`;
  const box = [x, y, side, side];
  const tint = cell.tint ? rectTag(...box, "path", ` fill-opacity="${cell.tint.toFixed(3)}"`) : "";
  const band = cell.broken ? rectTag(...box, "broken-band") : "";
  const base = rectTag(...box, `cell ${cell.kind}`, shade) + tint + band;
  const ink = cell.weights?.length ? entryInk(cell.weights, cell.colours) : null;
  const style = cell.weights?.length > 1 ? "halo" : cell.kind === "ring" && !ink ? "faint" : "";
  const label = cell.label ? smallLabel(x, y, side, cell.label, ink, style) : "";
  const lowered = label || cell.broken ? y + side * 0.14 : y;
  const text = cellText(x, lowered, side, side, cell.text ?? "", ink, style);
  const fill = cell.weights?.length ? cellFill(x, y, side, side, cell.weights, cell.colours, !text && !label) : "";
  const outline = cell.outline ? rectTag(x + 1.5, y + 1.5, side - 3, side - 3, cell.outline) : "";
  const arm = Math.max(side * 0.11, 2);
  const cross = cell.broken ? crossTag(x + side - arm - 3, y + 3 + arm, arm) : "";
  const title = cell.title ? `<title>${cell.title}</title>` : "";
  return `<g${data} class="${cell.kind}">${title}${base}${fill}${label}${text}${cross}${outline}</g>`;
}

function smallLabel(x, y, side, label, ink, style) {
  const size = Math.min(9, side * 0.27, (side - 3) / (letterWidth(style) * label.length));
  if (size < 6) return "";
  const fill = ink ? ` fill="${ink}"` : "";
  return `<text x="${x + 3}" y="${y + size}" font-size="${size.toFixed(1)}" class="${style}"${fill}>${label}</text>`;
}

/** Return the cells of a vector: one is chosen, and those connected to it are coloured by weight, or tinted. */
function vectorCells(vector, side, order, { chosen, reached = new Map(), colours, letter, broken = new Set() } = {}) {
  const shade = shadeOf(vector);
  const most = Math.max(...[...reached.values()].map(({ paths }) => paths ?? 0), 1);
  return vector.map((value, index) => {
    const [channel, ...indices] = unravel(index, side.shape, order);
    const [y, x] = channelPlace(channel, indices, side.shape.slice(1));
    const entry = reached.get(index);
    const weights = entry ? [...entry.weights, ...(entry.minus ?? [])] : [];
    return {
      y,
      x,
      kind: "sample",
      text: numberText(value),
      shade: shade(value),
      weights,
      colours,
      tint: entry?.paths ? pathTint(entry.paths, most) : 0,
      label: entry && !entry.paths ? entryName(entry, letter) : "",
      index,
      outline: index === chosen ? "chosen" : undefined,
      broken: broken.has(index),
      title: nameAt(side, index, order) + (broken.has(index) ? ": breaks the symmetry" : ""),
    };
  });
}

/** Return the opacity of what is reached through some hidden units, at most as many as `most`. */
const pathTint = (paths, most) => 0.18 + (0.5 * paths) / most;

/** Outline the cells of a grid that correspond to what is under the pointer. */
function markCells(svg, indices) {
  for (const mark of svg.querySelectorAll(".pointer")) mark.remove();
  for (const index of indices) {
    for (const group of svg.querySelectorAll(`g[data-index="${index}"]`)) {
      const mark = group.querySelector("rect").cloneNode();
      mark.setAttribute("class", "focus pointer");
      mark.removeAttribute("fill-opacity");
      svg.append(mark);
    }
  }
}
