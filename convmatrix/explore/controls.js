// The controls: writing settings into inputs, and reading them. Those of the second layer have the prefix "second_".

const AXIS_SETTINGS = [
  ["input_shape", "input size", 1],
  ["kernel_shape", "kernel size", 1],
  ["stride", "stride", 1],
  ["dilation", "dilation", 1],
];
const SECOND = "second_";
const axisSettings = (prefix) => AXIS_SETTINGS.filter(([name]) => !prefix || name !== "input_shape");

const byId = (id) => document.getElementById(id);

/** Return the number in an input; NaN if it is empty, which is rejected with a message. */
const numberIn = (id) => (byId(id).value.trim() === "" ? NaN : Number(byId(id).value));

/** Create the inputs of each axis of a layer. */
function makeAxisControls(prefix) {
  const of = prefix ? ", second layer" : "";
  const choice = (id, words, label) =>
    make("select", { id, "aria-label": label + of }, ...words.map((word) => make("option", { value: word }, word)));
  const number = (id, minimum, label) =>
    make("input", { type: "number", min: minimum, step: 1, id, "aria-label": label + of });
  const inAxis = (axis, element) => {
    if (axis === 1) element.classList.add("second");
    return element;
  };
  const line = (title, makeInput, kind = "") =>
    [make("span", {}, title), ...[0, 1].map((axis) => inAxis(axis, makeInput(axis)))].map((element) => {
      if (kind) element.classList.add(kind);
      return element;
    });
  const cells = [
    make("span"),
    ...[0, 1].map((axis) => inAxis(axis, make("span", { class: "head", id: `${prefix}head-${axis}` }))),
  ];
  for (const [name, title, minimum] of axisSettings(prefix)) {
    cells.push(...line(title, (axis) => number(`${prefix}${name}-${axis}`, minimum, `${title}, axis ${axis}`)));
  }
  cells.push(
    ...line("padding", (axis) =>
      choice(`${prefix}padding-${axis}`, [...PADDING_WORDS, "numbers"], `padding, axis ${axis}`),
    ),
    ...line("low, high", (axis) =>
      make(
        "span",
        { class: "pair" },
        ...["low", "high"].map((end) =>
          number(`${prefix}padding_${end}-${axis}`, 0, `padding at the ${end} end, axis ${axis}`),
        ),
      ),
    ),
    ...line("boundary", (axis) => choice(`${prefix}boundary-${axis}`, BOUNDARIES, `boundary, axis ${axis}`)),
  );
  if (!prefix) {
    const extra = (axis) => number(`output_padding-${axis}`, 0, `output padding, axis ${axis}`);
    cells.push(...line("output padding", extra, "for-transposed"));
  }
  byId(`${prefix}axes`).append(...cells);
}

/** Write what a layer has per axis into its inputs. */
function writeAxes(prefix, settings) {
  const nAxes = settings.kernel_shape.length;
  for (let axis = 0; axis < 2; axis += 1) {
    const from = Math.min(axis, nAxes - 1);
    for (const [name] of axisSettings(prefix)) byId(`${prefix}${name}-${axis}`).value = settings[name][from];
    const padding = settings.padding[from];
    const numbers = Array.isArray(padding);
    byId(`${prefix}padding-${axis}`).value = numbers ? "numbers" : padding;
    ["low", "high"].forEach((end, place) => {
      byId(`${prefix}padding_${end}-${axis}`).value = numbers ? padding[place] : 0;
    });
    byId(`${prefix}boundary-${axis}`).value = settings.boundary[from];
  }
}

/** Write settings into the inputs. */
function writeSettings(settings) {
  const nAxes = settings.input_shape.length;
  document.querySelector(`input[name="axes"][value="${nAxes}"]`).checked = true;
  writeAxes("", settings);
  for (const axis of [0, 1]) byId(`output_padding-${axis}`).value = settings.output_padding[Math.min(axis, nAxes - 1)];
  for (const name of ["in_channels", "out_channels", "order"]) byId(name).value = settings[name];
  for (const name of ["flip", "transposed"]) byId(name).checked = settings[name];
  if (settings.second) {
    writeAxes(SECOND, settings.second);
    byId("second_out_channels").value = settings.second.out_channels;
  }
  showAxes(nAxes);
}

function showAxes(nAxes) {
  for (const prefix of ["", SECOND]) {
    byId(`${prefix}axes`).classList.toggle("single", nAxes === 1);
    byId(`${prefix}head-0`).textContent = nAxes === 1 ? "axis 0" : "axis 0, down";
    byId(`${prefix}head-1`).textContent = "axis 1, across";
  }
  for (const element of document.querySelectorAll(".second")) element.hidden = nAxes === 1;
  byId("order-label").hidden = nAxes === 1;
  byId("image-word").textContent = nAxes === 1 ? "Signal" : "Image";
  byId("pixel-word").textContent = nAxes === 1 ? "sample" : "pixel";
  showTransposed(nAxes);
}

/** Show the inputs that only transposed layers have. */
function showTransposed(nAxes) {
  const transposed = byId("transposed").checked;
  for (const element of document.querySelectorAll(".for-transposed")) {
    element.hidden = !transposed || (nAxes === 1 && element.classList.contains("second"));
  }
}

const chosenAxes = () => Number(document.querySelector('input[name="axes"]:checked').value);

/** Read what a layer has per axis. */
function readAxes(prefix) {
  const axes = Array.from({ length: chosenAxes() }, (_, axis) => axis);
  const settings = Object.fromEntries(
    axisSettings(prefix).map(([name]) => [name, axes.map((axis) => numberIn(`${prefix}${name}-${axis}`))]),
  );
  settings.padding = axes.map((axis) => {
    const word = byId(`${prefix}padding-${axis}`).value;
    return word === "numbers" ? ["low", "high"].map((end) => numberIn(`${prefix}padding_${end}-${axis}`)) : word;
  });
  settings.boundary = axes.map((axis) => byId(`${prefix}boundary-${axis}`).value);
  return settings;
}

/** Read all settings but the weights from the inputs. */
function readSettings() {
  const nAxes = chosenAxes();
  const transposed = byId("transposed").checked;
  return {
    ...readAxes(""),
    in_channels: numberIn("in_channels"),
    out_channels: numberIn("out_channels"),
    transposed,
    output_padding: Array.from({ length: nAxes }, (_, axis) => (transposed ? numberIn(`output_padding-${axis}`) : 0)),
    flip: byId("flip").checked,
    order: nAxes === 1 ? "C" : byId("order").value,
    second: { ...readAxes(SECOND), out_channels: numberIn("second_out_channels") },
  };
}

/** Show the amounts of padding; they can be edited only if padding is set to numbers. */
function showPadding(prefix, layer) {
  layer.axes.forEach(({ low, high }, axis) => {
    const numbers = byId(`${prefix}padding-${axis}`).value === "numbers";
    for (const [end, amount] of [
      ["low", low],
      ["high", high],
    ]) {
      const input = byId(`${prefix}padding_${end}-${axis}`);
      input.disabled = !numbers;
      if (!numbers) input.value = amount;
    }
  });
}
