// Initialisation, and functions for scripts.

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
  /** Return the matrix of settings: {shape, rows, layer}. */
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
  /** Return the settings, matrix and vectors of the current view; null if the inputs do not define a valid layer. */
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
