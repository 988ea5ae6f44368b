// The controls: writing settings into inputs, and reading them.

const AXIS_SETTINGS = [
  ["input_shape", "input size", 1],
  ["kernel_shape", "kernel size", 1],
  ["stride", "stride", 1],
  ["dilation", "dilation", 1],
];

const byId = (id) => document.getElementById(id);

/** Return the number in an input; NaN if it is empty, which is rejected with a message. */
const numberIn = (id) => (byId(id).value.trim() === "" ? NaN : Number(byId(id).value));

/** Create the inputs of each axis. */
function makeAxisControls() {
  const choice = (id, words, label) =>
    make("select", { id, "aria-label": label }, ...words.map((word) => make("option", { value: word }, word)));
  const line = (title, makeInput) => [make("span", {}, title), ...[0, 1].map((axis) => inAxis(axis, makeInput(axis)))];
  const inAxis = (axis, element) => {
    if (axis === 1) element.classList.add("second");
    return element;
  };
  const cells = [
    make("span"),
    ...[0, 1].map((axis) => inAxis(axis, make("span", { class: "head", id: `head-${axis}` }))),
  ];
  for (const [name, title, minimum] of AXIS_SETTINGS) {
    cells.push(
      ...line(title, (axis) =>
        make("input", {
          type: "number",
          min: minimum,
          step: 1,
          id: `${name}-${axis}`,
          "aria-label": `${title}, axis ${axis}`,
        }),
      ),
    );
  }
  cells.push(
    ...line("padding", (axis) => choice(`padding-${axis}`, [...PADDING_WORDS, "numbers"], `padding, axis ${axis}`)),
  );
  cells.push(
    ...line("low, high", (axis) =>
      make(
        "span",
        { class: "pair" },
        ...["low", "high"].map((end) =>
          make("input", {
            type: "number",
            min: 0,
            step: 1,
            id: `padding_${end}-${axis}`,
            "aria-label": `padding at the ${end} end, axis ${axis}`,
          }),
        ),
      ),
    ),
  );
  cells.push(...line("boundary", (axis) => choice(`boundary-${axis}`, BOUNDARIES, `boundary, axis ${axis}`)));
  byId("axes").append(...cells);
}

/** Write settings into the inputs. */
function writeSettings(settings) {
  const nAxes = settings.input_shape.length;
  document.querySelector(`input[name="axes"][value="${nAxes}"]`).checked = true;
  for (let axis = 0; axis < 2; axis += 1) {
    const from = Math.min(axis, nAxes - 1);
    for (const [name] of AXIS_SETTINGS) byId(`${name}-${axis}`).value = settings[name][from];
    const padding = settings.padding[from];
    byId(`padding-${axis}`).value = Array.isArray(padding) ? "numbers" : padding;
    if (Array.isArray(padding)) [byId(`padding_low-${axis}`).value, byId(`padding_high-${axis}`).value] = padding;
    byId(`boundary-${axis}`).value = settings.boundary[from];
  }
  byId("flip").checked = settings.flip;
  byId("order").value = settings.order;
  showAxes(nAxes);
}

function showAxes(nAxes) {
  byId("axes").classList.toggle("single", nAxes === 1);
  for (const element of document.querySelectorAll(".second")) element.hidden = nAxes === 1;
  byId("order-label").hidden = nAxes === 1;
  byId("head-0").textContent = nAxes === 1 ? "axis 0" : "axis 0, down";
  byId("head-1").textContent = "axis 1, across";
  byId("image-word").textContent = nAxes === 1 ? "Signal" : "Image";
  byId("pixel-word").textContent = nAxes === 1 ? "sample" : "pixel";
}

/** Read all settings but the weights from the inputs. */
function readSettings() {
  const nAxes = Number(document.querySelector('input[name="axes"]:checked').value);
  const axes = Array.from({ length: nAxes }, (_, axis) => axis);
  const settings = Object.fromEntries(
    AXIS_SETTINGS.map(([name]) => [name, axes.map((axis) => numberIn(`${name}-${axis}`))]),
  );
  settings.padding = axes.map((axis) => {
    const word = byId(`padding-${axis}`).value;
    return word === "numbers" ? [numberIn(`padding_low-${axis}`), numberIn(`padding_high-${axis}`)] : word;
  });
  settings.boundary = axes.map((axis) => byId(`boundary-${axis}`).value);
  settings.flip = byId("flip").checked;
  settings.order = nAxes === 1 ? "C" : byId("order").value;
  return settings;
}

/** Show the amounts of padding; they can be edited only if padding is set to numbers. */
function showPadding(layer) {
  layer.axes.forEach(({ low, high }, axis) => {
    const numbers = byId(`padding-${axis}`).value === "numbers";
    for (const [end, amount] of [
      ["low", low],
      ["high", high],
    ]) {
      const input = byId(`padding_${end}-${axis}`);
      input.disabled = !numbers;
      if (!numbers) input.value = amount;
    }
  });
}

/** Return weights for a new kernel shape: old weights keep their positions, new ones are numbered. */
function resizedWeights(weights, oldShape, shape) {
  return Array.from({ length: product(shape) }, (_, index) => {
    const taps = unravel(index, shape, "C");
    const kept = oldShape.length === shape.length && taps.every((tap, axis) => tap < oldShape[axis]);
    return kept ? weights[ravel(taps, oldShape, "C")] : index + 1;
  });
}

/** Create one input per weight. */
function makeKernelInputs(shape) {
  const [, width] = planeShape(shape);
  const target = byId("kernel");
  target.style.gridTemplateColumns = `repeat(${Math.min(width, shape.length === 1 ? 4 : width)}, max-content)`;
  target.replaceChildren(
    ...Array.from({ length: product(shape) }, (_, index) =>
      make(
        "label",
        {},
        `w${index}`,
        make("input", { type: "number", step: "any", id: `weight-${index}`, "data-weight": index }),
      ),
    ),
  );
}

const RANDOM_DIGITS = { state: 20 };

/** Return a pseudorandom digit from a reproducible sequence (Park and Miller, 1988). */
function randomDigit() {
  RANDOM_DIGITS.state = (RANDOM_DIGITS.state * 48271) % 2147483647;
  return RANDOM_DIGITS.state % 10;
}

/** Return the weights of a named kernel. */
function filledKernel(kind, shape) {
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
  return Array.from({ length: n }, (_, index) => kinds[kind](index));
}

/** Return the numbers of a named image of any shape, flattened in an order. */
function filledImage(kind, shape, order) {
  const centre = shape.map((size) => Math.floor(size / 2));
  RANDOM_DIGITS.state = 20;
  const kinds = {
    count: (indices) => ravel(indices, shape, "C") + 1,
    impulse: (indices) => (indices.join() === centre.join() ? 1 : 0),
    edge: (indices) => (indices.at(-1) >= centre.at(-1) ? 9 : 0),
    constant: () => 1,
    random: () => randomDigit(),
  };
  const byRows = Array.from({ length: product(shape) }, (_, index) => kinds[kind](unravel(index, shape, "C")));
  return byRows.map((_, index) => byRows[ravel(unravel(index, shape, order), shape, "C")]);
}
