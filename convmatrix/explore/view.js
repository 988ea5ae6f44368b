// The state of the page: from the inputs to the layer, to the view, to the drawing.

const state = {
  settings: null, // all but the weights; null if the inputs do not define a valid layer
  weights: [],
  kernelShape: [],
  base: null, // the layer, its matrix, the transpose
  model: null, // the current view of it
  view: "layer",
  row: 0,
  focus: null, // {row, column}, {column} or {weight} under the pointer; pinned by a click
  pinned: null,
  image: null, // typed numbers, with the shape and order to which they belong
  pixel: 0,
  zoom: 1,
  timer: null,
  measures: null,
};

const page = {
  stage: byId("stage"),
  left: byId("left"),
  middle: byId("middle"),
  right: byId("right"),
  leftCaption: byId("left-caption"),
  middleCaption: byId("middle-caption"),
  rightCaption: byId("right-caption"),
};

const MOST_COLUMNS_BESIDE = 60; // of a matrix beside which the stage fits

function showError(id, error) {
  byId(id).hidden = !error;
  byId(id).textContent = error ? error.message : "";
}

/** Compute the layer and its matrix from the inputs. */
function computeLayer() {
  const settings = readSettings();
  const shape = settings.kernel_shape;
  const validSizes = shape.every((taps) => Number.isInteger(taps) && taps >= 1) && product(shape) <= LIMIT;
  if (validSizes && shape.join() !== state.kernelShape.join()) {
    state.weights = resizedWeights(state.weights, state.kernelShape, shape);
    state.kernelShape = shape;
    makeKernelInputs(shape);
    writeWeights();
  }
  const layer = describeLayer({ ...settings, weights: validSizes ? state.weights : [] });
  const matrix = layerMatrix(layer);
  const uses = new Array(layer.nWeights).fill(0);
  for (const { weights } of matrix.rows.flat()) for (const weight of weights) uses[weight] += 1;
  state.settings = settings;
  return { layer, matrix, uses, colours: palette(layer.nWeights), transpose: transposeMatrix(matrix) };
}

/** Compute the current view of a layer. */
function computeView(model) {
  const { layer, matrix } = model;
  const key = `${layer.inputShape.join()} ${layer.order}`;
  const x =
    state.image?.key === key ? state.image.values : filledImage(byId("image").value, layer.inputShape, layer.order);
  const g = filledImage(byId("image").value, layer.outputShape, layer.order);
  const shift = layer.axes.map((_, axis) => numberIn(`shift-${axis}`));
  const view = state.view;
  const shown =
    view === "layer" ? matrix : view === "transpose" ? model.transpose : commutatorMatrix(layer, matrix, shift);
  const vector = view === "transpose" ? g : x;
  const row = Math.min(state.row, shown.shape[0] - 1);
  return {
    ...model,
    x,
    g,
    key,
    shift,
    view,
    shown,
    vector,
    row,
    product: multiply(shown, vector),
    labels: byId("labels").value,
  };
}

/** Recompute and redraw everything. */
function update() {
  let computed = null;
  try {
    computed = computeLayer();
    showError("message", null);
  } catch (error) {
    state.settings = null;
    showError("message", error);
  }
  byId("results").hidden = !computed;
  state.base = computed;
  if (computed) {
    showPadding(computed.layer);
    colourKernel(computed);
  }
  updateView();
}

function updateView() {
  state.model = null;
  byId("shift-row").hidden = state.view !== "commutator";
  showError("shift-message", null);
  if (state.base) {
    try {
      state.model = computeView(state.base);
    } catch (error) {
      showError("shift-message", error);
    }
  }
  byId("shown").hidden = !state.model;
  if (!state.model) {
    pause();
    return;
  }
  state.row = state.model.row;
  state.focus = state.pinned = null;
  state.pixel = Math.min(state.pixel, state.model.layer.nIn - 1);
  draw();
}

/** Draw the whole view. */
function draw() {
  const { model } = state;
  const { layer, shown, view } = model;
  byId("row").max = shown.shape[0] - 1;
  byId("matrix-words").textContent = matrixWords(model);
  if (view === "commutator") byId("output-shift").textContent = shown.moved.map(numberText).join(", ");
  const dense = byId("dense").checked;
  byId("shown").classList.toggle("single", dense || shown.shape[1] > MOST_COLUMNS_BESIDE);
  const width = byId("plots").clientWidth;
  const beside = dense && width > 700;
  const side = fittingSide(shown.shape, beside ? (width - 24) / 2 - 6 : width, state.zoom);
  state.measures = drawMatrix(byId("matrix"), model, side);
  byId("matrix-caption").textContent =
    `${shown.shape[0]} \u00d7 ${shown.shape[1]}, ${plural(shown.rows.flat().length, "entry", "entries")}`;
  byId("dense-figure").hidden = !dense;
  if (dense) {
    drawDense(byId("dense-matrix"), shown.shape, side);
    const entries = shown.shape[0] * shown.shape[1];
    byId("dense-caption").textContent =
      `dense layer: ${shown.shape[0]} \u00d7 ${shown.shape[1]}, ${plural(entries, "weight")}, one per entry`;
  }
  drawCounts(model);
  byId("python").textContent = pythonLine(model);
  drawRow();
}

function drawCounts({ layer, matrix }) {
  const counts = layerCounts(layer, matrix);
  for (const line of document.querySelectorAll("#counts tbody tr")) {
    const name = line.dataset.count;
    const cells = Object.values(counts).map((of) => make("td", { "data-value": of[name] }, countText(name, of[name])));
    line.replaceChildren(line.firstElementChild, ...cells);
  }
  const { convolution, dense } = counts;
  byId("counts-words").textContent =
    `A dense layer has ${plural(dense.weights, "weight")}, the convolution has ${countText("", convolution.weights)}: sparse ` +
    `connectivity keeps ${countText("density", convolution.density)} of the entries, and sharing ties their weights. ` +
    "Biases are not counted.";
}

/** Draw everything that depends on the current row. */
function drawRow() {
  const { model } = state;
  model.row = state.row;
  const { to } = sidesOf(model);
  byId("row").value = state.row;
  byId("row-name").textContent = `row ${state.row}: ${nameAt(to, state.row, model.layer.order)}`;
  byId("row").setAttribute("aria-valuetext", byId("row-name").textContent);
  drawStage(model, page);
  writeTerms(model, byId("terms"));
  drawFocus();
  drawPixel();
}

function drawFocus() {
  const focus = state.focus ?? state.pinned;
  drawOverlay(byId("matrix"), state.model, state.measures, focus);
  byId("focus-words").textContent = focusWords(state.model, focus);
  byId("focus-words").classList.toggle("idle", !focus);
  markCells(page.left, focus?.column === undefined ? [] : [focus.column]);
  markCells(page.middle, focusedWeights(state.model, focus));
  markCells(page.right, focus?.row === undefined ? [] : [focus.row]);
  const dense = byId("dense-matrix").querySelector(".overlay");
  if (dense && byId("dense").checked) {
    const { left, top, side } = state.measures;
    const width = state.model.shown.shape[1] * side;
    dense.innerHTML = `<rect x="${left - 1}" y="${top + state.row * side - 1}" width="${width + 2}" height="${side + 2}" class="row-band"/>`;
  }
}

function drawPixel() {
  const { layer, x, view } = state.model;
  byId("pixel-label").hidden = byId("pixel-hint").hidden = view === "transpose";
  byId("pixel-name").textContent = elementName("x", unravel(state.pixel, layer.inputShape, layer.order));
  if (document.activeElement !== byId("pixel")) byId("pixel").value = x[state.pixel];
}

function writeWeights() {
  state.weights.forEach((weight, index) => {
    byId(`weight-${index}`).value = weight;
  });
}

function colourKernel({ layer, colours }) {
  layer.weights.forEach((_, index) => {
    const label = byId(`weight-${index}`).parentElement;
    label.style.backgroundColor = css(colours[index]);
    label.style.color = inkOn(colours[index]);
  });
}
