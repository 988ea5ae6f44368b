// The stage: the image with its padding, the kernel, and the output, one output at a time.

const MOST_STAGE_CELLS = 4000;
const LARGEST_STAGE_CELL = 36;

/** Return the rows and columns of a shape as drawn; one axis is drawn as one row. */
const planeShape = (shape) => (shape.length === 1 ? [1, shape[0]] : shape);
const planePosition = (indices) => (indices.length === 1 ? [0, indices[0]] : indices);

/** Return a function from the numbers of a vector to shades from 0 (smallest) to 1 (largest). */
function shadeOf(vector) {
  const low = Math.min(...vector, 0);
  const high = Math.max(...vector, 0);
  return (value) => (high > low ? (value - low) / (high - low) : 0);
}

/** Draw one grid of cells into an SVG element; cells are {y, x, text, kind, fill, ink, index, label, outline, broken}. */
function drawGrid(svg, cells, room) {
  const ys = cells.map((cell) => cell.y);
  const xs = cells.map((cell) => cell.x);
  const [top, left] = [Math.min(...ys), Math.min(...xs)];
  const [height, width] = [Math.max(...ys) - top + 1, Math.max(...xs) - left + 1];
  const side = Math.max(9, Math.min(LARGEST_STAGE_CELL, Math.floor((room - 6) / width)));
  const parts = cells.map((cell) => {
    const [x, y] = [(cell.x - left) * side, (cell.y - top) * side];
    const data = cell.index === undefined ? "" : ` data-index="${cell.index}"`;
    const shade = cell.shade === undefined ? "" : ` fill-opacity="${(0.05 + 0.25 * cell.shade).toFixed(3)}"`;
    const box = `x="${x}" y="${y}" width="${side}" height="${side}"`;
    const base = `<rect ${box} class="cell ${cell.kind}"${shade}/>${cell.broken ? `<rect ${box} class="broken-band"/>` : ""}`;
    const ink = cell.weights?.length ? entryInk(cell.weights, cell.colours) : null;
    const style = cell.weights?.length > 1 ? "halo" : cell.kind === "ring" && !ink ? "faint" : "";
    const label = cell.label ? smallLabel(x, y, side, cell.label, ink, style) : "";
    const lowered = label || cell.broken ? y + side * 0.14 : y;
    const text = cellText(x, lowered, side, side, cell.text ?? "", ink, style);
    const fill = cell.weights?.length ? cellFill(x, y, side, side, cell.weights, cell.colours, !text && !label) : "";
    const outline = cell.outline
      ? `<rect x="${x + 1.5}" y="${y + 1.5}" width="${side - 3}" height="${side - 3}" class="${cell.outline}"/>`
      : "";
    const arm = Math.max(side * 0.11, 2);
    const cross = cell.broken
      ? `<path d="M${x + side - 2 * arm - 3} ${y + 3}l${2 * arm} ${2 * arm}m0 ${-2 * arm}l${-2 * arm} ${2 * arm}" class="cross"/>`
      : "";
    const title = cell.title ? `<title>${cell.title}</title>` : "";
    return `<g${data} class="${cell.kind}">${title}${base}${fill}${label}${text}${cross}${outline}</g>`;
  });
  svg.setAttribute("width", width * side + 4);
  svg.setAttribute("height", height * side + 4);
  svg.setAttribute("viewBox", `-2 -2 ${width * side + 4} ${height * side + 4}`);
  svg.innerHTML = hatchDefinitions() + parts.join("");
}

function smallLabel(x, y, side, label, ink, style) {
  const size = Math.min(9, side * 0.27, (side - 3) / (0.6 * label.length));
  if (size < 6) return "";
  const fill = ink ? ` fill="${ink}"` : "";
  return `<text x="${x + 3}" y="${y + size}" font-size="${size.toFixed(1)}" class="${style}"${fill}>${label}</text>`;
}

/** Return the cells of the input with its padding; samples that output `row` reads are coloured by weight. */
function inputCells(model, row) {
  const { layer, x, colours } = model;
  const shade = shadeOf(x);
  const taps = tapsOf(layer, row);
  const read = new Map(); // position -> weights
  const sources = new Set(); // samples that are read through the padding
  for (const { weight, positions, terms } of taps) {
    const key = positions.join();
    read.set(key, [...(read.get(key) ?? []), weight]);
    for (const { samples, column } of terms) if (key !== samples.join()) sources.add(column);
  }
  const [low, high] = layer.axes.reduce(
    ([lows, highs], axis) => [
      [...lows, axis.low],
      [...highs, axis.high],
    ],
    [[], []],
  );
  const padded = layer.inputShape.map((size, axis) => size + low[axis] + high[axis]);
  const ring = product(padded) <= MOST_STAGE_CELLS;
  const shape = ring ? padded : layer.inputShape;
  const offset = ring ? low : low.map(() => 0);
  const cells = [];
  for (let index = 0; index < product(shape); index += 1) {
    const position = unravel(index, shape, "C").map((sample, axis) => sample - offset[axis]);
    const terms = termsAt(layer, position);
    const nothing = !terms.length;
    const inside = terms.length === 1 && terms[0].samples.join() === position.join();
    const value = terms.reduce((sum, { factor, column }) => sum + factor * x[column], 0);
    const column = terms.length === 1 ? terms[0].column : undefined; // one sample, which the pointer can mark
    const weights = read.get(position.join()) ?? [];
    const [cellY, cellX] = planePosition(position);
    cells.push({
      y: cellY,
      x: cellX,
      kind: inside ? "sample" : "ring",
      text: nothing && layer.nIn > 200 ? "" : numberText(value),
      shade: inside ? shade(value) : undefined,
      weights,
      colours,
      label: weights.length ? weightName(weights) : "",
      index: column,
      outline: inside && sources.has(column) ? "source" : undefined,
      title: inside
        ? elementName("x", position)
        : nothing
          ? "padding: zero"
          : `padding: reads ${terms.map((term, place) => termName(term, place > 0)).join(" ")}`,
    });
  }
  return { cells, ring };
}

/** Return a term as text, such as 2 x[0] or, after others, \u2212 x[3]. */
function termName({ factor, samples }, after) {
  const text = `${factorText(factor)} ${elementName("x", samples)}`.trim();
  return signText(factor, after) + (after ? " " : "") + text;
}

/** Return the cells of a vector: one is chosen, and those connected to it are coloured by weight. */
function vectorCells(vector, shape, order, name, { chosen, reached = new Map(), colours, broken = new Set() }) {
  const shade = shadeOf(vector);
  return vector.map((value, index) => {
    const indices = unravel(index, shape, order);
    const [y, x] = planePosition(indices);
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
      label: entry ? entryName(entry) : "",
      index,
      outline: index === chosen ? "chosen" : undefined,
      broken: broken.has(index),
      title: elementName(name, indices) + (broken.has(index) ? ": breaks the symmetry" : ""),
    };
  });
}

/** Return the cells of the kernel; weights that the current row does not use are faint. */
function kernelCells(model, used) {
  const { layer, colours } = model;
  return layer.weights.map((value, weight) => {
    const [y, x] = planePosition(unravel(weight, layer.kernelShape, "C"));
    const active = used.has(weight);
    return {
      y,
      x,
      kind: active ? "sample" : "sample unused",
      text: numberText(value),
      weights: [weight],
      colours,
      label: `w${weight}`,
      index: weight,
      title: `w${weight} = ${numberText(value)}${active ? "" : ", not used here"}`,
    };
  });
}

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

/** Return the cells of the image; those with an entry in a row of the commutator are coloured. */
function differingCells({ layer, x, colours }, entries) {
  const reached = new Map(entries.map((entry) => [entry.column, entry]));
  return { cells: vectorCells(x, layer.inputShape, layer.order, "x", { reached, colours }), ring: true };
}

/** Draw the three grids for the current row. */
function drawStage(model, page) {
  const { layer, view, row } = model;
  const entries = model.shown.rows[row];
  const room = Math.max(260, page.stage.clientWidth);
  const widths = room > 700 ? [0.46 * room, 0.22 * room, 0.26 * room] : [room, 0.35 * room, 0.57 * room];
  const used = new Set(entries.flatMap(({ weights, minus = [] }) => [...weights, ...minus]));
  const reached = new Map(entries.map((entry) => [entry.column, entry]));
  const { colours } = model;
  let note = "";
  if (view === "transpose") {
    drawGrid(
      page.left,
      vectorCells(model.g, layer.outputShape, layer.order, "\u03b4y", { reached, colours }),
      widths[0],
    );
    drawGrid(
      page.right,
      vectorCells(model.product, layer.inputShape, layer.order, "\u03b4x", { chosen: row }),
      widths[2],
    );
  } else {
    const { cells, ring } = view === "layer" ? inputCells(model, row) : differingCells(model, entries);
    if (!ring) note = "the padding is too wide to draw";
    drawGrid(page.left, cells, widths[0]);
    const broken = new Set(view === "layer" ? [] : model.shown.brokenRows);
    drawGrid(
      page.right,
      vectorCells(model.product, layer.outputShape, layer.order, "y", { chosen: row, broken }),
      widths[2],
    );
  }
  drawGrid(
    page.middle,
    kernelCells(model, used),
    Math.min(widths[1], (LARGEST_STAGE_CELL + 4) * planeShape(layer.kernelShape)[1]),
  );
  const image = layer.axes.length === 1 ? "signal" : "image";
  const size = (shape) => shape.join(" \u00d7 ");
  const captions = {
    layer: [`${image} x, ${size(layer.inputShape)}`, `output y, ${size(layer.outputShape)}`],
    transpose: [
      `gradient of the output \u03b4y, ${size(layer.outputShape)}`,
      `gradient of the ${image} \u03b4x, ${size(layer.inputShape)}`,
    ],
    commutator: [
      `${image} x, ${size(layer.inputShape)}: where the two sides differ`,
      "output y; \u2715 marks broken symmetry",
    ],
  }[view];
  page.leftCaption.textContent = captions[0] + (note ? ` (${note})` : "");
  page.middleCaption.textContent = `kernel, ${size(layer.kernelShape)}${layer.flip ? ", flipped when applied" : ""}`;
  page.rightCaption.textContent = captions[1];
}
