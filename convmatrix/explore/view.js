// The state of the page: from the inputs to the layer, to the view, to the drawing.

const state = {
  settings: null, // the last ones that define a layer
  base: null, // the last possible layer, its matrix, its transpose, and the second layer if it is shown
  model: null, // the current view of it
  view: "layer",
  shift: null, // the last possible one
  row: 0,
  focus: null, // {row, column}, {column}, {weight} or {hidden} under the pointer; pinned by a click
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
const CAPTION_HEIGHT = 60; // of the row of x above a matrix, and the caption below

/** Show why a setting is impossible, beside the last picture, and mark its input. */
function showError(id, error) {
  byId(id).hidden = !error;
  byId(id).textContent = error ? error.message : "";
  for (const input of document.querySelectorAll(`[aria-errormessage="${id}"]`)) {
    input.removeAttribute("aria-errormessage");
    input.removeAttribute("aria-invalid");
  }
  const control = error?.control && byId(error.control);
  control?.setAttribute("aria-invalid", "true");
  control?.setAttribute("aria-errormessage", id);
  byId("kept").hidden = byId("message").hidden && byId("shift-message").hidden;
}

/** Run a computation; what a user has set wrongly is shown instead of its result, everything else is an error. */
function attempt(id, compute) {
  try {
    const result = compute();
    showError(id, null);
    return result;
  } catch (error) {
    if (!(error instanceof SettingError)) throw error;
    showError(id, error);
    return null;
  }
}

/** Compute the layer and its matrix from the inputs, and the second layer if it is shown. */
function computeLayer() {
  const settings = readSettings();
  const { second } = settings;
  settings.weights = weightsFor("", settingsWeightShape(settings));
  second.weights = weightsFor(SECOND, settingsWeightShape({ ...second, in_channels: settings.out_channels }));
  const layer = describeLayer(settings);
  const matrix = layerMatrix(layer);
  const uses = new Array(layer.nWeights).fill(0);
  for (const { weights } of matrix.rows.flat()) for (const weight of weights) uses[weight] += 1;
  const base = {
    layer,
    matrix,
    uses,
    colours: palette(layer.nWeights),
    transpose: transposeMatrix(matrix),
    second: null,
  };
  if (state.view === "chain") base.second = withMatrix(followingLayer(layer, settings));
  state.settings = settings;
  return base;
}

const withMatrix = (layer) => ({ layer, matrix: layerMatrix(layer), colours: palette(layer.nWeights) });

/** Return the shape and order to which typed numbers of an image belong, as text. */
const imageKey = (layer) => `${vectorShape(layer, "input").join()} ${layer.order}`;

/** Compute the current view of a layer. */
function computeView(model) {
  const { layer, matrix, second } = model;
  const kind = byId("image").value;
  const [input, output] = [vectorShape(layer, "input"), vectorShape(layer, "output")];
  const key = imageKey(layer);
  const x = state.image?.key === key ? state.image.values : filledImage(kind, input, layer.order);
  const g = filledImage(kind, output, layer.order);
  const shift = chosenShift(layer);
  const { view } = state;
  const shown = {
    layer: () => matrix,
    transpose: () => model.transpose,
    commutator: () => commutatorMatrix(layer, matrix, shift),
    chain: () => composedMatrix(second.matrix, matrix),
  }[view]();
  const vector = view === "transpose" ? g : x;
  const row = Math.min(state.row, shown.shape[0] - 1);
  return {
    ...model,
    x,
    key,
    shift,
    view,
    shown,
    vector,
    row,
    product: multiply(shown, vector),
    hidden: multiply(matrix, x),
    labels: byId("labels").value,
  };
}

/** Recompute and redraw everything; if the settings are impossible, the last layer stays. */
function update() {
  const computed = attempt("message", computeLayer);
  if (computed) {
    state.base = computed;
    showPadding("", computed.layer);
    if (computed.second) showPadding(SECOND, computed.second.layer);
  } else if (state.view === "chain" && !state.base.second) {
    const { layer } = state.base; // one tap, which copies the output, is always possible
    const second = secondSettings(layer.axes.length, layer.outChannels, 1, "valid", layer.axes.map(() => "zero"));
    state.settings = { ...state.settings, second };
    state.base.second = withMatrix(followingLayer(layer, state.settings));
  }
  updateView();
}

/** Return the shift in the inputs, or the last possible one. */
function chosenShift(layer) {
  const typed = attempt("shift-message", () =>
    layer.axes.map((_, axis) => wholeNumber(`shift[${axis}]`, numberIn(`shift-${axis}`), -LARGEST_NUMBER)),
  );
  const kept = layer.axes.map((_, axis) => state.shift?.[axis] ?? 0);
  state.shift = typed ?? kept;
  return state.shift;
}

function updateView() {
  byId("shift-row").hidden = state.view !== "commutator";
  byId("second-layer").hidden = state.view !== "chain";
  state.model = computeView(state.base);
  state.row = state.model.row;
  state.focus = state.pinned = null;
  state.pixel = Math.min(state.pixel, state.model.layer.nIn - 1);
  draw();
  linkSoon();
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
  const below = window.innerHeight - (byId("plots").getBoundingClientRect().top + window.scrollY); // the part of the screen
  const room = [beside ? (width - 24) / 2 - 6 : width, below - CAPTION_HEIGHT];
  const side = fittingSide(shown.shape, room, state.zoom);
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
  byId("torch").textContent = torchProgram(model);
  photographsSoon();
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
  markCells(page.left, focusedSamples(state.model, focus));
  markCells(page.middle, focusedMiddle(state.model, focus));
  markCells(page.right, focus?.row === undefined ? [] : [focus.row]);
  const dense = byId("dense-matrix").querySelector(".overlay");
  if (dense && byId("dense").checked) {
    const { left, top, side } = state.measures;
    const width = state.model.shown.shape[1] * side;
    dense.innerHTML = rectTag(left - 1, top + state.row * side - 1, width + 2, side + 2, "row-band");
  }
}

/** Return the samples in focus: one, or all that a hidden unit reads. */
function focusedSamples({ matrix }, focus) {
  if (focus?.hidden !== undefined) return matrix.rows[focus.hidden].map(({ column }) => column);
  return focus?.column === undefined ? [] : [focus.column];
}

/** Return the cells of the middle grid in focus: weights, or hidden units between a sample and an output. */
function focusedMiddle(model, focus) {
  if (model.view !== "chain") return focusedWeights(model, focus);
  if (focus?.hidden !== undefined) return [focus.hidden];
  return focus?.column === undefined ? [] : unitsBetween(model, focus.row ?? model.row, focus.column);
}

function drawPixel() {
  const { layer, x, view } = state.model;
  byId("pixel-label").hidden = byId("pixel-hint").hidden = view === "transpose";
  byId("pixel-name").textContent = nameAt({ name: "x", shape: vectorShape(layer, "input") }, state.pixel, layer.order);
  if (document.activeElement !== byId("pixel")) byId("pixel").value = x[state.pixel];
}
