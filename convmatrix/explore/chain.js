// Two layers in a row: the product of their matrices, and the receptive field of each output in the input.
// An entry is {column, weights: [], factors: [], value, paths}: paths counts the hidden units between output and pixel.

/** Return settings of a second layer: some taps per axis, one output channel, weights counted from 1 in each channel. */
function secondSettings(nAxes, inChannels, taps, padding, boundary) {
  const each = (value) => new Array(nAxes).fill(value);
  return {
    kernel_shape: each(taps),
    stride: each(1),
    dilation: each(1),
    padding: each(padding),
    boundary,
    out_channels: 1,
    weights: Array.from({ length: inChannels * taps ** nAxes }, (_, index) => (index % taps ** nAxes) + 1),
  };
}

/** Return the layer that reads the outputs of another; a setting that is impossible belongs to the second layer. */
function followingLayer({ outputShape, outChannels, order, flip }, { second }) {
  try {
    const given = { input_shape: outputShape, in_channels: outChannels, order, flip, transposed: false };
    return describeLayer({ ...second, ...given });
  } catch (error) {
    if (!(error instanceof SettingError)) throw error;
    throw new SettingError(`second layer: ${error.message}`, error.control && `second_${error.control}`);
  }
}

/** Return the product of two matrices: the structure follows from the layers, whatever the values. */
function composedMatrix(second, first) {
  const [, columns] = first.shape;
  const rows = second.rows.map((entries) => {
    const [values, paths] = [new Float64Array(columns), new Int32Array(columns)];
    for (const { column: hidden, value } of entries) {
      for (const entry of first.rows[hidden]) {
        values[entry.column] += value * entry.value;
        paths[entry.column] += 1;
      }
    }
    return [...paths.keys()]
      .filter((column) => paths[column])
      .map((column) => ({ column, weights: [], factors: [], value: values[column], paths: paths[column] }));
  });
  return { shape: [second.shape[0], columns], rows };
}

/** Return the hidden units through which an output reads a sample. */
function unitsBetween({ matrix, second }, row, sample) {
  const reads = (unit) => matrix.rows[unit].some(({ column }) => column === sample);
  return second.matrix.rows[row].map(({ column }) => column).filter(reads);
}

/** Return the first and last sample that a row reads on each axis: its receptive field. */
function receptiveField(entries, layer) {
  const places = entries.map(({ column }) => unravel(column, vectorShape(layer, "input"), layer.order).slice(1));
  return layer.axes.map((_, axis) => {
    const samples = places.map((place) => place[axis]);
    return [Math.min(...samples), Math.max(...samples)];
  });
}
