// The sentences of the page: a product term by term, an entry, the verdict, the counts.

const MOST_TERMS = 60;
const MOST_NAMES = 12;

const pixelWord = (layer) => (layer.axes.length === 1 ? "sample" : "pixel");

/**
 * What a matrix maps from or to: the name of the vector, its shape with channels, what its elements are called.
 * @typedef {{name: string, shape: number[], word: string, what: string}} Side
 */

/** Return the two sides of the shown matrix: {from, to}. */
function sidesOf({ layer, view, second }) {
  const image = layer.axes.length === 1 ? "signal" : "image";
  const input = { name: "x", shape: vectorShape(layer, "input"), word: pixelWord(layer), what: image };
  const output = { name: "y", shape: vectorShape(layer, "output"), word: "output", what: "output" };
  if (view === "transpose") {
    return {
      from: { ...output, name: "\u03b4y", what: "gradient of the output" },
      to: { ...input, name: "\u03b4x", what: `gradient of the ${image}` },
    };
  }
  return {
    from: input,
    to: view === "chain" ? { ...output, name: "z", shape: vectorShape(second.layer, "output") } : output,
  };
}

/** Return the side between two layers. */
const hiddenSide = ({ layer }) => ({
  name: "h",
  shape: vectorShape(layer, "output"),
  word: "unit",
  what: "hidden layer",
});

/** Return a shape as text; a single channel is left out. */
const sizeText = (shape) => shape.join(" \u00d7 ");
const sideWords = ({ what, name, shape }) => `${what} ${name}, ${sizeText(shape[0] === 1 ? shape.slice(1) : shape)}`;

/** Return names joined by commas, at most the first twelve. */
function nameList(names) {
  const rest = names.length - MOST_NAMES;
  return names.slice(0, MOST_NAMES).join(", ") + (rest > 0 ? ` and ${rest.toLocaleString("en")} more` : "");
}

/** Return the name of an element of a side, such as x[2,1], or x[0,2,1] if there are several channels. */
function nameAt(side, index, order) {
  const indices = unravel(index, side.shape, order);
  return elementName(side.name, side.shape[0] === 1 ? indices.slice(1) : indices);
}

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
function termChip({ weights, factors, name, number, differs }, { layer, colours, letter = "w" }) {
  const swatches = weights.map((weight) =>
    make("span", { class: "swatch", colour: colours[weight] }, `${letter}${weight}`),
  );
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

/** Return the terms of a row of a matrix times a vector of a side. */
function entryTerms(entries, side, vector, order) {
  return entries.map(({ column, weights, factors }) => {
    return { weights, factors, name: nameAt(side, column, order), number: vector[column] };
  });
}

/** Write the product of the current row term by term. */
function writeTerms(model, target) {
  const { layer, row, view } = model;
  const { from, to } = sidesOf(model);
  if (view === "commutator" || view === "chain") {
    target.replaceChildren(...(view === "chain" ? chainTerms(model) : commutatorTerms(model)));
    return;
  }
  const entries = model.shown.rows[row];
  const terms = entryTerms(entries, from, model.vector, layer.order);
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
      const scattered = (view === "transpose") !== layer.transposed; // an element of the input collects, or is read
      const sentence = scattered
        ? `${weights.length} taps of ${where.replace("\u03b4", "")} land on this ${to.word}`
        : `${weights.length} taps land on ${where}`;
      notes.push(`${sentence}, so their weights add up: ${weightWords(entry, layer)}.`);
    }
  }
  if (view === "layer" && !layer.transposed) {
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

/** Return the current row of two layers: the second layer term by term, and how far it reads. */
function chainTerms(model) {
  const { layer, row, second, hidden, shown } = model;
  const { from, to } = sidesOf(model);
  const side = hiddenSide(model);
  const entries = second.matrix.rows[row];
  const terms = entryTerms(entries, side, hidden, layer.order);
  const result = nameAt(to, row, layer.order);
  const heading = `${result} = ${numberText(model.product[row])}: row ${row} of A\u2082 times h = A\u2081 x`;
  return [
    make("h3", {}, heading),
    termList(terms, model.product[row], { ...second, letter: "v" }),
    make("p", { class: "note" }, fieldWords(shown.rows[row], layer, result, entries.length, from)),
  ];
}

/** Describe the receptive field of an output of the second layer. */
function fieldWords(entries, layer, result, units, from) {
  if (!entries.length) return `${result} reads nothing.`;
  const ranges = receptiveField(entries, layer).map(([first, last], axis) => {
    const name = layer.axes.length === 1 ? from.word : ["row", "column"][axis];
    return first === last ? `${name} ${first}` : `${name}s ${first} to ${last}`;
  });
  const count = plural(entries.length, from.word);
  return `Receptive field: ${result} reads ${plural(units, "hidden unit")}, and through them ${count}: ${ranges.join(", ")}.`;
}

/** Return both sides of the commutator in the current row term by term, with their differences marked. */
function commutatorTerms(model) {
  const { layer, row, shown, matrix, x } = model;
  const { from, to } = sidesOf(model);
  const differing = new Set(shown.rows[row].map(({ column }) => column));
  const side = (entries, columnOf) =>
    entries.map(({ column, weights, factors, value }) => {
      const source = columnOf(column);
      const name = nameAt(from, source, layer.order);
      return { weights, factors, value, name, number: x[source], differs: differing.has(source), source };
    });
  const total = (terms) => terms.reduce((sum, { value, number }) => sum + value * number, 0);
  const first = side(matrix.rows[row], (column) => shown.p[column]);
  const second = side(matrix.rows[shown.q[row]], (column) => column);
  const output = nameAt(to, row, layer.order);
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
  if (focus?.hidden !== undefined) {
    const unit = nameAt(hiddenSide(model), focus.hidden, layer.order);
    const read = model.matrix.rows[focus.hidden].length;
    const readers = model.second.matrix.rows.filter((entries) => entries.some(({ column }) => column === focus.hidden));
    return `Hidden unit ${unit} = ${numberText(model.hidden[focus.hidden])} reads ${plural(read, from.word)}; ${plural(readers.length, "output")} of the second layer read${readers.length === 1 ? "s" : ""} it.`;
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
  if (view === "chain" && entry) {
    const units = unitsBetween(model, focus.row, focus.column).map((unit) =>
      nameAt(hiddenSide(model), unit, layer.order),
    );
    return `${where}: the output reads this ${from.word} through ${plural(units.length, "hidden unit")}, ${nameList(units)}; together with the factor ${numberText(entry.value)}.`;
  }
  if (!entry) return `${where}: no entry (a structural zero), so the two are not connected.`;
  const number = vector[focus.column];
  const shared = layer.transposed ? "output" : pixelWord(layer);
  const sum = entry.weights.length > 1 ? `, the sum of ${entry.weights.length} taps on one ${shared}` : "";
  const used =
    entry.weights.length === 1
      ? ` w${entry.weights[0]} appears ${plural(model.uses[entry.weights[0]], "time")} in A.`
      : "";
  return `${where}: weight ${weightWords(entry, layer)}${sum}; it contributes ${numberText(entry.value)} \u00d7 ${numberText(number)} = ${numberText(entry.value * number)}.${used}`;
}

const allEqual = (values) => values.every((value) => value === values[0]);

/** Say how far the kernel moves; nothing if the stride is 1. */
function strideWords({ axes }) {
  const steps = axes.map(({ stride }) => stride);
  if (steps.every((step) => step === 1)) return "";
  const words = allEqual(steps) ? steps[0] : steps.map((step, axis) => `${step} on axis ${axis}`).join(" and ");
  return ` The stride moves the kernel by ${words} from one output to the next.`;
}

/** Return the calculation of the output size. */
function outputSizeWords({ axes, transposed }) {
  const formulas = axes.map(({ size, taps, dilation, stride, low, high, extra, outputs }) => {
    const span = dilation * (taps - 1) + 1;
    const kernel = `${dilation === 1 ? "kernel" : "dilated kernel"} ${span}`;
    const padding = low + high ? `padding ${low + high}` : "";
    if (transposed) {
      const cropped = padding && ` \u2212 ${padding}`;
      return `(input ${size} \u2212 1) \u00b7 stride ${stride} + ${kernel}${cropped}${extra ? ` + output padding ${extra}` : ""} = ${outputs}`;
    }
    const room = `input ${size}${padding && ` + ${padding}`} \u2212 ${kernel}`;
    if (stride === 1) return `${room} + 1 = ${outputs}`;
    const exact = (size + low + high - span) % stride === 0;
    return `(${room}) / stride ${stride}${exact ? "" : ", rounded down,"} + 1 = ${outputs}`;
  });
  if (allEqual(formulas)) return `Outputs per axis: ${formulas[0]}.`;
  return `Outputs ${formulas.map((formula, axis) => `on axis ${axis}: ${formula}`).join("; ")}.`;
}

/** Describe the matrix of the current view. */
function matrixWords(model) {
  const { layer, view, shown, matrix } = model;
  const size = `${shown.shape[0]} \u00d7 ${shown.shape[1]}`;
  const sums = matrix.rows.flat().filter(({ weights }) => weights.length > 1).length;
  const several = sums
    ? ` ${plural(sums, "entry is a sum", "entries are sums")} of several weights (striped), because several taps land on one ${layer.transposed ? "output" : pixelWord(layer)}.`
    : "";
  if (view === "chain") {
    return `A\u2082 A\u2081 is ${size}: two layers in a row are one matrix, z = A\u2082 (A\u2081 x). Its entries are sums of products of weights; the stronger the colour, the more hidden units connect the two. A row's entries are the receptive field of an output.`;
  }
  if (view === "layer" && layer.transposed) {
    return `A is ${size}: a transposed layer, whose matrix is that of a convolution, transposed. One row per output, one column per ${pixelWord(layer)}; each ${pixelWord(layer)} is multiplied by the kernel and added to the outputs. ${outputSizeWords(layer)}${several}`;
  }
  const [outputs, inputs] = [layer.outChannels, layer.inChannels].map((count) => (count > 1 ? " of each channel" : ""));
  if (view === "layer") {
    return `A is ${size}: one row per output${outputs}, one column per ${pixelWord(layer)}${inputs}, y = A x.${strideWords(layer)} ${outputSizeWords(layer)}${several}`;
  }
  if (view === "transpose" && layer.transposed) {
    return `A\u1d40 is ${size}: back-propagation, \u03b4x = A\u1d40 \u03b4y, which for a transposed layer is a convolution.${several}`;
  }
  if (view === "transpose") {
    return `A\u1d40 is ${size}: back-propagation, \u03b4x = A\u1d40 \u03b4y. Its rows are the columns of A: each ${pixelWord(layer)} collects the gradients of the outputs that read it, multiplied by the same weights.${several}`;
  }
  return commutatorWords(model);
}

/** Say whether the layer commutes with the shift; for strided layers, why the output moves as it does, or cannot. */
function commutatorWords(model) {
  const { layer, shown } = model;
  const broken = shown.brokenRows;
  const { to } = sidesOf(model);
  const names = broken.map((row) => nameAt(to, row, layer.order));
  const moves = layer.axes.map((axis, number) => axisMove(layer, axis, number, model.shift[number], shown)).join("");
  if (!broken.length)
    return `A P \u2212 Q A = 0: the layer commutes with this shift for all weights. It is equivariant. ${moves}`.trim();
  const ruledOut = layer.axes.flatMap(({ stride }, axis) => {
    const excluded = !layer.transposed && !shown.works[axis] && model.shift[axis] % stride;
    return excluded ? [`stride[${axis}]=${stride} does not divide shift[${axis}]=${model.shift[axis]}`] : [];
  });
  const why = ruledOut.length
    ? `No output shift works: ${ruledOut.join(", ")}; the rows are those for the closest output shift. `
    : "No output shift works. ";
  return `${why}${moves}${broken.length} of ${shown.shape[0]} rows break the symmetry (\u2715): ${nameList(names)}.${broken.length < shown.shape[0] ? " In all other rows A P \u2212 Q A = 0 for all weights." : ""}`;
}

/** Say how far the output moves on an axis with a stride; nothing if the stride is 1 or the input does not move. */
function axisMove(layer, { stride }, axis, shift, shown) {
  if (stride === 1 || !shift) return "";
  const on = layer.axes.length === 1 ? "" : ` on axis ${axis}`;
  const [input, moved] = [numberText(shift), numberText(shown.moved[axis])];
  if (layer.transposed) {
    return (
      `The stride is ${stride}${on}, so each input is ${stride} outputs from the next: an input shifted by ${input} ` +
      `asks for an output shifted by ${input} \u00b7 ${stride} = ${numberText(shift * stride)}. `
    );
  }
  if (shift % stride === 0 && shown.moved[axis] === shift / stride) {
    const [moves, but] = shown.works[axis] ? ["moves", ""] : ["would move", ", but the boundary prevents it"];
    return `The stride is ${stride}${on}: the output ${moves} by shift / stride = ${input} / ${stride} = ${moved}${but}. `;
  }
  if (shown.works[axis]) {
    return (
      `The stride is ${stride}${on}; shift / stride = ${input} / ${stride}, but the output repeats, and moving it by ` +
      `${moved} works. `
    );
  }
  const below = Math.floor(Math.abs(shift) / stride) * stride * Math.sign(shift);
  const next = below + stride * Math.sign(shift);
  const instead = below ? `${numberText(below)} or ${numberText(next)}` : numberText(next);
  return (
    `The stride is ${stride}${on}: the output would have to move by ${input} / ${stride} of a sample, between two ` +
    `outputs. Shift by ${instead} instead. `
  );
}

/** Return the text of a count. */
function countText(name, value) {
  if (value === null) return "\u2013";
  if (name === "density") return `${(100 * value).toLocaleString("en", { maximumSignificantDigits: 3 })} %`;
  return value.toLocaleString("en", { maximumFractionDigits: 1 });
}
