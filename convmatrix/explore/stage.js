// The stage: what the current row reads, the kernel (or the hidden layer), and the output.

const MOST_STAGE_CELLS = 4000;

/** Return the cells of the input of a convolution with its padding; what an output reads is coloured by weight. */
function inputCells(model, row) {
  const { layer, x, colours } = model;
  const shade = shadeOf(x);
  const read = new Map(); // channel and position -> weights
  const sources = new Set(); // samples that are read through the padding
  for (const { weight, channel, positions, terms } of tapsOf(layer, row)) {
    const key = [channel, ...positions].join();
    read.set(key, [...(read.get(key) ?? []), weight]);
    for (const { samples } of terms) {
      if (samples.join() !== positions.join()) sources.add([channel, ...samples].join());
    }
  }
  const padded = layer.axes.map(({ size, low, high }) => size + low + high);
  const ring = layer.inChannels * product(padded) <= MOST_STAGE_CELLS;
  const shape = ring ? padded : layer.inputShape;
  const offset = layer.axes.map(({ low }) => (ring ? low : 0));
  const vector = vectorShape(layer, "input");
  const side = sidesOf(model).from;
  const cells = [];
  for (let index = 0; index < layer.inChannels * product(shape); index += 1) {
    const [channel, ...place] = unravel(index, [layer.inChannels, ...shape], "C");
    const position = place.map((sample, axis) => sample - offset[axis]);
    const terms = termsAt(layer, position).map((term) => ({
      ...term,
      column: ravel([channel, ...term.samples], vector, layer.order),
    }));
    const nothing = !terms.length;
    const inside = terms.length === 1 && terms[0].samples.join() === position.join();
    const value = terms.reduce((sum, { factor, column }) => sum + factor * x[column], 0);
    const column = terms.length === 1 ? terms[0].column : undefined; // one sample, which the pointer can mark
    const key = [channel, ...position].join();
    const weights = read.get(key) ?? [];
    const [y, across] = channelPlace(channel, position, shape);
    cells.push({
      y,
      x: across,
      kind: inside ? "sample" : "ring",
      text: nothing && layer.nIn > 200 ? "" : numberText(value),
      shade: inside ? shade(value) : undefined,
      weights,
      colours,
      label: weights.length ? weightName(weights) : "",
      index: column,
      outline: inside && sources.has(key) ? "source" : undefined,
      title: inside
        ? nameAt(side, column, layer.order)
        : nothing
          ? "padding: zero"
          : `padding: reads ${terms.map((term, n) => termName(term.factor, nameAt(side, term.column, layer.order), n > 0)).join(" ")}`,
    });
  }
  return { cells, ring };
}

/** Return a term as text, such as 2 x[0] or, after others, \u2212 x[3]. */
function termName(factor, name, after) {
  return signText(factor, after) + (after ? " " : "") + `${factorText(factor)} ${name}`.trim();
}

/** Return the cells of the kernels of all pairs of channels; weights that the current row does not use are faint. */
function kernelCells({ layer, colours }, used) {
  const [height, width] = planeShape(layer.kernelShape);
  return layer.weights.map((value, weight) => {
    const [first, second, ...taps] = unravel(weight, weightShape(layer), "C");
    const [y, x] = planePosition(taps);
    const active = used.has(weight);
    return {
      y: y + first * (height + CHANNEL_GAP),
      x: x + second * (width + CHANNEL_GAP),
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

/** Return the widths of the three grids: side by side if there is room, and for images on narrow screens. */
function stageWidths({ layer, view }, room) {
  const images = layer.axes.length === 2;
  page.stage.classList.toggle("tall", !images);
  if (room > 700) return [0.46 * room, 0.22 * room, 0.26 * room];
  if (window.matchMedia("(max-width: 860px)").matches) {
    if (!images) return [room, 0.35 * room, room];
    return view === "chain"
      ? [room / 3 - 6, room / 3 - 6, room / 3 - 6]
      : [0.45 * room - 8, 0.2 * room, 0.35 * room - 8];
  }
  return [room, 0.35 * room, 0.57 * room];
}

/** Return what the three grids show in the current view: cells and captions. */
function stageGrids(model) {
  const { layer, view, row, colours, shown } = model;
  const { from, to } = sidesOf(model);
  const entries = shown.rows[row];
  const reached = new Map(entries.map((entry) => [entry.column, entry]));
  const broken = new Set(shown.brokenRows);
  const right = vectorCells(model.product, to, layer.order, { chosen: row, broken });
  const plain = vectorCells(model.vector, from, layer.order, { reached, colours });
  if (view === "chain") {
    const { second, hidden } = model;
    const units = new Map(second.matrix.rows[row].map((entry) => [entry.column, entry]));
    const side = hiddenSide(model);
    return [
      [plain, `${sideWords(from)}: the receptive field of ${nameAt(to, row, layer.order)}`],
      [
        vectorCells(hidden, side, layer.order, { reached: units, colours: second.colours, letter: "v" }),
        sideWords(side),
      ],
      [right, sideWords(to)],
    ];
  }
  const used = new Set(entries.flatMap(({ weights, minus = [] }) => [...weights, ...minus]));
  const middle = [
    kernelCells(model, used),
    `kernel, ${sizeText(weightShape(layer).slice(layer.inChannels * layer.outChannels > 1 ? 0 : 2))}` +
      (layer.flip ? ", flipped when applied" : ""),
  ];
  if (view === "commutator") {
    return [
      [plain, `${sideWords(from)}: where the two sides differ`],
      middle,
      [right, "output y; \u2715 marks broken symmetry"],
    ];
  }
  if (view === "transpose" || layer.transposed) return [[plain, sideWords(from)], middle, [right, sideWords(to)]];
  const { cells, ring } = inputCells(model, row);
  return [
    [cells, sideWords(from) + (ring ? "" : " (the padding is too wide to draw)")],
    middle,
    [right, sideWords(to)],
  ];
}

/** Draw the three grids for the current row. */
function drawStage(model, page) {
  const widths = stageWidths(model, Math.max(260, page.stage.clientWidth));
  const kernel = model.view !== "chain";
  const grids = [
    [page.left, page.leftCaption],
    [page.middle, page.middleCaption],
    [page.right, page.rightCaption],
  ];
  stageGrids(model).forEach(([cells, caption], place) => {
    const [svg, words] = grids[place];
    drawGrid(svg, cells, !kernel && place === 1 ? widths[2] : widths[place]); // a hidden layer is as large as an output
    words.textContent = caption;
  });
}
