// The weights in the inputs, and named kernels and images.

/** The weights that were typed, and the shape that they have: with the channels, as in Python. */
const KERNELS = { "": { shape: [], weights: [] }, [SECOND]: { shape: [], weights: [] } };

/** Return weights for a new shape: old weights keep their positions, new ones are numbered. */
function resizedWeights(weights, oldShape, shape) {
  return Array.from({ length: product(shape) }, (_, index) => {
    const taps = unravel(index, shape, "C");
    const kept = oldShape.length === shape.length && taps.every((tap, axis) => tap < oldShape[axis]);
    return kept ? weights[ravel(taps, oldShape, "C")] : index + 1;
  });
}

/** Return the weights of a layer for a shape; if it is new, also its inputs. No weights if there is no such shape. */
function weightsFor(prefix, shape) {
  const possible = shape.every((size) => Number.isInteger(size) && size >= 1) && product(shape) <= LIMIT;
  if (!possible) return [];
  const kernel = KERNELS[prefix];
  if (shape.join() !== kernel.shape.join())
    setKernel(prefix, shape, resizedWeights(kernel.weights, kernel.shape, shape));
  return kernel.weights;
}

/** Replace the weights of a layer, and write them into its inputs. */
function setKernel(prefix, shape, weights) {
  const kernel = KERNELS[prefix];
  if (shape.join() !== kernel.shape.join()) makeKernelInputs(prefix, shape);
  Object.assign(kernel, { shape, weights });
  weights.forEach((weight, index) => {
    byId(`${prefix}weight-${index}`).value = weight;
  });
}

/** Read the weights of a layer from its inputs. */
function readKernel(prefix) {
  const kernel = KERNELS[prefix];
  kernel.weights = kernel.weights.map((_, index) => numberIn(`${prefix}weight-${index}`));
}

/** Create one input per weight, in a block for each pair of channels. */
function makeKernelInputs(prefix, shape) {
  const letter = prefix ? "v" : "w";
  const kernelShape = shape.slice(2);
  const taps = product(kernelShape);
  const [, width] = planeShape(kernelShape);
  const columns = Math.min(width, kernelShape.length === 1 ? 4 : width);
  const colours = palette(product(shape));
  const input = (index) =>
    make(
      "label",
      { colour: colours[index] },
      `${letter}${index}`,
      make("input", { type: "number", step: "any", id: `${prefix}weight-${index}`, "data-weight": index }),
    );
  const block = (pair) => {
    const grid = make("div", { class: "block" }, ...Array.from({ length: taps }, (_, tap) => input(pair * taps + tap)));
    grid.style.gridTemplateColumns = `repeat(${columns}, max-content)`;
    return grid;
  };
  byId(`${prefix}kernel`).replaceChildren(...Array.from({ length: shape[0] * shape[1] }, (_, pair) => block(pair)));
}

const RANDOM_DIGITS = { state: 20 };

/** Return a pseudorandom digit from a reproducible sequence (Park and Miller, 1988). */
function randomDigit() {
  RANDOM_DIGITS.state = (RANDOM_DIGITS.state * 48271) % 2147483647;
  return RANDOM_DIGITS.state % 10;
}

/** The kernels to fill in: what the page calls them, and the weight at an index of a shape. */
const KERNEL_FILLS = {
  count: { words: "1, 2, 3, \u2026", weight: (index) => index + 1 },
  mean: { words: "a mean filter", weight: (_, shape) => 1 / product(shape) },
  difference: {
    words: "a difference filter",
    weight: (index, shape) => Math.sign((index % shape.at(-1)) - (shape.at(-1) - 1) / 2),
  },
  random: { words: "random digits", weight: () => randomDigit() - 4 },
};

const middleOf = (shape) => [0, ...shape.slice(1).map((size) => Math.floor(size / 2))];

/** The images to fill in: what the page calls them, and the number at a place of a shape with channels. */
const IMAGE_FILLS = {
  random: { words: "random digits", number: () => randomDigit() },
  count: { words: "1, 2, 3, \u2026", number: (place, shape) => ravel(place, shape, "C") + 1 },
  edge: { words: "an edge", number: (place, shape) => (place.at(-1) >= middleOf(shape).at(-1) ? 9 : 0) },
  impulse: { words: "an impulse", number: (place, shape) => (place.join() === middleOf(shape).join() ? 1 : 0) },
  constant: { words: "all ones", number: () => 1 },
  photograph: { words: "a photograph, 0 to 9", number: () => 1 }, // until it is decoded
};

/** Offer fills in a list. */
function offerFills(id, fills) {
  byId(id).append(...Object.entries(fills).map(([value, { words }]) => make("option", { value }, words)));
}

/** Return the weights of a named kernel, the same for each pair of channels. */
function filledKernel(kind, [first, second, ...shape]) {
  const n = product(shape);
  return Array.from({ length: first * second * n }, (_, index) => KERNEL_FILLS[kind].weight(index % n, shape));
}

/** Return the numbers of a named image of a shape with channels, flattened in an order. */
function filledImage(kind, shape, order) {
  RANDOM_DIGITS.state = 20;
  const byRows =
    kind === "photograph" && PHOTOGRAPH.planes
      ? photographNumbers(shape)
      : Array.from({ length: product(shape) }, (_, index) => IMAGE_FILLS[kind].number(unravel(index, shape, "C"), shape));
  return byRows.map((_, index) => byRows[ravel(unravel(index, shape, order), shape, "C")]);
}
