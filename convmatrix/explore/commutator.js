// The commutator of a layer with a cyclic shift, A P - Q A, and the output shift with which it is smallest.

const MOST_TRIED_SHIFTS = 256; // output shifts that are tried if none works, as in Python's check_shift

/** Return what each output of an axis is tied to, as text: "input tap factor", with inputs moved by -shift. */
function axisReads(layer, axis, shift, sign = 1) {
  const found = Array.from({ length: axis.outputs }, () => []);
  for (let position = 0; position < axis.positions; position += 1) {
    for (let tap = 0; tap < axis.taps; tap += 1) {
      const place = axisPosition(axis, layer.flip, position, tap);
      for (const [sample, factor] of readTerms(place, axis.samples, axis.boundary)) {
        const [from, to] = layer.transposed ? [position, sample] : [sample, position];
        found[to].push(`${modulo(from - shift, axis.size)} ${tap} ${sign * factor}`);
      }
    }
  }
  return found.map((reads) => reads.sort().join());
}

/** Return the output shift that the stride implies on an axis: a fraction if the stride does not divide the shift. */
const impliedShift = (layer, axis, shift) => (layer.transposed ? shift * axis.stride : shift / axis.stride);

/**
 * Return [output shift, works] for one axis: the shift of the output with which the axis commutes, if there is one.
 * The shift that the stride implies is preferred if it works, and if nothing works; otherwise the shift that breaks the
 * fewest rows. With the sign -1 the output is negated as well, as an antisymmetric boundary may do.
 */
function axisOutputShift(layer, axis, shift, sign) {
  const shifted = axisReads(layer, axis, shift, sign);
  const original = axisReads(layer, axis, 0);
  const broken = Array.from({ length: axis.outputs }, (_, moved) =>
    shifted.reduce((count, text, output) => count + (text !== original[modulo(output - moved, axis.outputs)]), 0),
  );
  const quotient = impliedShift(layer, axis, shift);
  const works = broken.includes(0);
  if (Number.isInteger(quotient) && (!works || !broken[modulo(quotient, axis.outputs)])) return [quotient, works];
  const tried = broken.slice(0, works ? broken.length : MOST_TRIED_SHIFTS);
  return [tried.indexOf(Math.min(...tried)), works];
}

/** Return the output shift {moved, works} for an input shift: one amount, and whether it works, per axis. */
function outputShift(layer, shift) {
  shift.forEach((amount, axis) => wholeNumber(`shift[${axis}]`, amount, -LARGEST_NUMBER));
  if (layer.axes.some((axis) => axisReads(layer, axis, 0).every((text) => !text))) {
    // The output is zero, so every output shift works.
    const quotients = layer.axes.map((axis, number) => impliedShift(layer, axis, shift[number]));
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
  const p = shiftPermutation(vectorShape(layer, "input"), [0, ...shift], layer.order); // channels stay
  const { moved, works } = outputShift(layer, shift);
  const q = shiftPermutation(vectorShape(layer, "output"), [0, ...moved], layer.order);
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
  const pairs = (entry, sign) => entry?.weights.map((weight, n) => [weight, sign * entry.factors[n]]) ?? [];
  return totals([...pairs(first, 1), ...pairs(second, -1)])
    .filter(([, factor]) => factor)
    .sort(([a], [b]) => a - b);
}
