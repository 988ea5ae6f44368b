// The current view as the fragment of the address: a link to it, and the view of a link.

const MOST_CHARACTERS = 30_000; // of a fragment
const LINK_DELAY = 400; // milliseconds without a change before the address follows; browsers limit how often it may

const VIEWS = ["layer", "transpose", "commutator", "chain"];
// What a layer has per axis: the usual value, if there is one, and functions that write and read a value.
const PER_AXIS = {
  kernel_shape: { read: numberFrom },
  stride: { usual: 1, read: numberFrom },
  dilation: { usual: 1, read: numberFrom },
  padding: { usual: "valid", read: paddingFrom, write: (pad) => (Array.isArray(pad) ? pad.join(":") : pad) },
  boundary: { usual: "zero", read: (_, text) => text },
};
const LAYER_KEYS = [...Object.keys(PER_AXIS), "out_channels", "weights"];
const KEYS = [
  ...["input_shape", "in_channels", "transposed", "output_padding", "flip", "order"],
  ...LAYER_KEYS,
  ...LAYER_KEYS.map((key) => `${SECOND}${key}`),
  ...["view", "row", "shift", "image", "pixels", "labels", "dense"],
];

/** Return the fragment of a view, without #: settings that have their defaults are left out. */
function fragmentOf({ settings, view, row, shift, image, pixels, labels, dense }) {
  const parts = [];
  const add = (key, value, usual) => {
    if (String(value) !== String(usual)) parts.push(`${key}=${value}`);
  };
  const addLayer = (prefix, layer) => {
    for (const [name, { usual, write = String }] of Object.entries(PER_AXIS)) {
      const values = layer[name].map(write);
      add(`${prefix}${name}`, values, usual && values.map(() => usual));
    }
    add(`${prefix}out_channels`, layer.out_channels, 1);
    add(`${prefix}weights`, layer.weights);
  };
  add("input_shape", settings.input_shape);
  add("in_channels", settings.in_channels, 1);
  if (settings.transposed) {
    add("transposed", 1);
    add(
      "output_padding",
      settings.output_padding,
      settings.input_shape.map(() => 0),
    );
  }
  if (settings.flip) add("flip", 1);
  add("order", settings.order, "C");
  addLayer("", settings);
  if (view === "chain") addLayer(SECOND, settings.second);
  add("view", view, "layer");
  if (view === "commutator") add("shift", shift);
  add("row", row, 0);
  add("image", image, "random");
  if (pixels) add("pixels", pixels);
  add("labels", labels, "values");
  if (dense) add("dense", 1);
  return parts.join("&");
}

/** Return the view of a fragment, or raise a SettingError that says what is wrong with it. */
function parseFragment(fragment) {
  if (fragment.length > MOST_CHARACTERS) {
    throw new SettingError(`it has ${fragment.length} characters, but at most ${MOST_CHARACTERS} are read`);
  }
  const found = new Map();
  for (const part of fragment.split("&")) {
    const [key, value, ...rest] = part.split("=");
    if (!KEYS.includes(key) || value === undefined || rest.length) {
      throw new SettingError(`${shortText(part)} is not a setting of this page`);
    }
    if (found.has(key)) throw new SettingError(`${key} occurs twice`);
    found.set(key, value);
  }
  const list = (key, usual) => (found.has(key) ? found.get(key).split(",") : usual);
  const numbers = (key, usual) => list(key)?.map((text) => numberFrom(key, text)) ?? usual;
  const single = (key, usual) => (found.has(key) ? numberFrom(key, found.get(key)) : usual);
  const word = (key, words) => oneOf(key, found.get(key) ?? words[0], words);
  const inputShape = numbers("input_shape", []);
  const nAxes = inputShape.length;
  if (nAxes !== 1 && nAxes !== 2)
    throw new SettingError(`input_shape has ${nAxes} sizes, but this page shows 1 or 2 axes`);
  const perAxis = (key, values) => {
    if (values.length === nAxes) return values;
    throw new SettingError(`${key} has ${values.length} values, but input_shape has ${nAxes}`);
  };
  const each = (value) => inputShape.map(() => value);
  const layerOf = (prefix) => {
    const layer = { out_channels: single(`${prefix}out_channels`, 1), weights: numbers(`${prefix}weights`, []) };
    for (const [name, { usual, read }] of Object.entries(PER_AXIS)) {
      const key = prefix + name;
      layer[name] = perAxis(key, list(key)?.map((text) => read(key, text)) ?? (usual ? each(usual) : []));
    }
    return layer;
  };
  const settings = {
    ...layerOf(""),
    input_shape: inputShape,
    in_channels: single("in_channels", 1),
    transposed: word("transposed", ["0", "1"]) === "1",
    output_padding: perAxis("output_padding", numbers("output_padding", each(0))),
    flip: word("flip", ["0", "1"]) === "1",
    order: word("order", ["C", "F"]),
  };
  const layer = describeLayer(settings);
  const view = word("view", VIEWS);
  if (view === "chain") settings.second = layerOf(SECOND);
  const last = view === "chain" ? followingLayer(layer, settings) : layer;
  const rows = view === "transpose" ? layer.nIn : last.nOut;
  const row = wholeNumber("row", single("row", 0), 0);
  if (row >= rows) throw new SettingError(`row must be less than ${rows}, the number of rows, but is ${row}`);
  const shift = perAxis("shift", numbers("shift", each(0))).map((amount) =>
    wholeNumber("shift", amount, -LARGEST_NUMBER),
  );
  const pixels = numbers("pixels", null);
  if (pixels && pixels.length !== layer.nIn) {
    throw new SettingError(`pixels has ${pixels.length} values, but the input has ${layer.nIn}`);
  }
  return {
    settings,
    layer,
    view,
    row,
    shift: found.has("shift") ? shift : null,
    image: word("image", Object.keys(IMAGE_FILLS)),
    pixels,
    labels: word(
      "labels",
      [...byId("labels").options].map(({ value }) => value),
    ),
    dense: word("dense", ["0", "1"]) === "1",
  };
}

/** Return a number written in digits, or raise a SettingError. */
function numberFrom(key, text) {
  const value = /^-?\d+(\.\d+)?(e[-+]?\d+)?$/i.test(text) ? Number(text) : NaN;
  if (!Number.isFinite(value)) throw new SettingError(`${key} must hold numbers, but has ${shortText(text)}`);
  return value;
}

/** Return an entry of a padding: a word, or a pair of numbers. */
function paddingFrom(key, text) {
  if (!text.includes(":")) return text;
  const amounts = text.split(":").map((amount) => numberFrom(key, amount));
  if (amounts.length !== 2)
    throw new SettingError(`${key} has ${amounts.length} numbers on an axis, but low:high are 2`);
  return amounts;
}

const shortText = (text) => JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}\u2026` : text);

/** Return the fragment of what is shown. */
function currentFragment() {
  const { settings, view, model, row, image } = state;
  const pixels = image?.key === model.key ? image.values : null;
  const chosen = { image: byId("image").value, labels: byId("labels").value, dense: byId("dense").checked };
  return fragmentOf({ settings, view, row, shift: model.shift, pixels, ...chosen });
}

const LINK = { timer: null, written: null };

const linkAddress = () => `${window.location.href.split("#")[0]}#${currentFragment()}`;

/** Write the current view into the address. */
function writeLink() {
  clearTimeout(LINK.timer);
  LINK.written = `#${currentFragment()}`;
  try {
    window.history.replaceState(null, "", LINK.written);
  } catch {
    // A frame without an address of its own, as in some notebooks: the button still copies the link.
  }
}

/** Write the view into the address once nothing has changed for a moment, and not while the rows are played. */
function linkSoon() {
  clearTimeout(LINK.timer);
  if (LINK.written !== null && state.timer === null) LINK.timer = setTimeout(writeLink, LINK_DELAY);
}

/** Show the view of the address; a fragment that is not one of this page is ignored with a message. */
function readLink() {
  const fragment = window.location.hash.slice(1);
  LINK.written ??= "";
  if (!fragment || `#${fragment}` === LINK.written) return false;
  const wanted = attempt("link-message", () => {
    try {
      return parseFragment(decodeURIComponent(fragment));
    } catch (error) {
      const reason = error instanceof URIError ? "it is not encoded as addresses are" : error.message;
      if (!(error instanceof SettingError || error instanceof URIError)) throw error;
      throw new SettingError(`The settings in the address are ignored: ${reason}.`);
    }
  });
  if (!wanted) return false;
  const { settings, layer, view, row, shift, image, pixels, labels, dense } = wanted;
  applySettings(settings);
  document.querySelector(`input[name="view"][value="${view}"]`).checked = true;
  byId("image").value = image;
  byId("labels").value = labels;
  byId("dense").checked = dense;
  shift?.forEach((amount, axis) => {
    byId(`shift-${axis}`).value = amount;
  });
  Object.assign(state, { view, row });
  state.image = pixels && { key: imageKey(layer), values: pixels };
  return true;
}

function listenToLink() {
  window.addEventListener("hashchange", () => {
    if (readLink()) {
      endStory();
      update();
    }
  });
}
