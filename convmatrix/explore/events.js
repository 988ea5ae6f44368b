// Reactions to the pointer, the keyboard and the controls.

function chooseRow(row) {
  state.row = Math.max(0, Math.min(row, state.model.shown.shape[0] - 1));
  drawRow();
  linkSoon();
}

function pause() {
  clearInterval(state.timer);
  state.timer = null;
  showPlaying(false);
  linkSoon();
}

function play() {
  const wasPlaying = state.timer !== null;
  pause();
  if (wasPlaying) return;
  const step = () => chooseRow((state.row + 1) % state.model.shown.shape[0]);
  state.timer = setInterval(step, Number(byId("speed").value));
  showPlaying(true);
}

function showPlaying(playing) {
  byId("play-icon").setAttribute("d", playing ? "M3 2h4v12H3zM9 2h4v12H9z" : "M3 2l10 6-10 6z");
  byId("play").setAttribute("aria-label", playing ? "Pause" : "Play");
  byId("play").setAttribute("aria-pressed", playing);
  byId("terms").setAttribute("aria-live", playing ? "off" : "polite"); // so that screen readers do not read every step
}

/** Step through the outputs with the keyboard. */
function stageKey(event) {
  const { shown, layer } = state.model;
  const { shape } = sidesOf(state.model).to;
  const last = shown.shape[0] - 1;
  const oneStep = (along) => shape.map((_, axis) => Number(axis === along));
  const unit = (along) => ravel(oneStep(along), shape, layer.order);
  const [down, across] = [unit(1), unit(shape.length - 1)];
  const steps = { ArrowLeft: -across, ArrowRight: across, ArrowUp: -down, ArrowDown: down };
  if (event.key === " ") play();
  else if (event.key === "Home") chooseRow(0);
  else if (event.key === "End") chooseRow(last);
  else if (event.key in steps) {
    const row = state.row + steps[event.key];
    if (row >= 0 && row <= last) chooseRow(row);
  } else return;
  event.preventDefault();
}

/** Move among the entries of the matrix with the keyboard. */
function matrixKey(event) {
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const { shape } = state.model.shown;
  const at = state.pinned?.column === undefined ? { row: state.row, column: 0 } : { row: state.row, ...state.pinned };
  if (event.key === "Enter") chooseRow(at.row);
  else if (event.key === "Escape") state.pinned = null;
  else if (event.key in steps && state.pinned?.column === undefined) state.pinned = at;
  else if (event.key in steps) {
    const [down, right] = steps[event.key];
    state.pinned = {
      row: Math.max(0, Math.min(at.row + down, shape[0] - 1)),
      column: Math.max(0, Math.min(at.column + right, shape[1] - 1)),
    };
  } else return;
  state.focus = null;
  event.preventDefault();
  drawFocus();
}

const indexUnder = (event) => {
  const cell = event.target.closest("g[data-index]");
  return cell ? Number(cell.dataset.index) : null;
};

/** Return the focus for a cell of one of the three grids. */
function stageFocus(grid, index) {
  if (grid === page.middle) return state.view === "chain" ? { hidden: index } : { weight: index };
  return grid === page.left ? { column: index } : null;
}

function focusOn(focus) {
  state.focus = focus;
  drawFocus();
}

function listenToStage() {
  for (const grid of [page.left, page.middle, page.right]) {
    grid.addEventListener("pointermove", (event) => {
      const index = indexUnder(event);
      focusOn(index === null ? null : stageFocus(grid, index));
    });
    grid.addEventListener("pointerleave", () => focusOn(null));
    grid.addEventListener("click", (event) => {
      const index = indexUnder(event);
      if (index === null) return;
      if (grid === page.right) {
        chooseRow(index);
        return;
      }
      state.pinned = stageFocus(grid, index);
      if (grid === page.left && state.view !== "transpose") state.pixel = index;
      drawFocus();
      drawPixel();
    });
  }
  page.stage.addEventListener("keydown", stageKey);
}

function listenToMatrix() {
  const svg = byId("matrix");
  const under = (event) => positionAt(svg, state.model, state.measures, event);
  svg.addEventListener("pointermove", (event) => {
    const position = under(event);
    focusOn(position.column === undefined ? null : position);
  });
  svg.addEventListener("pointerleave", () => focusOn(null));
  svg.addEventListener("click", (event) => {
    const position = under(event);
    state.pinned = position.column === undefined ? null : position;
    if (position.column !== undefined && state.view !== "transpose") state.pixel = position.column;
    chooseRow(position.row ?? state.row);
  });
  byId("matrix-area").addEventListener("keydown", matrixKey);
}

/** Listen to input into an element; assistive technology may report a choice as a change event only. */
function listenToInput(element, listener) {
  element.addEventListener("input", listener);
  element.addEventListener("change", (event) => {
    if (event.target.tagName === "SELECT") listener(event);
  });
}

function listenToControls() {
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  listenToInput(byId("controls"), (event) => {
    const { id, dataset, name, value } = event.target;
    if (dataset.weight !== undefined) readKernel(id.startsWith(SECOND) ? SECOND : "");
    else if (name === "axes") changeAxes(Number(value));
    else if (id === "transposed") showTransposed(chosenAxes());
    else if (id.endsWith("kernel-fill")) fillKernel(event.target);
    else if (id === "image") state.image = null;
    else if (id === "pixel" && !attempt("message", typePixel)) return;
    update();
  });
  byId("view").addEventListener("input", (event) => {
    state.view = event.target.value;
    if (state.view === "chain") update();
    else updateView();
  });
  for (const id of ["shift-0", "shift-1", "labels", "dense"]) listenToInput(byId(id), updateView);
  byId("row").addEventListener("input", (event) => chooseRow(Number(event.target.value)));
  listenToInput(byId("speed"), () => {
    if (state.timer === null) return;
    pause();
    play();
  });
  byId("shift-by-stride").addEventListener("click", () => {
    state.model.layer.axes.forEach(({ stride }, axis) => {
      if (numberIn(`shift-${axis}`) !== 0) byId(`shift-${axis}`).value = stride;
    });
    updateView();
  });
  const clicks = {
    first: () => chooseRow(0),
    back: () => chooseRow(state.row - 1),
    play,
    forward: () => chooseRow(state.row + 1),
    last: () => chooseRow(Infinity),
    smaller: () => zoomTo(state.zoom / 1.3),
    fit: () => zoomTo(1),
    larger: () => zoomTo(state.zoom * 1.3),
  };
  for (const [id, action] of Object.entries(clicks)) byId(id).addEventListener("click", action);
}

function zoomTo(zoom) {
  state.zoom = Math.max(0.3, Math.min(zoom, 8));
  draw();
}

/** Reduce long signals to small images when an axis is added. */
function changeAxes(nAxes) {
  if (nAxes === 2 && (numberIn("input_shape-0") > 20 || numberIn("input_shape-1") > 20)) {
    for (const axis of [0, 1]) byId(`input_shape-${axis}`).value = 6;
  }
  showAxes(nAxes);
}

function fillKernel(choice) {
  const prefix = choice.id.startsWith(SECOND) ? SECOND : "";
  const { shape } = KERNELS[prefix];
  if (choice.value) setKernel(prefix, shape, filledKernel(choice.value, shape));
  choice.value = "";
}

function typePixel() {
  const value = numberIn("pixel");
  if (!Number.isFinite(value)) {
    throw new SettingError(`${byId("pixel-name").textContent} must be a number, but is empty`, "pixel");
  }
  const values = [...state.model.x];
  values[state.pixel] = value;
  state.image = { key: state.model.key, values };
  return true;
}

function listenToWindow() {
  let width = 0;
  new ResizeObserver(() => {
    const now = byId("plots").clientWidth;
    if (Math.abs(now - width) < 2) return;
    width = now;
    draw();
  }).observe(byId("plots"));
}
