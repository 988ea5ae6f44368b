// The matrix of a layer, its transpose, its product with another, and its counts.
// An entry is {column, weights, factors, value}: weights in ascending order, the coefficient of each, and their sum.

/** Return the flat index of a multi-index; in order C the last axis varies fastest, in order F the first. */
function ravel(indices, shape, order) {
  let index = 0;
  for (let step = 0; step < shape.length; step += 1) {
    const axis = order === "C" ? step : shape.length - 1 - step;
    index = index * shape[axis] + indices[axis];
  }
  return index;
}

/** Return the multi-index of a flat index. */
function unravel(index, shape, order) {
  const indices = new Array(shape.length);
  for (let step = shape.length - 1; step >= 0; step -= 1) {
    const axis = order === "C" ? step : shape.length - 1 - step;
    indices[axis] = index % shape[axis];
    index = Math.floor(index / shape[axis]);
  }
  return indices;
}

/** Return what is read at a position of several axes: {samples, factor} for each term; none in zero padding. */
function termsAt(layer, positions) {
  return layer.axes.reduce(
    (found, axis, a) =>
      found.flatMap(({ samples, factor }) =>
        readTerms(positions[a], axis.samples, axis.boundary).map(([sample, coefficient]) => ({
          samples: [...samples, sample],
          factor: factor * coefficient,
        })),
      ),
    [{ samples: [], factor: 1 }],
  );
}

/** Return what each tap is tied to at a position of the kernel: {tap, positions, terms}. */
function tapsAt(layer, indices) {
  return Array.from({ length: product(layer.kernelShape) }, (_, tap) => {
    const taps = unravel(tap, layer.kernelShape, "C");
    const positions = layer.axes.map((axis, a) => axisPosition(axis, layer.flip, indices[a], taps[a]));
    return { tap, positions, terms: termsAt(layer, positions) };
  });
}

/** Return what each weight of an output of a convolution reads: {weight, channel, positions, terms}. */
function tapsOf(layer, output) {
  const [channel, ...indices] = unravel(output, vectorShape(layer, "output"), layer.order);
  const taps = tapsAt(layer, indices);
  return Array.from({ length: layer.inChannels }, (_, input) =>
    taps.map(({ tap, ...rest }) => ({ weight: weightIndex(layer, channel, input, tap), channel: input, ...rest })),
  ).flat();
}

/** Return the sum of some weights times their factors. */
const weightedSum = (own, factors, weights) => own.reduce((sum, weight, n) => sum + factors[n] * weights[weight], 0);

function entriesFrom(found, weights) {
  return [...found]
    .sort(([a], [b]) => a - b)
    .map(([column, { own, factors }]) => ({
      column,
      weights: own,
      factors,
      value: weightedSum(own, factors, weights),
    }));
}

/**
 * Return the matrix as {shape, rows}: one list of entries per row, in ascending order of columns. Each position of the
 * kernel is an output that reads samples, or, in a transposed layer, an input that contributes to samples.
 */
function layerMatrix(layer) {
  const found = Array.from({ length: layer.nOut }, () => new Map());
  const positions = layer.axes.map((axis) => axis.positions);
  const [inputs, outputs] = [vectorShape(layer, "input"), vectorShape(layer, "output")];
  const add = (row, column, weight, factor) => {
    if (!found[row].has(column)) found[row].set(column, { own: [], factors: [] });
    found[row].get(column).own.push(weight);
    found[row].get(column).factors.push(factor);
  };
  for (let number = 0; number < product(positions); number += 1) {
    const position = unravel(number, positions, "C");
    for (const { tap, terms } of tapsAt(layer, position)) {
      for (const { samples, factor } of terms) {
        const [from, to] = layer.transposed ? [position, samples] : [samples, position];
        for (let output = 0; output < layer.outChannels; output += 1) {
          const row = ravel([output, ...to], outputs, layer.order);
          for (let input = 0; input < layer.inChannels; input += 1) {
            add(row, ravel([input, ...from], inputs, layer.order), weightIndex(layer, output, input, tap), factor);
          }
        }
      }
    }
  }
  return { shape: [layer.nOut, layer.nIn], rows: found.map((row) => entriesFrom(row, layer.weights)) };
}

function transposeMatrix(matrix) {
  const rows = Array.from({ length: matrix.shape[1] }, () => []);
  matrix.rows.forEach((entries, row) => {
    for (const { column, ...entry } of entries) rows[column].push({ column: row, ...entry });
  });
  return { shape: [matrix.shape[1], matrix.shape[0]], rows };
}

/** Return the product of a matrix and a vector. */
function multiply(matrix, vector) {
  return matrix.rows.map((entries) => entries.reduce((sum, { column, value }) => sum + value * vector[column], 0));
}

/** Return the counts of the convolution, and of a locally connected and a dense layer with the same shapes. */
function layerCounts(layer, matrix) {
  const taps = product(layer.axes.map((axis) => axis.positions)) * layer.nWeights;
  const inside = matrix.rows.flat().reduce((sum, { weights }) => sum + weights.length, 0);
  const nonzeros = matrix.rows.reduce((sum, entries) => sum + entries.length, 0);
  const entries = layer.nOut * layer.nIn;
  const counts = (weights, connections, inside, nonzeros) => ({
    weights,
    connections,
    connections_inside: inside,
    nonzeros,
    entries,
    density: nonzeros / entries,
    sharing: inside ? inside / weights : null,
  });
  return {
    convolution: counts(layer.nWeights, taps, inside, nonzeros),
    unshared: counts(taps, taps, inside, nonzeros),
    dense: counts(entries, entries, entries, entries),
  };
}
