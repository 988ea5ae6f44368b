// Initialisation, and functions for scripts.

function start() {
  for (const prefix of ["", SECOND]) makeAxisControls(prefix);
  for (const prefix of ["", SECOND]) offerFills(`${prefix}kernel-fill`, { "": { words: "\u2026" }, ...KERNEL_FILLS });
  offerFills("image", IMAGE_FILLS);
  const { input_shape: shape, out_channels: channels, boundary } = START.settings;
  const second = secondSettings(shape.length, channels, 3, "same", boundary);
  applySettings({ ...START.settings, weights: START.weights, second });
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

/** Write all settings of the layers into the inputs. */
function applySettings(settings) {
  writeSettings(settings);
  const { second } = settings;
  setKernel("", settingsWeightShape(settings), settings.weights);
  if (second) setKernel(SECOND, settingsWeightShape({ ...second, in_channels: settings.out_channels }), second.weights);
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
