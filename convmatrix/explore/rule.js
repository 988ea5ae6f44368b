// The one-axis rule: which input sample tap t of output i reads, and how many outputs an axis has.
// The same arithmetic as in convmatrix/boundary.py, with the same error messages.

const START = JSON.parse(document.getElementById("start").textContent);
const LIMIT = START.limit; // maximum number of rows, columns and weights
const LARGEST_NUMBER = START.largest; // of a setting, so that all index arithmetic is exact
const BOUNDARIES = ["zero", "circular", "reflect", "symmetric", "replicate", "antireflect", "antisymmetric"];
const SIGNED = ["antireflect", "antisymmetric"]; // which read samples with coefficients
const PADDING_WORDS = ["valid", "same", "same_lower", "full"];
const NOTHING = -1;

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
  const totals = new Map();
  for (const [sample, coefficient] of terms) totals.set(sample, (totals.get(sample) ?? 0) + coefficient);
  return [...totals].filter(([, coefficient]) => coefficient);
}

/** Split the padding of "same": an odd sample goes to the high end, or to the low end for "same_lower". */
function splitPadding(total, word) {
  const half = Math.floor(total / 2);
  return word === "same" ? [half, total - half] : [total - half, half];
}

/** Return [low padding, high padding, number of outputs] of one axis. */
function axisSizes(axis, size, taps, stride, dilation, padding) {
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
    throw new Error(
      `kernel does not fit on axis ${axis}: it spans ${span} samples (kernel_shape[${axis}]=${taps}, ` +
        `dilation=${dilation}), but the padded input has ${padded} (input_shape[${axis}]=${size}, ` +
        `padding=(${low}, ${high})); increase padding or shrink the kernel`,
    );
  }
  return [low, high, Math.floor((padded - span) / stride) + 1];
}

function wholeNumber(name, value, minimum) {
  if (!Number.isInteger(value)) throw new Error(`${name} must be an integer, but is ${describeValue(value)}`);
  if (value < minimum) throw new Error(`${name} must be at least ${minimum}, but is ${value}`);
  if (value > LARGEST_NUMBER) throw new Error(`${name} must be at most ${LARGEST_NUMBER}, but is ${value}`);
  return value;
}

function describeValue(value) {
  return value === null || value === undefined || Number.isNaN(value) ? "empty" : String(value);
}

function oneOf(name, value, words) {
  if (!words.includes(value))
    throw new Error(`${name} ${describeValue(value)} is unknown; choose one of ${words.join(", ")}`);
  return value;
}

const product = (numbers) => numbers.reduce((total, number) => total * number, 1);

/** Validate settings and return the layer: its axes, shapes and weights. */
function describeLayer(settings, limit = LIMIT) {
  const sizes = (name, minimum) => settings[name].map((value, axis) => wholeNumber(`${name}[${axis}]`, value, minimum));
  const inputShape = sizes("input_shape", 1);
  const kernelShape = sizes("kernel_shape", 1);
  const stride = sizes("stride", 1);
  const dilation = sizes("dilation", 1);
  const axes = inputShape.map((size, axis) => {
    let padding = settings.padding[axis];
    if (Array.isArray(padding))
      padding = padding.map((amount, end) => wholeNumber(`padding[${axis}][${end}]`, amount, 0));
    else oneOf(`padding[${axis}]`, padding, PADDING_WORDS);
    const [low, high, outputs] = axisSizes(axis, size, kernelShape[axis], stride[axis], dilation[axis], padding);
    const boundary = oneOf("boundary", settings.boundary[axis], BOUNDARIES);
    return {
      size,
      taps: kernelShape[axis],
      stride: stride[axis],
      dilation: dilation[axis],
      low,
      high,
      outputs,
      boundary,
    };
  });
  const outputShape = axes.map((axis) => axis.outputs);
  const layer = {
    axes,
    inputShape,
    kernelShape,
    outputShape,
    flip: Boolean(settings.flip),
    order: oneOf("order", settings.order ?? "C", ["C", "F"]),
    nIn: product(inputShape),
    nOut: product(outputShape),
    nWeights: product(kernelShape),
  };
  requireSize(layer, limit);
  layer.weights = settings.weights.map((value, index) => {
    if (!Number.isFinite(value)) throw new Error(`weight w${index} must be a number, but is ${describeValue(value)}`);
    return value;
  });
  if (layer.weights.length !== layer.nWeights) {
    throw new Error(
      `the kernel has ${layer.nWeights} weights, but ${layer.weights.length} values are given; pass one for each`,
    );
  }
  return layer;
}

function requireSize(layer, limit) {
  if (layer.nOut > limit || layer.nIn > limit) {
    throw new Error(
      `the matrix would be ${layer.nOut} x ${layer.nIn}, but this page shows at most ${limit} x ${limit}; reduce the ` +
        "input or the padding, increase the stride, or use the package, which has no such limit",
    );
  }
  if (layer.nWeights > limit) {
    throw new Error(
      `the kernel has ${layer.nWeights} weights, but this page shows at most ${limit}; reduce the kernel`,
    );
  }
}

/** Return the position that a tap of an output reads on an axis, possibly outside the input. */
function axisPosition(axis, flip, output, tap) {
  return tapPosition(output, flip ? axis.taps - 1 - tap : tap, axis.stride, axis.dilation, axis.low);
}
