// The current view as code: in Python with convmatrix, and in PyTorch where it has the layer.

/** Return a tuple in Python notation. */
const tuple = (items) => (items.length === 1 ? `(${items[0]},)` : `(${items.join(", ")})`);

/** Return numbers as nested lists of a shape. */
function nested(values, shape) {
  if (shape.length === 1) return `[${values.join(", ")}]`;
  const length = product(shape.slice(1));
  const parts = Array.from({ length: shape[0] }, (_, row) =>
    nested(values.slice(row * length, (row + 1) * length), shape.slice(1)),
  );
  return `[${parts.join(", ")}]`;
}

/** Return the options of a layer that differ from their defaults, as keyword arguments of Python. */
function layerOptions(layer) {
  const options = [];
  const option = (name, items, usual) => {
    if (items.some((item) => item !== usual))
      options.push(`${name}=${items.length > 1 && items.every((item) => item === items[0]) ? items[0] : tuple(items)}`);
  };
  const each = (name) => layer.axes.map((axis) => axis[name]);
  option("stride", each("stride"), 1);
  option("dilation", each("dilation"), 1);
  if (layer.axes.some(({ low, high }) => low || high))
    options.push(`padding=[${layer.axes.map(({ low, high }) => `(${low}, ${high})`).join(", ")}]`);
  const boundaries = each("boundary").map((boundary) => `"${boundary}"`);
  option("boundary", boundaries, '"zero"');
  if (layer.flip) options.push("flip=True");
  if (layer.transposed) options.push("transposed=True");
  if (layer.transposed) option("output_padding", each("extra"), 0);
  return options;
}

const oneChannel = ({ inChannels, outChannels }) => inChannels * outChannels === 1;

/** Return the call of Python that computes the matrix of a layer. */
function matrixCall(layer) {
  const shape = oneChannel(layer) ? layer.kernelShape : weightShape(layer);
  const input = oneChannel(layer) ? layer.inputShape : vectorShape(layer, "input");
  const options = layerOptions(layer);
  if (layer.order === "F") options.push('order="F"');
  return `cm.conv_matrix(${[nested(layer.weights, shape), tuple(input), ...options].join(", ")})`;
}

/** Return the line of Python that computes the matrix, or the verdict, of the current view. */
function pythonLine({ layer, view, shift, second }) {
  if (view === "chain") return `${matrixCall(second.layer)} @ ${matrixCall(layer)}`;
  if (view !== "commutator") return matrixCall(layer) + (view === "transpose" ? ".T" : "");
  const channels = oneChannel(layer) ? [] : [`in_channels=${layer.inChannels}`, `out_channels=${layer.outChannels}`];
  const parts = [tuple(layer.inputShape), tuple(layer.kernelShape), ...channels, ...layerOptions(layer)];
  return `cm.equivariance.check_shift(cm.ConvGeometry(${parts.join(", ")}), ${tuple(shift)})`;
}

const TORCH_PADDING = {
  zero: "ConstantPad",
  circular: "CircularPad",
  reflect: "ReflectionPad",
  replicate: "ReplicationPad",
};

/** Return why PyTorch has no module for a layer, or an empty string. */
function missingInTorch(layer) {
  for (const { boundary, low, high, size } of layer.axes) {
    const widest = Math.max(low, high);
    if (!widest) continue;
    if (!(boundary in TORCH_PADDING)) return `PyTorch has no padding mode like the boundary "${boundary}"`;
    if (layer.transposed && boundary !== "zero") return `transposed layers of PyTorch have no boundary "${boundary}"`;
    const most = { circular: size, reflect: size - 1 }[boundary] ?? Infinity;
    if (widest > most)
      return `PyTorch pads ${size} samples with "${boundary}" by at most ${most}, but this needs ${widest}`;
  }
  return "";
}

/** Return the modules of PyTorch that pad the input where the convolution itself cannot. */
function torchPadding(layer) {
  const n = layer.axes.length;
  return layer.axes.flatMap(({ boundary, low, high }, axis) => {
    if (!low && !high) return [];
    const amounts = layer.axes.flatMap((_, other) => (other === axis ? [[low, high]] : [[0, 0]])).reverse();
    const value = boundary === "zero" ? ", 0.0" : "";
    return [`torch.nn.${TORCH_PADDING[boundary]}${n}d(${tuple(amounts.flat())}${value})`];
  });
}

/** Return the lines of PyTorch that define and apply a layer; a comment if PyTorch does not have it. */
function torchLayer(layer, name) {
  const missing = missingInTorch(layer);
  if (missing) return [`# ${missing}.`];
  const { axes, transposed, inChannels, outChannels } = layer;
  const even = axes.every(({ low, high, boundary }) => low === high && (!low || boundary === "zero"));
  const options = [inChannels, outChannels, tuple(layer.kernelShape)];
  const option = (word, property, usual) => {
    const values = axes.map((axis) => axis[property]);
    if (values.some((value) => value !== usual)) options.push(`${word}=${tuple(values)}`);
  };
  option("stride", "stride", 1);
  option("dilation", "dilation", 1);
  if (even) option("padding", "low", 0);
  if (transposed) option("output_padding", "extra", 0);
  const flips = layer.flip ? `.flip(${axes.map((_, axis) => axis + 2).join(", ")})` : "";
  const numbers = `torch.tensor(${nested(layer.weights, weightShape(layer))}, dtype=torch.float32)${flips}`;
  const lines = [
    `${name} = torch.nn.Conv${transposed ? "Transpose" : ""}${axes.length}d(${options.join(", ")}, bias=False)`,
    `${name}.weight = torch.nn.Parameter(${numbers})`,
  ];
  if (even || transposed) return lines;
  return [...lines, `${name} = torch.nn.Sequential(${[...torchPadding(layer), name].join(", ")})`];
}

/** Return the part of the output that a transposed layer of PyTorch keeps if it is cropped unevenly. */
function torchCrop({ axes, transposed }) {
  if (!transposed || axes.every(({ low, high }) => low === high)) return "";
  return `[:, :, ${axes.map(({ low, outputs }) => `${low}:${low + outputs}`).join(", ")}]`;
}

/** Return a program of PyTorch with the output y of the current layers for an image x, or with why there is none. */
function torchProgram({ layer, view, second }) {
  const layers = view === "chain" ? [layer, second.layer] : [layer];
  const names = layers.map((_, number) => (layers.length > 1 ? `layer${number + 1}` : "layer"));
  const parts = layers.map((own, number) => torchLayer(own, names[number]));
  if (layers.some(missingInTorch))
    return parts
      .flat()
      .filter((line) => line.startsWith("#"))
      .join("\n");
  const applied = layers.reduce((inner, own, number) => `${names[number]}(${inner})${torchCrop(own)}`, "x");
  return [
    "import torch",
    "",
    ...parts.flat(),
    `x = torch.zeros(${tuple([1, ...vectorShape(layer, "input")])})  # your image: batch, channels, samples`,
    `y = ${applied}`,
  ].join("\n");
}
