// The animation of the current view as a file: one frame per row of the matrix.

const MOST_FRAMES = 64; // of a matrix with more rows, rows at equal distances are shown
const MOST_FRAME_WIDTH = 1000; // pixels

/** Return a promise of the pictures of the current row, side by side, as {size: [width, height], pixels}. */
async function drawFrame(scale) {
  const parts = await Promise.all(
    [page.left, page.middle, page.right, byId("matrix")].map((svg) => canvasOf(svg, scale)),
  );
  const gap = Math.round(16 * scale);
  const [left, middle, right, matrix] = parts;
  const stageWidth = Math.max(left.width, middle.width + gap + right.width);
  const lower = Math.max(middle.height, right.height);
  const canvas = document.createElement("canvas");
  canvas.width = 3 * gap + stageWidth + matrix.width;
  canvas.height = 2 * gap + Math.max(left.height + gap + lower, matrix.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--panel");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(left, gap, gap);
  context.drawImage(middle, gap, 2 * gap + left.height);
  context.drawImage(right, 2 * gap + middle.width, 2 * gap + left.height);
  context.drawImage(matrix, 2 * gap + stageWidth, gap);
  const size = [canvas.width, canvas.height];
  return { size, pixels: context.getImageData(0, 0, ...size).data };
}

/** Return a promise of the animation as bytes; tell(words) says how far it is. */
async function animationGif(tell) {
  pause();
  const { row } = state;
  const rows = state.model.shown.shape[0];
  const count = Math.min(rows, MOST_FRAMES);
  const whole = await drawFrame(1);
  const scale = Math.min(1, MOST_FRAME_WIDTH / whole.size[0]);
  const colourCodes = new ColourCodes();
  const frames = [];
  let size = null;
  for (let frame = 0; frame < count; frame += 1) {
    tell(`drawing ${frame + 1} of ${count} frames`);
    chooseRow(Math.floor((frame * rows) / count));
    const drawn = await drawFrame(scale);
    size ??= drawn.size;
    if (size.join() !== drawn.size.join()) {
      throw new Error(`frame ${frame} is ${drawn.size.join(" x ")}, but the first is ${size.join(" x ")}; try again`);
    }
    frames.push(colourCodes.encode(drawn.pixels));
  }
  chooseRow(row);
  return encodeGif(size, frames, colourCodes, Number(byId("speed").value));
}

async function saveAnimation() {
  const bytes = await animationGif((words) => {
    byId("share-words").textContent = words;
  });
  const address = URL.createObjectURL(new Blob([bytes], { type: "image/gif" }));
  saveFile("convolution.gif", address);
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
  return "convolution.gif is saved";
}
