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

/** Return the weights of a named kernel, the same for each pair of channels. */
function filledKernel(kind, [first, second, ...shape]) {
  const n = product(shape);
  const centre = Math.floor(n / 2);
  const along = shape.at(-1);
  const kinds = {
    count: (index) => index + 1,
    mean: () => 1 / n,
    difference: (index) =>
      Math.sign((index % along) - (along - 1) / 2) * (shape.length === 1 || Math.abs(index - centre) <= along ? 1 : 0),
    random: () => randomDigit() - 4,
  };
  return Array.from({ length: first * second * n }, (_, index) => kinds[kind](index % n));
}

/** Return the numbers of a named image of a shape with channels, flattened in an order. */
function filledImage(kind, shape, order) {
  const centre = [0, ...shape.slice(1).map((size) => Math.floor(size / 2))];
  RANDOM_DIGITS.state = 20;
  const kinds = {
    count: (place) => ravel(place, shape, "C") + 1,
    impulse: (place) => (place.join() === centre.join() ? 1 : 0),
    edge: (place) => (place.at(-1) >= centre.at(-1) ? 9 : 0),
    constant: () => 1,
    random: () => randomDigit(),
  };
  const indices = Array.from({ length: product(shape) }, (_, index) => unravel(index, shape, "C"));
  const photograph = kind === "photograph" && PHOTOGRAPH.planes;
  const byRows = photograph ? photographNumbers(shape) : indices.map(kinds[kind] ?? kinds.constant);
  return byRows.map((_, index) => byRows[ravel(unravel(index, shape, order), shape, "C")]);
}
