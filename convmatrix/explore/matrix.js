// The matrix of a layer, its transpose, its commutator with a shift, and its counts.
// An entry is {column, weights, value}: the weights, ascending, are those that add up to the value.

/** Return the flat index of a place; order C counts the last axis fastest, F the first. */
function ravel(place, shape, order) {
  let index = 0;
  for (let step = 0; step < shape.length; step += 1) {
    const axis = order === "C" ? step : shape.length - 1 - step;
    index = index * shape[axis] + place[axis];
  }
  return index;
}

function unravel(index, shape, order) {
  const place = new Array(shape.length);
  for (let step = shape.length - 1; step >= 0; step -= 1) {
    const axis = order === "C" ? step : shape.length - 1 - step;
    place[axis] = index % shape[axis];
    index = Math.floor(index / shape[axis]);
  }
  return place;
}

/** Return what each tap of an output reads: {weight, positions, samples, column}; column is NOTHING outside a zero boundary. */
function tapsOf(layer, output) {
  const place = unravel(output, layer.outputShape, layer.order);
  return layer.weights.map((_, weight) => {
    const taps = unravel(weight, layer.kernelShape, "C");
    const positions = layer.axes.map((axis, a) => axisPosition(axis, layer.flip, place[a], taps[a]));
    const samples = layer.axes.map((axis, a) => readSample(positions[a], axis.size, axis.boundary));
    const column = samples.includes(NOTHING) ? NOTHING : ravel(samples, layer.inputShape, layer.order);
    return { weight, positions, samples, column };
  });
}

function entriesFrom(found, weights) {
  return [...found]
    .sort(([a], [b]) => a - b)
    .map(([column, own]) => ({ column, weights: own, value: own.reduce((sum, weight) => sum + weights[weight], 0) }));
}

/** Return the matrix as {shape, rows}: one list of entries a row, ascending by column. */
function layerMatrix(layer) {
  const rows = [];
  for (let output = 0; output < layer.nOut; output += 1) {
    const found = new Map();
    for (const { weight, column } of tapsOf(layer, output)) {
      if (column === NOTHING) continue;
      if (found.has(column)) found.get(column).push(weight);
      else found.set(column, [weight]);
    }
    rows.push(entriesFrom(found, layer.weights));
  }
  return { shape: [layer.nOut, layer.nIn], rows };
}

function transposeMatrix(matrix) {
  const rows = Array.from({ length: matrix.shape[1] }, () => []);
  matrix.rows.forEach((entries, row) => {
    for (const { column, weights, value } of entries) rows[column].push({ column: row, weights, value });
  });
  return { shape: [matrix.shape[1], matrix.shape[0]], rows };
}

/** Return the shift of the output that answers to a shift of the input. */
function outputShift(layer, shift) {
  return layer.axes.map(({ stride }, axis) => {
    if (!Number.isInteger(shift[axis]))
      throw new Error(`shift[${axis}] must be an integer, but is ${describeValue(shift[axis])}`);
    if (shift[axis] % stride !== 0) {
      throw new Error(
        `shift[${axis}]=${shift[axis]} is no multiple of stride[${axis}]=${stride}: the output would have to move by ` +
          `${shift[axis]}/${stride} samples; give a multiple of ${stride}`,
      );
    }
    return shift[axis] / stride;
  });
}

/** Return the permutation of a cyclic shift: entry i of the shifted vector is entry p[i] of the old one. */
function shiftPermutation(shape, shift, order) {
  return Array.from({ length: product(shape) }, (_, index) => {
    const place = unravel(index, shape, order).map((sample, axis) => modulo(sample - shift[axis], shape[axis]));
    return ravel(place, shape, order);
  });
}

/** Return A P - Q A for a cyclic shift: entries have plus and minus weights; a row with any entry is broken. */
function commutatorMatrix(layer, matrix, shift) {
  const p = shiftPermutation(layer.inputShape, shift, layer.order);
  const q = shiftPermutation(layer.outputShape, outputShift(layer, shift), layer.order);
  const rows = matrix.rows.map((entries, row) => {
    const plus = new Map(entries.map(({ column, weights }) => [p[column], weights]));
    const minus = new Map(matrix.rows[q[row]].map(({ column, weights }) => [column, weights]));
    const columns = [...new Set([...plus.keys(), ...minus.keys()])].sort((a, b) => a - b);
    return columns.flatMap((column) => {
      const [more, less] = withoutCommon(plus.get(column) ?? [], minus.get(column) ?? []);
      if (!more.length && !less.length) return [];
      const sum = (own) => own.reduce((total, weight) => total + layer.weights[weight], 0);
      return [{ column, weights: more, minus: less, value: sum(more) - sum(less) }];
    });
  });
  const brokenRows = rows.flatMap((entries, row) => (entries.length ? [row] : []));
  return { shape: matrix.shape, rows, brokenRows, p, q };
}

/** Return what two ascending lists do not have in common. */
function withoutCommon(first, second) {
  const rest = [...second];
  const kept = first.filter((weight) => {
    const place = rest.indexOf(weight);
    if (place < 0) return true;
    rest.splice(place, 1);
    return false;
  });
  return [kept, rest];
}

/** Return matrix times vector. */
function multiply(matrix, vector) {
  return matrix.rows.map((entries) => entries.reduce((sum, { column, value }) => sum + value * vector[column], 0));
}

/** Return the counts of the convolution, of a locally connected and of a dense layer of the same shapes. */
function layerCounts(layer, matrix) {
  const taps = product(layer.outputShape) * layer.nWeights;
  const inside = matrix.rows.flat().reduce((sum, { weights }) => sum + weights.length, 0);
  const nonzeros = matrix.rows.reduce((sum, entries) => sum + entries.length, 0);
  const entries = layer.nOut * layer.nIn;
  const counts = (weights, connections, read, stored) => ({
    weights,
    connections,
    connections_inside: read,
    nonzeros: stored,
    entries,
    density: stored / entries,
    sharing: read ? read / weights : null,
  });
  return {
    convolution: counts(layer.nWeights, taps, inside, nonzeros),
    unshared: counts(taps, taps, inside, nonzeros),
    dense: counts(entries, entries, entries, entries),
  };
}
