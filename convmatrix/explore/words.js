// The sentences of the page: a product term by term, an entry, the verdict, the counts, the equivalent Python.

const MOST_TERMS = 60;
const MOST_NAMES = 12;

const pixelWord = (layer) => (layer.axes.length === 1 ? "sample" : "pixel");

/** Return the names and shapes of the vectors that the matrix maps from and to. */
function sidesOf(model) {
  const { layer } = model;
  const input = { name: "x", shape: layer.inputShape, word: pixelWord(layer) };
  const output = { name: "y", shape: layer.outputShape, word: "output" };
  if (model.view !== "transpose") return { from: input, to: output };
  return { from: { ...output, name: "\u03b4y" }, to: { ...input, name: "\u03b4x" } };
}

/** Return names joined by commas, at most the first twelve. */
function nameList(names) {
  const rest = names.length - MOST_NAMES;
  return names.slice(0, MOST_NAMES).join(", ") + (rest > 0 ? ` and ${rest.toLocaleString("en")} more` : "");
}

const nameAt = (side, index, order) => elementName(side.name, unravel(index, side.shape, order));

/** Return terms joined by signs: "w0 + 2 w2 \u2212 w3" for names, "1 + 2 \u00b7 3 \u2212 4" for numbers. */
function signedSum(parts, factors, times) {
  return parts
    .map((part, n) => {
      const factor = factorText(factors[n]);
      const sign = n ? (factors[n] < 0 ? " \u2212 " : " + ") : signText(factors[n], false);
      return sign + (factor ? factor + times : "") + part;
    })
    .join("");
}

/** Return weights and their sum, such as "w4 = 5", "2 w1 = 6" or "w0 + w2 = 1 + 3 = 4". */
function weightWords({ weights, factors, value }, layer) {
  const names = signedSum(
    weights.map((weight) => `w${weight}`),
    factors,
    " ",
  );
  if (weights.length === 1) return `${names} = ${numberText(value)}`;
  return `${names} = ${weightNumbers(weights, factors, layer)} = ${numberText(value)}`;
}

/** Return the numbers that are added: "1 + 2 \u00b7 3"; negative ones after a factor in parentheses. */
function weightNumbers(weights, factors, layer) {
  const numbers = weights.map((weight, n) => {
    const text = numberText(layer.weights[weight]);
    return factors[n] !== 1 && layer.weights[weight] < 0 ? `(${text})` : text;
  });
  return signedSum(numbers, factors, " \u00b7 ");
}

/** Return one term: names above, numbers below; a sum of weights is in parentheses. */
function termChip({ weights, factors, name, number, differs }, { layer, colours }) {
  const swatches = weights.map((weight) => make("span", { class: "swatch", colour: colours[weight] }, `w${weight}`));
  const names = swatches.flatMap((swatch, n) => {
    const before = signedSum([""], [factors[n]], "\u2009");
    if (!n) return before ? [before, swatch] : [swatch];
    return [factors[n] < 0 ? ` \u2212 ${factorText(factors[n])}` : ` + ${factorText(factors[n])}`, swatch];
  });
  const numbers = weightNumbers(weights, factors, layer);
  const [open, close] = weights.length > 1 || factors[0] < 0 ? ["(", ")"] : ["", ""];
  return make(
    "li",
    { class: differs ? "term differs" : "term" },
    make("span", { class: "names" }, open, ...names, close, ` \u00b7 ${name}`),
    make("span", { class: "numbers" }, `${open}${numbers}${close} \u00d7 ${numberText(number)}`),
  );
}

/** Return a list of terms and their total. */
function termList(terms, total, model) {
  const chips = terms.slice(0, MOST_TERMS).map((term) => termChip(term, model));
  if (terms.length > MOST_TERMS)
    chips.push(make("li", { class: "more" }, `\u2026 and ${plural(terms.length - MOST_TERMS, "more term")}`));
  if (!terms.length) chips.push(make("li", { class: "more" }, "no terms"));
  return make("ol", { class: "terms" }, ...chips, make("li", { class: "total" }, `= ${numberText(total)}`));
}

/** Write the product of the current row term by term. */
function writeTerms(model, target) {
  const { layer, row, view } = model;
  const { from, to } = sidesOf(model);
  if (view === "commutator") {
    target.replaceChildren(...commutatorTerms(model));
    return;
  }
  const entries = model.shown.rows[row];
  const terms = entries.map(({ column, weights, factors }) => ({
    weights,
    factors,
    name: nameAt(from, column, layer.order),
    number: model.vector[column],
  }));
  const result = nameAt(to, row, layer.order);
  const heading = make(
    "h3",
    {},
    `${result} = ${numberText(model.product[row])}: row ${row} of ${view === "transpose" ? "A\u1d40" : "A"}`,
  );
  const notes = [];
  for (const { column, ...entry } of entries) {
    const { weights } = entry;
    if (weights.length > 1) {
      const where = nameAt(from, column, layer.order);
      const sentence =
        view === "transpose"
          ? `${weights.length} taps of ${where.replace("\u03b4", "")} land on this ${pixelWord(layer)}`
          : `${weights.length} taps land on ${where}`;
      notes.push(`${sentence}, so their weights add up: ${weightWords(entry, layer)}.`);
    }
  }
  if (view === "layer") {
    const outside = tapsOf(layer, row).filter(({ terms }) => !terms.length);
    if (outside.length) {
      const names = outside.map(({ weight }) => `w${weight}`);
      notes.push(`Taps in the zero padding, which contribute nothing: ${nameList(names)}.`);
    }
  }
  const shown = notes.slice(0, 4);
  if (notes.length > shown.length)
    shown.push(`\u2026 and ${plural(notes.length - shown.length, `more such ${pixelWord(layer)}`)}.`);
  target.replaceChildren(
    heading,
    termList(terms, model.product[row], model),
    ...shown.map((note) => make("p", { class: "note" }, note)),
  );
}

/** Return both sides of the commutator in the current row term by term, with their differences marked. */
function commutatorTerms(model) {
  const { layer, row, shown, matrix, x } = model;
  const differing = new Set(shown.rows[row].map(({ column }) => column));
  const side = (entries, columnOf) =>
    entries.map(({ column, weights, factors, value }) => {
      const source = columnOf(column);
      const name = elementName("x", unravel(source, layer.inputShape, layer.order));
      return { weights, factors, value, name, number: x[source], differs: differing.has(source), source };
    });
  const total = (terms) => terms.reduce((sum, { value, number }) => sum + value * number, 0);
  const first = side(matrix.rows[row], (column) => shown.p[column]);
  const second = side(matrix.rows[shown.q[row]], (column) => column);
  const output = elementName("y", unravel(row, layer.outputShape, layer.order));
  const verdict = differing.size
    ? `Row ${row} breaks the symmetry: at ${plural(differing.size, pixelWord(layer))} the two sides have different weights.`
    : `Row ${row} keeps the symmetry: both sides are the same sum for all weights.`;
  return [
    make("h3", {}, `${output}: ${verdict}`),
    make("h4", {}, "shift the image, then apply the layer: row of A P"),
    termList(first, total(first), model),
    make("h4", {}, "apply the layer, then shift the output: row of Q A"),
    termList(second, total(second), model),
  ];
}

/** Describe the entry, column or weight in focus. */
function focusWords(model, focus) {
  const { layer, view, shown, vector } = model;
  const { from, to } = sidesOf(model);
  if (focus?.weight !== undefined) {
    return `Weight w${focus.weight} = ${numberText(layer.weights[focus.weight])} appears ${plural(model.uses[focus.weight], "time")} in A: it is one shared parameter.`;
  }
  if (focus?.column === undefined) {
    return "Point at an entry, a pixel or a weight (or use the arrow keys) to see what it is connected to.";
  }
  const source = nameAt(from, focus.column, layer.order);
  if (focus.row === undefined) {
    const rows = shown.rows.flatMap((entries, row) =>
      entries.some(({ column }) => column === focus.column) ? [row] : [],
    );
    const names = nameList(rows.map((row) => nameAt(to, row, layer.order)));
    const verb = view === "commutator" ? "has different weights in" : "contributes to";
    return `Column ${focus.column}: ${from.word} ${source} = ${numberText(vector[focus.column])} ${verb} ${plural(rows.length, to.word)}${rows.length ? ": " : ""}${names}.`;
  }
  const target = nameAt(to, focus.row, layer.order);
  const where = `Row ${focus.row} (${to.word} ${target}), column ${focus.column} (${from.word} ${source})`;
  const entry = focusedEntry(model, focus);
  if (view === "commutator") {
    if (!entry) return `${where}: no entry, so A P and Q A agree here for all weights.`;
    const sides = [
      ["A P", entry.weights, entry.factors],
      ["Q A", entry.minus, entry.minusFactors],
    ].flatMap(([side, own, factors]) => (own.length ? [`only ${side} has ${weightName(own, factors)}`] : []));
    return `${where}: ${sides.join(", ")}; the difference is ${numberText(entry.value)}.`;
  }
  if (!entry) return `${where}: no entry (a structural zero), so the two are not connected.`;
  const number = vector[focus.column];
  const sum = entry.weights.length > 1 ? `, the sum of ${entry.weights.length} taps on one ${pixelWord(layer)}` : "";
  const used =
    entry.weights.length === 1
      ? ` w${entry.weights[0]} appears ${plural(model.uses[entry.weights[0]], "time")} in A.`
      : "";
  return `${where}: weight ${weightWords(entry, layer)}${sum}; it contributes ${numberText(entry.value)} \u00d7 ${numberText(number)} = ${numberText(entry.value * number)}.${used}`;
}

/** Describe the matrix of the current view. */
function matrixWords(model) {
  const { layer, view, shown, matrix } = model;
  const size = `${shown.shape[0]} \u00d7 ${shown.shape[1]}`;
  const sums = matrix.rows.flat().filter(({ weights }) => weights.length > 1).length;
  const several = sums
    ? ` ${plural(sums, "entry is a sum", "entries are sums")} of several weights (striped), because several taps land on one ${pixelWord(layer)}.`
    : "";
  if (view === "layer") return `A is ${size}: one row per output, one column per ${pixelWord(layer)}, y = A x.${several}`;
  if (view === "transpose") {
    return `A\u1d40 is ${size}: back-propagation, \u03b4x = A\u1d40 \u03b4y. Each ${pixelWord(layer)} collects the gradients of the outputs that read it, multiplied by the same weights.${several}`;
  }
  const broken = shown.brokenRows;
  const names = broken.map((row) => elementName("y", unravel(row, layer.outputShape, layer.order)));
  if (!broken.length)
    return "A P \u2212 Q A = 0: the layer commutes with this shift for all weights. It is equivariant.";
  const ruledOut = layer.axes.flatMap(({ stride }, axis) => {
    const excluded = !shown.works[axis] && model.shift[axis] % stride;
    return excluded ? [`stride[${axis}]=${stride} does not divide shift[${axis}]=${model.shift[axis]}`] : [];
  });
  const why = ruledOut.length
    ? `No output shift works: ${ruledOut.join(", ")}; the rows are those for the closest output shift. `
    : "No output shift works. ";
  return `${why}${broken.length} of ${shown.shape[0]} rows break the symmetry (\u2715): ${nameList(names)}. In all other rows A P \u2212 Q A = 0 for all weights.`;
}

/** Return the text of a count. */
function countText(name, value) {
  if (value === null) return "\u2013";
  if (name === "density") return `${(100 * value).toLocaleString("en", { maximumSignificantDigits: 3 })} %`;
  return value.toLocaleString("en", { maximumFractionDigits: 1 });
}

/** Return the line of Python that computes the matrix, or the verdict, of the current view. */
function pythonLine(model) {
  const { layer, view } = model;
  const options = [];
  const option = (name, items, usual) => {
    if (items.some((item) => item !== usual))
      options.push(`${name}=${items.length > 1 && items.every((item) => item === items[0]) ? items[0] : tuple(items)}`);
  };
  option(
    "stride",
    layer.axes.map(({ stride }) => stride),
    1,
  );
  option(
    "dilation",
    layer.axes.map(({ dilation }) => dilation),
    1,
  );
  if (layer.axes.some(({ low, high }) => low || high))
    options.push(`padding=[${layer.axes.map(({ low, high }) => `(${low}, ${high})`).join(", ")}]`);
  option(
    "boundary",
    layer.axes.map(({ boundary }) => `"${boundary}"`),
    '"zero"',
  );
  if (layer.flip) options.push("flip=True");
  const rest = options.map((text) => `, ${text}`).join("");
  if (view === "commutator") {
    return `cm.equivariance.check_shift(cm.ConvGeometry(${tuple(layer.inputShape)}, ${tuple(layer.kernelShape)}${rest}), ${tuple(model.shift)})`;
  }
  const order = layer.order === "F" ? ', order="F"' : "";
  return `cm.conv_matrix(${nested(layer.weights, layer.kernelShape)}, ${tuple(layer.inputShape)}${rest}${order})${view === "transpose" ? ".T" : ""}`;
}

function nested(values, shape) {
  if (shape.length === 1) return `[${values.join(", ")}]`;
  const length = product(shape.slice(1));
  return `[${Array.from({ length: shape[0] }, (_, row) => nested(values.slice(row * length, (row + 1) * length), shape.slice(1))).join(", ")}]`;
}
