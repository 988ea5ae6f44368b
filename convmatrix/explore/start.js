// Initialisation, and functions for scripts.

function start() {
  for (const prefix of ["", SECOND]) makeAxisControls(prefix);
  byId(`${SECOND}kernel-fill`).innerHTML = byId("kernel-fill").innerHTML;
  applySettings({ ...START.settings, weights: START.weights, second: initialSecond(START.settings) });
  if (window.matchMedia("(max-width: 860px)").matches) byId("settings").open = false;
  listenToControls();
  listenToStage();
  listenToMatrix();
  listenToWindow();
  listenToShare();
  listenToStory();
  listenToLink();
  update();
  if (readLink()) update();
  else if (!window.location.hash) startStory();
  loadPhotograph();
  const differences = ruleDifferences(START.vectors);
  if (differences.length) {
    const message = `The rule of this page is not that of the package, so do not trust its matrices: ${differences[0]}`;
    showError("message", new SettingError(message));
  }
}

/** Return the settings of a second layer like the first: three taps per axis, one output channel. */
function initialSecond({ input_shape: shape, boundary, out_channels: channels }) {
  const each = (value) => shape.map(() => value);
  const taps = each(3);
  const weights = Array.from({ length: channels * product(taps) }, (_, index) => (index % product(taps)) + 1);
  return {
    kernel_shape: taps,
    stride: each(1),
    dilation: each(1),
    padding: each("same"),
    boundary,
    out_channels: 1,
    weights,
  };
}

/** Write all settings of the layers into the inputs. */
function applySettings(settings) {
  writeSettings(settings);
  const { kernel_shape: taps, in_channels: inputs, out_channels: outputs, transposed, second } = settings;
  setKernel("", [...(transposed ? [inputs, outputs] : [outputs, inputs]), ...taps], settings.weights);
  if (second) setKernel(SECOND, [second.out_channels, outputs, ...second.kernel_shape], second.weights);
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
  /** Return the matrices of two layers: {first, second, product, settings of the second layer}. */
  chain(settings) {
    const layer = describeLayer(settings);
    const second = followingLayer(layer, settings);
    const matrices = [layerMatrix(layer), layerMatrix(second)];
    return { first: matrices[0], second: matrices[1], product: composedMatrix(matrices[1], matrices[0]) };
  },
  /** Return the output channels of a layer for the channels of an image, computed without its matrix. */
  filter(settings, planes) {
    const layer = describeLayer(settings);
    return Array.from({ length: layer.outChannels }, (_, channel) => filterPlanes(layer, planes, channel));
  },
  /** Return the settings of a link to the current view, as they are read from it. */
  link: () => parseFragment(currentFragment()).settings,
  torch(settings, view = "layer") {
    const layer = describeLayer(settings);
    return torchProgram({ layer, view, second: view === "chain" ? { layer: followingLayer(layer, settings) } : null });
  },
  palette,
  /** Return the settings, matrix and vectors of the current view: of the last possible layer. */
  shown() {
    const { layer, shown, view, row, vector, product: result } = state.model;
    return {
      settings: { ...state.settings, weights: layer.weights },
      second: state.model.second?.matrix,
      view,
      row,
      matrix: shown,
      vector,
      product: result,
    };
  },
};

start();
