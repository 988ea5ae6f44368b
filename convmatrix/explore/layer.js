// A layer from settings: its axes, shapes, channels and weights, or the reason why there is no such layer.

/**
 * An axis: `positions` are those of the kernel, each of which is tied to `samples`; a convolution has one output per
 * position, and a transposed layer one input.
 * @typedef {{size: number, outputs: number, positions: number, samples: number, taps: number, stride: number,
 *   dilation: number, low: number, high: number, extra: number, boundary: string}} Axis
 *
 * @typedef {{axes: Axis[], inputShape: number[], outputShape: number[], kernelShape: number[], inChannels: number,
 *   outChannels: number, transposed: boolean, flip: boolean, order: string, nIn: number, nOut: number, nWeights: number,
 *   weights: number[]}} Layer
 */

const product = (numbers) => numbers.reduce((total, number) => total * number, 1);

function describeValue(value) {
  return value === null || value === undefined || Number.isNaN(value) ? "empty" : String(value);
}

function wholeNumber(name, value, minimum) {
  const refuse = (must) => {
    throw new SettingError(`${name} must be ${must}, but is ${describeValue(value)}`, controlOf(name));
  };
  if (!Number.isInteger(value)) refuse("an integer");
  if (value < minimum) refuse(`at least ${minimum}`);
  if (value > LARGEST_NUMBER) refuse(`at most ${LARGEST_NUMBER}`);
  return value;
}

/** Return the id of the input of a setting such as in_channels, stride[1] or padding[0][1]. */
function controlOf(name) {
  const [word, axis, end] = name.split(/[[\]]+/);
  if (!axis) return word;
  return `${word}${end ? ["_low", "_high"][end] : ""}-${axis}`;
}

function oneOf(name, value, words) {
  if (!words.includes(value))
    throw new SettingError(`${name} ${describeValue(value)} is unknown; choose one of ${words.join(", ")}`);
  return value;
}

/** Validate settings and return the layer. */
function describeLayer(settings, limit = LIMIT) {
  const sizes = (name, minimum, values = settings[name]) =>
    values.map((value, axis) => wholeNumber(`${name}[${axis}]`, value, minimum));
  const inputShape = sizes("input_shape", 1);
  const kernelShape = sizes("kernel_shape", 1);
  const stride = sizes("stride", 1);
  const dilation = sizes("dilation", 1);
  const transposed = Boolean(settings.transposed);
  const extra = transposed ? sizes("output_padding", 0, settings.output_padding ?? inputShape.map(() => 0)) : [];
  const axes = inputShape.map((size, axis) => {
    let padding = settings.padding[axis];
    if (Array.isArray(padding))
      padding = padding.map((amount, end) => wholeNumber(`padding[${axis}][${end}]`, amount, 0));
    else oneOf(`padding[${axis}]`, padding, PADDING_WORDS);
    const resolve = transposed ? transposedAxis : forwardAxis;
    const own = resolve(axis, size, kernelShape[axis], stride[axis], dilation[axis], padding, extra[axis]);
    const boundary = oneOf("boundary", settings.boundary[axis], BOUNDARIES);
    return {
      size,
      ...own,
      positions: transposed ? size : own.outputs,
      samples: transposed ? own.outputs : size,
      taps: kernelShape[axis],
      stride: stride[axis],
      dilation: dilation[axis],
      boundary,
    };
  });
  const inChannels = wholeNumber("in_channels", settings.in_channels ?? 1, 1);
  const outChannels = wholeNumber("out_channels", settings.out_channels ?? 1, 1);
  const outputShape = axes.map((axis) => axis.outputs);
  const layer = {
    axes,
    inputShape,
    kernelShape,
    outputShape,
    inChannels,
    outChannels,
    transposed,
    flip: Boolean(settings.flip),
    order: oneOf("order", settings.order ?? "C", ["C", "F"]),
    nIn: inChannels * product(inputShape),
    nOut: outChannels * product(outputShape),
    nWeights: inChannels * outChannels * product(kernelShape),
  };
  requireSize(layer, limit);
  layer.weights = settings.weights.map((value, index) => {
    if (!Number.isFinite(value)) {
      const message = `weight w${index} must be a number, but is ${describeValue(value)}`;
      throw new SettingError(message, `weight-${index}`);
    }
    return value;
  });
  if (layer.weights.length !== layer.nWeights) {
    throw new SettingError(
      `the kernel has ${layer.nWeights} weights, but ${layer.weights.length} values are given; pass one for each`,
    );
  }
  return layer;
}

function requireSize(layer, limit) {
  if (layer.nOut > limit || layer.nIn > limit) {
    throw new SettingError(
      `the matrix would be ${layer.nOut} x ${layer.nIn}, but this page shows at most ${limit} x ${limit}; reduce the ` +
        "input or the padding, increase the stride, or use the package, which has no such limit",
      "input_shape-0",
    );
  }
  if (layer.nWeights > limit) {
    throw new SettingError(
      `the kernel has ${layer.nWeights} weights, but this page shows at most ${limit}; reduce the kernel`,
      "kernel_shape-0",
    );
  }
}

/** Return the shape of the weights: channels first, those of the input before those of the output if transposed. */
function weightShape({ transposed, inChannels, outChannels, kernelShape }) {
  return [...(transposed ? [inChannels, outChannels] : [outChannels, inChannels]), ...kernelShape];
}

/** Return the shape of the weights of settings. */
function settingsWeightShape(settings) {
  const { transposed, in_channels: inChannels, out_channels: outChannels, kernel_shape: kernelShape } = settings;
  return weightShape({ transposed, inChannels, outChannels, kernelShape });
}

/** Return the shape of the input or the output, with its channels. */
const vectorShape = (layer, side) =>
  side === "input" ? [layer.inChannels, ...layer.inputShape] : [layer.outChannels, ...layer.outputShape];

/** Return the index of a weight: of a pair of channels, and a tap in order C. */
function weightIndex(layer, output, input, tap) {
  const [first, second] = layer.transposed ? [input, output] : [output, input];
  const columns = layer.transposed ? layer.outChannels : layer.inChannels;
  return (first * columns + second) * product(layer.kernelShape) + tap;
}

/** Return the position that a tap of a kernel position reads on an axis, possibly outside the samples. */
function axisPosition(axis, flip, position, tap) {
  return tapPosition(position, flip ? axis.taps - 1 - tap : tap, axis.stride, axis.dilation, axis.low);
}
