// The one-axis rule: which input sample tap t of output i reads, and how many outputs an axis has.
// The same arithmetic as in convmatrix/boundary.py, with the same error messages; START.vectors, computed there, test it.

const START = JSON.parse(document.getElementById("start").textContent);
const LIMIT = START.limit; // maximum number of rows, columns and weights
const LARGEST_NUMBER = START.largest; // of a setting, so that all index arithmetic is exact
const { boundaries: BOUNDARIES, signed: SIGNED } = START; // of the package; the signed ones read with coefficients
const PADDING_WORDS = START.paddings;
const NOTHING = -1;

/** A setting that does not define a layer: what is wrong with it, and the input in which it was typed. */
class SettingError extends Error {
  constructor(message, control = null) {
    super(message);
    this.control = control;
  }
}

const modulo = (number, period) => ((number % period) + period) % period;

function tapPosition(output, tap, stride, dilation, padLow) {
  return output * stride + tap * dilation - padLow;
}

function readSample(position, size, boundary) {
  if (boundary === "zero") return position >= 0 && position < size ? position : NOTHING;
  if (boundary === "circular") return modulo(position, size);
  if (boundary === "replicate") return Math.min(Math.max(position, 0), size - 1);
  if (boundary === "symmetric") {
    const phase = modulo(position, 2 * size);
    return phase < size ? phase : 2 * size - 1 - phase;
  }
  const period = size > 1 ? 2 * size - 2 : 1; // reflect; a single sample has no neighbour
  const phase = modulo(position, period);
  return phase < size ? phase : period - phase;
}

/** Return what is read at a position: pairs [sample, coefficient], the samples distinct and no coefficient 0. */
function readTerms(position, size, boundary) {
  if (!SIGNED.includes(boundary)) {
    const sample = readSample(position, size, boundary);
    return sample === NOTHING ? [] : [[sample, 1]];
  }
  const period = boundary === "antisymmetric" ? 2 * size : size > 1 ? 2 * size - 2 : 1;
  const phase = modulo(position, period);
  const sign = phase < size ? 1 : -1;
  if (boundary === "antisymmetric") return [[phase < size ? phase : period - 1 - phase, sign]];
  const turns = size > 1 ? Math.floor(position / period) : 0;
  const terms = [
    [phase < size ? phase : period - phase, sign],
    [0, -2 * turns],
    [size - 1, 2 * turns + (phase < size ? 0 : 2)],
  ];
  return totals(terms).filter(([, coefficient]) => coefficient);
}

/** Return pairs [key, sum] of pairs [key, amount], in the order in which the keys first occur. */
function totals(pairs) {
  const found = new Map();
  for (const [key, amount] of pairs) found.set(key, (found.get(key) ?? 0) + amount);
  return [...found];
}

/** Split the padding of "same": an odd sample goes to the high end, or to the low end for "same_lower". */
function splitPadding(total, word) {
  const half = Math.floor(total / 2);
  return word === "same" ? [half, total - half] : [total - half, half];
}

const kernelWords = (axis, taps, dilation) => `kernel_shape[${axis}]=${taps}, dilation=${dilation}`;

/** Return {low, high, extra, outputs} of one axis: paddings, output padding (none here) and number of outputs. */
function forwardAxis(axis, size, taps, stride, dilation, padding) {
  const span = dilation * (taps - 1) + 1;
  let low = 0;
  let high = 0;
  if (Array.isArray(padding)) [low, high] = padding;
  else if (padding === "full") low = high = span - 1;
  else if (padding !== "valid") {
    [low, high] = splitPadding(Math.max((Math.ceil(size / stride) - 1) * stride + span - size, 0), padding);
  }
  const padded = size + low + high;
  if (span > padded) {
    throw new SettingError(
      `kernel does not fit on axis ${axis}: it spans ${span} samples (${kernelWords(axis, taps, dilation)}), ` +
        `but the padded input has ${padded} (input_shape[${axis}]=${size}, padding=(${low}, ${high})); ` +
        "increase padding or shrink the kernel",
      `kernel_shape-${axis}`,
    );
  }
  return { low, high, extra: 0, outputs: Math.floor((padded - span) / stride) + 1 };
}

/** Return {low, high, extra, outputs} of one axis of a transposed layer, with `given` as its output padding. */
function transposedAxis(axis, size, taps, stride, dilation, padding, given) {
  const span = dilation * (taps - 1) + 1;
  let [low, high, extra] = [0, 0, given];
  if (Array.isArray(padding)) [low, high] = padding;
  else if (padding === "full") low = high = span - 1;
  else if (padding !== "valid") {
    const total = (size - 1) * stride + span + given - size * stride;
    [low, high] = splitPadding(Math.max(total, 0), padding);
    extra += Math.max(-total, 0); // a kernel shorter than the stride leaves the last outputs without a tap
  }
  const full = (size - 1) * stride + span + extra;
  const outputs = full - low - high;
  if (outputs < 1) {
    throw new SettingError(
      `transposed layer has no outputs on axis ${axis}: padding=(${low}, ${high}) crops ${low + high} of ${full} ` +
        `samples (input_shape[${axis}]=${size}, stride=${stride}, ${kernelWords(axis, taps, dilation)}); ` +
        "reduce the padding",
      `padding-${axis}`,
    );
  }
  if (given >= Math.max(stride, dilation)) {
    throw new SettingError(
      `output_padding[${axis}]=${given} must be smaller than the stride or the dilation ` +
        `(stride[${axis}]=${stride}, dilation[${axis}]=${dilation})`,
      `output_padding-${axis}`,
    );
  }
  return { low, high, extra, outputs };
}

/** Return what differs from the package in a table that it computed: sentences, none if all is the same. */
function ruleDifferences({ terms, sizes }) {
  const found = [];
  const compare = (name, compute, expected) => {
    const own = JSON.stringify(compute());
    if (own !== JSON.stringify(expected))
      found.push(`${name}: ${own} here, ${JSON.stringify(expected)} in the package`);
  };
  for (const [boundary, size, position, expected] of terms) {
    const sorted = () => readTerms(position, size, boundary).sort(([a], [b]) => a - b);
    compare(`boundary ${boundary}, position ${position} of ${size} samples`, sorted, expected);
  }
  for (const [transposed, size, taps, stride, dilation, padding, expected] of sizes) {
    const axis = () => {
      const resolve = transposed ? transposedAxis : forwardAxis;
      const { low, high, extra, outputs } = resolve(0, size, taps, stride, dilation, padding, 0);
      return [low, high, extra, outputs];
    };
    compare(`padding ${padding} of ${size} samples, kernel ${taps}, stride ${stride}`, axis, expected);
  }
  return found;
}
