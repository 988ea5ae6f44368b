// The start, and what a script may ask of the page.

function start() {
  const { settings, weights } = START;
  makeAxisControls();
  state.kernelShape = settings.kernel_shape;
  state.weights = weights;
  makeKernelInputs(state.kernelShape);
  writeWeights();
  writeSettings(settings);
  if (window.matchMedia("(max-width: 860px)").matches) byId("settings").open = false;
  listenToControls();
  listenToStage();
  listenToMatrix();
  listenToWindow();
  update();
}

window.convmatrix = {
  limit: LIMIT,
  /** The matrix of settings: {shape, rows, layer}; throws an Error in words. */
  matrix(settings) {
    const layer = describeLayer(settings);
    return { ...layerMatrix(layer), layer };
  },
  transpose: (settings) => transposeMatrix(layerMatrix(describeLayer(settings))),
  commutator(settings, shift) {
    const layer = describeLayer(settings);
    return commutatorMatrix(layer, layerMatrix(layer), shift);
  },
  counts(settings) {
    const layer = describeLayer(settings);
    return layerCounts(layer, layerMatrix(layer));
  },
  palette,
  /** What the page shows now: its settings, the matrix, the vectors; null where the inputs make no layer. */
  shown() {
    if (!state.model) return null;
    const { shown, view, row, vector, product: result } = state.model;
    return {
      settings: { ...state.settings, weights: state.weights },
      view,
      row,
      matrix: shown,
      vector,
      product: result,
    };
  },
};

start();
