// The story with which the page opens: five steps, each with one idea, told about the layer that is shown.

/**
 * A step: its title and text, and what it does to the picture.
 * @typedef {{title: string, text: string, show: () => void}} Step
 */

const STORY = { place: null }; // the number of the step that is told; null if the story is over

/** Return the row in the middle of the image: no padding there, in most layers. */
function innerRow({ layer }) {
  return ravel(
    [0, ...layer.outputShape.map((size) => Math.floor(size / 2))],
    vectorShape(layer, "output"),
    layer.order,
  );
}

/** Return the steps of the story of the shown layer. */
function storySteps() {
  const { model } = state;
  const { layer, shown } = model;
  const { from, to } = sidesOf(model);
  const row = innerRow(model);
  const entries = shown.rows[row];
  const output = nameAt(to, row, layer.order);
  const word = pixelWord(layer);
  const [nRows, nColumns] = shown.shape;
  const stored = shown.rows.flat().length;
  const all = (nRows * nColumns).toLocaleString("en");
  const weight = entries[Math.floor(entries.length / 2)]?.weights[0] ?? 0;
  const border = shown.rows.findIndex((own) => own.length !== entries.length);
  const still = (number, focus = null) => {
    pause();
    chooseRow(number);
    state.pinned = focus;
    drawFocus();
  };
  return [
    {
      title: "Each row of the matrix computes one output",
      text:
        `Row ${row}, counted from 0, computes ${output}. The next row computes the next output` +
        `${layer.transposed ? "" : ", with the kernel one step further"}: watch the blue frame.`,
      show: () => {
        still(row);
        if (!window.matchMedia("(prefers-reduced-motion: reduce)").matches) play();
      },
    },
    {
      title: "A row holds the kernel's weights",
      text:
        `Column by column, row ${row} meets the ${plural(nColumns, word)} of ${from.name}. It has ` +
        `${plural(entries.length, "entry", "entries")}, one for each ${word} that ${output} depends on: the same colour ` +
        "is the same weight.",
      show: () => still(row),
    },
    {
      title: "The weights are shared",
      text:
        `Weight w${weight} = ${numberText(layer.weights[weight])} stands at ${plural(model.uses[weight], "place")} in ` +
        `the matrix. Change it once, and it changes everywhere: all ${nRows} rows share ` +
        `${plural(layer.nWeights, "weight")}.`,
      show: () => still(row, { weight }),
    },
    {
      title: stored < nRows * nColumns ? "Everything else is zero" : "Here every entry is stored",
      text:
        stored < nRows * nColumns
          ? `Of ${all} entries only ${stored.toLocaleString("en")} are stored: an output depends on nothing but its ` +
            `neighbourhood. A dense layer would have ${all} weights, one for each entry.`
          : `Each output depends on every ${word}, as in a dense layer. Make the input larger or the kernel smaller: ` +
            "the rest of each row is then zero.",
      show: () => still(row),
    },
    layer.transposed || border < 0
      ? {
          title: "And so the whole layer is one product, y = A x",
          text:
            `All ${nRows} outputs at once: the column beside the matrix is the matrix times the row of numbers above ` +
            "it. Now change the layer, and see what the matrix becomes.",
          show: () => still(row),
        }
      : {
          title: "At the border the rule of the boundary decides",
          text:
            `Row ${border} has ${plural(shown.rows[border].length, "entry", "entries")} instead of ${entries.length}: ` +
            "part of its kernel lies beyond the border. Now change the padding and the boundary, and see what the " +
            "matrix becomes.",
          show: () => still(border),
        },
  ];
}

/** Tell a step. */
function tellStep(place) {
  const steps = storySteps();
  STORY.place = place;
  byId("story").hidden = false;
  document.body.classList.add("telling");
  byId("story-title").textContent = steps[place].title;
  byId("story-text").textContent = steps[place].text;
  byId("story-place").textContent = `${place + 1} of ${steps.length}`;
  byId("story-back").disabled = place === 0;
  byId("story-next").textContent = place === steps.length - 1 ? "done" : "next";
  steps[place].show();
}

/** Move by a number of steps; beyond the last one the story is over. */
function turnStory(by) {
  const place = STORY.place + by;
  if (place >= storySteps().length) endStory();
  else if (place >= 0) tellStep(place);
}

function startStory() {
  if (state.view !== "layer") {
    document.querySelector('input[name="view"][value="layer"]').checked = true;
    state.view = "layer";
    updateView();
  }
  tellStep(0);
}

function endStory() {
  if (STORY.place === null) return;
  STORY.place = null;
  byId("story").hidden = true;
  document.body.classList.remove("telling");
  pause();
  state.pinned = null;
  drawFocus();
}

/** The arrow keys turn the story where they have no other use; Escape ends it. */
function storyKey(event) {
  if (STORY.place === null) return;
  const here = event.target === document.body || byId("story").contains(event.target);
  if (event.key === "Escape") endStory();
  else if (here && event.key === "ArrowRight") turnStory(1);
  else if (here && event.key === "ArrowLeft") turnStory(-1);
}

function listenToStory() {
  byId("story-next").addEventListener("click", () => turnStory(1));
  byId("story-back").addEventListener("click", () => turnStory(-1));
  byId("story-skip").addEventListener("click", endStory);
  byId("story-again").addEventListener("click", () => {
    startStory();
    byId("story").focus();
    byId("story").scrollIntoView({ block: "nearest" });
  });
  document.addEventListener("keydown", storyKey);
  // Whoever changes a setting has taken over.
  for (const id of ["controls", "view"]) byId(id).addEventListener("input", endStory, true);
}
