// The matrix of a layer, its transpose, its commutator with a shift, and its counts.
// An entry is {column, weights, value}, where value is the sum of the weights, listed in ascending order.

const MOST_TRIED_SHIFTS = 256; // output shifts that are tried if none works, as in Python's check_shift

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

/** Return what each tap of an output reads: {weight, positions, samples, column}; column is NOTHING in zero padding. */
function tapsOf(layer, output) {
  const indices = unravel(output, layer.outputShape, layer.order);
  return layer.weights.map((_, weight) => {
    const taps = unravel(weight, layer.kernelShape, "C");
    const positions = layer.axes.map((axis, a) => axisPosition(axis, layer.flip, indices[a], taps[a]));
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

/** Return the matrix as {shape, rows}: one list of entries per row, in ascending order of columns. */
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

/** Return what each output of an axis reads, as text: pairs "sample tap", with samples moved by -shift. */
function axisReads(layer, axis, shift) {
  return Array.from({ length: axis.outputs }, (_, output) => {
    const found = [];
    for (let tap = 0; tap < axis.taps; tap += 1) {
      const sample = readSample(axisPosition(axis, layer.flip, output, tap), axis.size, axis.boundary);
      if (sample !== NOTHING) found.push(`${modulo(sample - shift, axis.size)} ${tap}`);
    }
    return found.sort().join();
  });
}

/**
 * Return [output shift, works] for one axis: the shift of the output with which the axis commutes, if there is one.
 * shift / stride is preferred if it works, and if nothing works; otherwise the shift that breaks the fewest rows.
 */
function axisOutputShift(layer, axis, shift) {
  const shifted = axisReads(layer, axis, shift);
  const original = axisReads(layer, axis, 0);
  const broken = Array.from({ length: axis.outputs }, (_, moved) =>
    shifted.reduce((count, text, output) => count + (text !== original[modulo(output - moved, axis.outputs)]), 0),
  );
  const quotient = shift / axis.stride;
  const works = broken.includes(0);
  if (Number.isInteger(quotient) && (!works || !broken[modulo(quotient, axis.outputs)])) return [quotient, works];
  const tried = broken.slice(0, works ? broken.length : MOST_TRIED_SHIFTS);
  return [tried.indexOf(Math.min(...tried)), works];
}

/** Return the output shift {moved, works} for an input shift: one amount, and whether it works, per axis. */
function outputShift(layer, shift) {
  shift.forEach((amount, axis) => {
    if (!Number.isInteger(amount))
      throw new Error(`shift[${axis}] must be an integer, but is ${describeValue(amount)}`);
  });
  if (layer.axes.some((axis) => axisReads(layer, axis, 0).every((text) => !text))) {
    // The output is zero, so every output shift works.
    const quotients = layer.axes.map(({ stride }, axis) => shift[axis] / stride);
    return {
      moved: quotients.map((amount) => (Number.isInteger(amount) ? amount : 0)),
      works: quotients.map(() => true),
    };
  }
  const found = layer.axes.map((axis, number) => axisOutputShift(layer, axis, shift[number]));
  return { moved: found.map(([amount]) => amount), works: found.map(([, works]) => works) };
}

/** Return the permutation p of a cyclic shift: entry i of the shifted vector is entry p[i] of the original. */
function shiftPermutation(shape, shift, order) {
  return Array.from({ length: product(shape) }, (_, index) => {
    const source = unravel(index, shape, order).map((sample, axis) => modulo(sample - shift[axis], shape[axis]));
    return ravel(source, shape, order);
  });
}

/** Return A P - Q A for a cyclic shift; entries have added and subtracted weights, and rows with entries are broken. */
function commutatorMatrix(layer, matrix, shift) {
  const p = shiftPermutation(layer.inputShape, shift, layer.order);
  const { moved, works } = outputShift(layer, shift);
  const q = shiftPermutation(layer.outputShape, moved, layer.order);
  const rows = matrix.rows.map((entries, row) => {
    const plus = new Map(entries.map(({ column, weights }) => [p[column], weights]));
    const minus = new Map(matrix.rows[q[row]].map(({ column, weights }) => [column, weights]));
    const columns = [...new Set([...plus.keys(), ...minus.keys()])].sort((a, b) => a - b);
    return columns.flatMap((column) => {
      const [added, subtracted] = withoutCommon(plus.get(column) ?? [], minus.get(column) ?? []);
      if (!added.length && !subtracted.length) return [];
      const sum = (own) => own.reduce((total, weight) => total + layer.weights[weight], 0);
      return [{ column, weights: added, minus: subtracted, value: sum(added) - sum(subtracted) }];
    });
  });
  const brokenRows = rows.flatMap((entries, row) => (entries.length ? [row] : []));
  return { shape: matrix.shape, rows, brokenRows, p, q, moved, works };
}

/** Return the elements of each list that the other does not contain, counting repetitions. */
function withoutCommon(first, second) {
  const rest = [...second];
  const kept = first.filter((weight) => {
    const match = rest.indexOf(weight);
    if (match < 0) return true;
    rest.splice(match, 1);
    return false;
  });
  return [kept, rest];
}

/** Return the product of a matrix and a vector. */
function multiply(matrix, vector) {
  return matrix.rows.map((entries) => entries.reduce((sum, { column, value }) => sum + value * vector[column], 0));
}

/** Return the counts of the convolution, and of a locally connected and a dense layer with the same shapes. */
function layerCounts(layer, matrix) {
  const taps = product(layer.outputShape) * layer.nWeights;
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
