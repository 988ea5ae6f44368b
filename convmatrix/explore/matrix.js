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

/** Return what each output of an axis reads, as a set of texts "sample tap"; samples are moved by -shift. */
function axisReads(layer, axis, shift) {
  const reads = ({ taps, boundary, size }, output) => {
    const found = [];
    for (let tap = 0; tap < taps; tap += 1) {
      const sample = readSample(axisPosition(axis, layer.flip, output, tap), size, boundary);
      if (sample !== NOTHING) found.push(`${modulo(sample - shift, size)} ${tap}`);
    }
    return found.sort().join();
  };
  return Array.from({ length: axis.outputs }, (_, output) => reads(axis, output));
}

/**
 * Return the shift of one axis of the output that answers to a shift of the input, and whether one does.
 * The quotient of shift and stride is preferred; without an answer it is the one that leaves the fewest rows broken.
 */
function axisOutputShift(layer, axis, shift) {
  const own = axisReads(layer, axis, shift);
  const still = axisReads(layer, axis, 0);
  const broken = Array.from({ length: axis.outputs }, (_, moved) =>
    own.reduce((count, text, output) => count + (text !== still[modulo(output - moved, axis.outputs)]), 0),
  );
  const quotient = shift / axis.stride;
  const answers = broken.includes(0);
  if (Number.isInteger(quotient) && (!answers || !broken[modulo(quotient, axis.outputs)])) return [quotient, answers];
  return [broken.indexOf(Math.min(...broken)), answers];
}

/** Return the shift of the output, one number per axis, that answers to a shift of the input, and whether one does. */
function outputShift(layer, shift) {
  shift.forEach((amount, axis) => {
    if (!Number.isInteger(amount))
      throw new Error(`shift[${axis}] must be an integer, but is ${describeValue(amount)}`);
  });
  if (layer.axes.some((axis) => axisReads(layer, axis, 0).every((text) => !text))) {
    // The output is constant, so every shift answers.
    const quotients = layer.axes.map(({ stride }, axis) => shift[axis] / stride);
    return { moved: quotients.map((amount) => (Number.isInteger(amount) ? amount : 0)), answers: true };
  }
  const found = layer.axes.map((axis, place) => axisOutputShift(layer, axis, shift[place]));
  return { moved: found.map(([amount]) => amount), answers: found.every(([, answers]) => answers) };
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
  const { moved } = outputShift(layer, shift);
  const q = shiftPermutation(layer.outputShape, moved, layer.order);
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
  return { shape: matrix.shape, rows, brokenRows, p, q, moved };
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
