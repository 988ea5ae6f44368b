// The layer on a photograph, computed position by position: its matrix would be far too large to draw.

const LARGEST_PHOTOGRAPH = 300; // samples per axis of a filtered photograph that is shown
const MOST_PRODUCTS = 1e6;
const PHOTOGRAPH_DELAY = 120; // milliseconds without a change before it is filtered

const PHOTOGRAPH = { side: 0, planes: null, timer: null }; // red, green and blue, 0 to 255, once the image is decoded

/** Decode the photograph, then draw it. */
async function loadPhotograph() {
  const image = await loadImage(START.photograph);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, image.width, image.height);
  const plane = (channel) => Array.from({ length: image.width * image.height }, (_, at) => data[4 * at + channel]);
  Object.assign(PHOTOGRAPH, { side: image.width, planes: [0, 1, 2].map(plane) });
  if (byId("image").value === "photograph") updateView();
  else drawPhotographs();
}

/** Return the photograph for a number of channels: the colours for three, otherwise copies of its brightness. */
function photographPlanes(channels) {
  const { planes } = PHOTOGRAPH;
  if (channels === 3) return planes;
  const grey = planes[0].map((red, at) => Math.round(0.299 * red + 0.587 * planes[1][at] + 0.114 * planes[2][at]));
  return Array.from({ length: channels }, () => grey);
}

/** Return the photograph as numbers from 0 to 9 of a shape with channels; a signal is its middle row. */
function photographNumbers(shape) {
  const { side } = PHOTOGRAPH;
  const [channels, ...sizes] = shape;
  const [height, width] = planeShape(sizes);
  return photographPlanes(channels).flatMap((plane) =>
    Array.from({ length: height * width }, (_, at) => {
      const [row, column] = [Math.floor(at / width), at % width];
      const middle = height === 1 ? 0.3 : (row + 0.5) / height;
      const value = plane[Math.floor(middle * side) * side + Math.floor(((column + 0.5) / width) * side)];
      return Math.round((9 * value) / 255);
    }),
  );
}

/** Return one output channel of a layer without its matrix: the planes of its inputs are flattened by rows. */
function filterPlanes(layer, planes, channel) {
  const { axes } = layer;
  const reads = axes.map((axis) =>
    Array.from({ length: axis.positions }, (_, position) =>
      Array.from({ length: axis.taps }, (_, tap) =>
        readTerms(axisPosition(axis, layer.flip, position, tap), axis.samples, axis.boundary),
      ),
    ),
  );
  const positions = axes.map((axis) => axis.positions);
  const output = new Float64Array(product(layer.outputShape));
  for (let number = 0; number < product(positions); number += 1) {
    const position = unravel(number, positions, "C");
    for (let tap = 0; tap < product(layer.kernelShape); tap += 1) {
      const taps = unravel(tap, layer.kernelShape, "C");
      let terms = [[0, 1]]; // index among the samples, factor
      axes.forEach((axis, a) => {
        const along = reads[a][position[a]][taps[a]];
        terms = terms.flatMap(([index, factor]) =>
          along.map(([sample, coefficient]) => [index * axis.samples + sample, factor * coefficient]),
        );
      });
      for (let input = 0; input < layer.inChannels; input += 1) {
        const weight = layer.weights[weightIndex(layer, channel, input, tap)];
        for (const [sample, factor] of terms) {
          if (layer.transposed) output[sample] += weight * factor * planes[input][number];
          else output[number] += weight * factor * planes[input][sample];
        }
      }
    }
  }
  return [...output];
}

/** Return the smallest and the largest number. */
function rangeOf(numbers) {
  return [Math.min, Math.max].map((pick) => numbers.reduce((found, value) => pick(found, value)));
}

/** Draw numbers as an image, from black for the low end of a range to white for the high one; three planes are colours. */
function drawPlanes(canvas, planes, [height, width], [low, high]) {
  const shade = (value) => (high > low ? (255 * (value - low)) / (high - low) : 128);
  const colourAt = (at) => [0, 1, 2].map((channel) => shade(planes[channel % planes.length][at]));
  drawPixels(canvas, [height, width], (row, set) => {
    for (let column = 0; column < width; column += 1) set(column, colourAt(row * width + column));
  });
}

/** Return the layer for the photograph, or an error that says why it has none. */
function photographLayer({ layer }) {
  const { side } = PHOTOGRAPH;
  const shape = layer.axes.map(() => side);
  const settings = { ...state.settings, input_shape: shape, weights: layer.weights, order: "C" };
  const large = describeLayer(settings, Infinity);
  const products =
    product(large.axes.map(({ positions }) => positions)) * product(large.kernelShape) * large.inChannels;
  if (Math.max(...large.outputShape) > LARGEST_PHOTOGRAPH || products > MOST_PRODUCTS) {
    throw new SettingError(
      `The output would be ${sizeText(large.outputShape)} after ${products.toLocaleString("en")} products; this page ` +
        `shows at most ${LARGEST_PHOTOGRAPH} samples per axis and ${MOST_PRODUCTS.toLocaleString("en")} products.`,
    );
  }
  return large;
}

/** Filter the photograph once nothing has changed for a moment. */
function photographsSoon() {
  clearTimeout(PHOTOGRAPH.timer);
  PHOTOGRAPH.timer = setTimeout(drawPhotographs, PHOTOGRAPH_DELAY);
}

/** Draw the photograph and the output of the layer; signals have none. */
function drawPhotographs() {
  const { model } = state;
  const shown = Boolean(PHOTOGRAPH.planes) && model.layer.axes.length === 2;
  byId("photographs").hidden = !shown;
  if (!shown) return;
  const channel =
    model.view === "layer" ? unravel(state.row, vectorShape(model.layer, "output"), model.layer.order)[0] : 0;
  try {
    const layer = photographLayer(model);
    const planes = photographPlanes(layer.inChannels);
    drawPlanes(byId("photograph"), layer.inChannels === 3 ? planes : [planes[0]], layer.inputShape, [0, 255]);
    const output = filterPlanes(layer, planes, channel);
    const range = rangeOf(output);
    drawPlanes(byId("filtered"), [output], layer.outputShape, range);
    byId("photograph-caption").textContent = `photograph, ${sizeText(layer.inputShape)}`;
    byId("filtered-caption").textContent =
      `output${layer.outChannels > 1 ? ` channel ${channel}` : ""}, ${sizeText(layer.outputShape)}, ` +
      `${numberText(range[0])} (black) to ${numberText(range[1])} (white)`;
    byId("photographs-words").textContent =
      `The matrix of this layer is ${layer.nOut.toLocaleString("en")} \u00d7 ${layer.nIn.toLocaleString("en")}, with the same ` +
      `${plural(layer.nWeights, "weight")}: the package builds it, this page does not draw it.`;
  } catch (error) {
    if (!(error instanceof SettingError)) throw error;
    byId("photographs-words").textContent = error.message;
  }
}
