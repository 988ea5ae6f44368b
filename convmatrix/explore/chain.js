// Two layers in a row: the product of their matrices, and the receptive field of each output in the input.
// An entry is {column, weights: [], factors: [], value, paths}: paths counts the hidden units between output and pixel.

/** Return the settings of the layer that follows another: it reads the outputs of that one. */
function followingSettings(first, settings, second) {
  const { outputShape, outChannels, order, flip } = first;
  return { ...second, input_shape: outputShape, in_channels: outChannels, order, flip, transposed: false };
}

/** Return the layer that follows another; a setting that is impossible belongs to the second layer. */
function followingLayer(first, settings, limit = LIMIT) {
  try {
    return describeLayer(followingSettings(first, settings, settings.second), limit);
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
