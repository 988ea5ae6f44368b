// The matrix of a layer, its transpose, its commutator with a shift, and its counts.
// An entry is {column, weights, factors, value}: weights in ascending order, the coefficient of each, and their sum.

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

/** Return what is read at a position of several axes: {samples, column, factor} for each term; none in zero padding. */
function termsAt(layer, positions) {
  const products = layer.axes.reduce(
    (found, axis, a) =>
      found.flatMap(({ samples, factor }) =>
        readTerms(positions[a], axis.size, axis.boundary).map(([sample, coefficient]) => ({
          samples: [...samples, sample],
          factor: factor * coefficient,
        })),
      ),
    [{ samples: [], factor: 1 }],
  );
  return products.map((term) => ({ ...term, column: ravel(term.samples, layer.inputShape, layer.order) }));
}

/** Return what each tap of an output reads: {weight, positions, terms}. */
function tapsOf(layer, output) {
  const indices = unravel(output, layer.outputShape, layer.order);
  return layer.weights.map((_, weight) => {
    const taps = unravel(weight, layer.kernelShape, "C");
    const positions = layer.axes.map((axis, a) => axisPosition(axis, layer.flip, indices[a], taps[a]));
    return { weight, positions, terms: termsAt(layer, positions) };
  });
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

/** Return the matrix as {shape, rows}: one list of entries per row, in ascending order of columns. */
function layerMatrix(layer) {
  const rows = [];
  for (let output = 0; output < layer.nOut; output += 1) {
    const found = new Map();
    for (const { weight, terms } of tapsOf(layer, output)) {
      for (const { column, factor } of terms) {
        if (!found.has(column)) found.set(column, { own: [], factors: [] });
        found.get(column).own.push(weight);
        found.get(column).factors.push(factor);
      }
    }
    rows.push(entriesFrom(found, layer.weights));
  }
  return { shape: [layer.nOut, layer.nIn], rows };
}

function transposeMatrix(matrix) {
  const rows = Array.from({ length: matrix.shape[1] }, () => []);
  matrix.rows.forEach((entries, row) => {
    for (const { column, ...entry } of entries) rows[column].push({ column: row, ...entry });
  });
  return { shape: [matrix.shape[1], matrix.shape[0]], rows };
}

/** Return what each output of an axis reads, as text: "sample tap factor", with samples moved by -shift. */
function axisReads(layer, axis, shift, sign = 1) {
  return Array.from({ length: axis.outputs }, (_, output) => {
    const found = [];
    for (let tap = 0; tap < axis.taps; tap += 1) {
      const position = axisPosition(axis, layer.flip, output, tap);
      for (const [sample, factor] of readTerms(position, axis.size, axis.boundary)) {
        found.push(`${modulo(sample - shift, axis.size)} ${tap} ${sign * factor}`);
      }
    }
    return found.sort().join();
  });
}

/**
 * Return [output shift, works] for one axis: the shift of the output with which the axis commutes, if there is one.
 * shift / stride is preferred if it works, and if nothing works; otherwise the shift that breaks the fewest rows. With
 * the sign -1 the output is negated as well, as an antisymmetric boundary may do.
 */
function axisOutputShift(layer, axis, shift, sign) {
  const shifted = axisReads(layer, axis, shift, sign);
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
  const signs = outputSigns(layer, shift);
  const found = layer.axes.map((axis, number) => axisOutputShift(layer, axis, shift[number], signs[number]));
  return { moved: found.map(([amount]) => amount), works: found.map(([, works]) => works) };
}

/** Return a sign for each axis, an even number of them -1: 1 unless an axis commutes only up to its sign. */
function outputSigns(layer, shift) {
  const possible = layer.axes.map((axis, number) =>
    (SIGNED.includes(axis.boundary) ? [1, -1] : [1]).filter(
      (sign) => axisOutputShift(layer, axis, shift[number], sign)[1],
    ),
  );
  const signs = possible.map(([first]) => first ?? 1);
  if (signs.filter((sign) => sign < 0).length % 2) {
    const both = possible.findIndex(({ length }) => length === 2);
    if (both < 0) return signs.map(() => 1);
    signs[both] = -1;
  }
  return signs;
}

/** Return the permutation p of a cyclic shift: entry i of the shifted vector is entry p[i] of the original. */
function shiftPermutation(shape, shift, order) {
  return Array.from({ length: product(shape) }, (_, index) => {
    const source = unravel(index, shape, order).map((sample, axis) => modulo(sample - shift[axis], shape[axis]));
    return ravel(source, shape, order);
  });
}

/**
 * Return A P - Q A for a cyclic shift. Entries have added weights and subtracted ones, minus, with their factors, and
 * rows with entries are broken.
 */
function commutatorMatrix(layer, matrix, shift) {
  const p = shiftPermutation(layer.inputShape, shift, layer.order);
  const { moved, works } = outputShift(layer, shift);
  const q = shiftPermutation(layer.outputShape, moved, layer.order);
  const rows = matrix.rows.map((entries, row) => {
    const plus = new Map(entries.map((entry) => [p[entry.column], entry]));
    const minus = new Map(matrix.rows[q[row]].map((entry) => [entry.column, entry]));
    const columns = [...new Set([...plus.keys(), ...minus.keys()])].sort((a, b) => a - b);
    return columns.flatMap((column) => {
      const differences = factorDifferences(plus.get(column), minus.get(column));
      if (!differences.length) return [];
      const [added, subtracted] = [1, -1].map((sign) => differences.filter(([, factor]) => sign * factor > 0));
      return [
        {
          column,
          weights: added.map(([weight]) => weight),
          factors: added.map(([, factor]) => factor),
          minus: subtracted.map(([weight]) => weight),
          minusFactors: subtracted.map(([, factor]) => -factor),
          value: differences.reduce((total, [weight, factor]) => total + factor * layer.weights[weight], 0),
        },
      ];
    });
  });
  const brokenRows = rows.flatMap((entries, row) => (entries.length ? [row] : []));
  return { shape: matrix.shape, rows, brokenRows, p, q, moved, works };
}

/** Return pairs [weight, factor] of what the first entry has more than the second, either of which may be missing. */
function factorDifferences(first, second) {
  const totals = new Map();
  for (const [entry, sign] of [
    [first, 1],
    [second, -1],
  ]) {
    entry?.weights.forEach((weight, n) => totals.set(weight, (totals.get(weight) ?? 0) + sign * entry.factors[n]));
  }
  return [...totals].filter(([, factor]) => factor).sort(([a], [b]) => a - b);
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
