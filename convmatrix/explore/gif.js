// The animation as a GIF (version 89a), encoded here: one frame per row of the matrix.

const MOST_FRAMES = 64; // of a matrix with more rows, rows at equal distances are shown
const MOST_GIF_WIDTH = 900; // pixels

/** Bytes that grow: numbers, little-endian words and text. */
class ByteWriter {
  constructor() {
    this.bytes = [];
  }
  byte(...values) {
    for (const value of values) this.bytes.push(value & 255);
  }
  word(...values) {
    for (const value of values) this.byte(value, value >> 8);
  }
  text(characters) {
    for (const character of characters) this.byte(character.charCodeAt(0));
  }
}

/** Return the 256 most frequent colours of frames, with five bits per channel: a map from code to index, and the table. */
function commonColours(frames) {
  const counts = new Map();
  const sums = new Map();
  for (const pixels of frames) {
    for (let at = 0; at < pixels.length; at += 4) {
      const code = colourCode(pixels, at);
      counts.set(code, (counts.get(code) ?? 0) + 1);
      if (!sums.has(code)) sums.set(code, [pixels[at], pixels[at + 1], pixels[at + 2]]);
    }
  }
  const table = [...counts].sort(([, a], [, b]) => b - a).slice(0, 256).map(([code]) => sums.get(code));
  const indices = new Map();
  for (const code of counts.keys()) indices.set(code, nearestColour(sums.get(code), table));
  return { table, indices };
}

const colourCode = (pixels, at) => ((pixels[at] >> 3) << 10) | ((pixels[at + 1] >> 3) << 5) | (pixels[at + 2] >> 3);

function nearestColour(colour, table) {
  const distances = table.map((other) => other.reduce((sum, value, channel) => sum + (value - colour[channel]) ** 2, 0));
  return distances.indexOf(Math.min(...distances));
}

/** Return the codes of Lempel, Ziv and Welch for bytes, packed into bytes: the image data of GIF. */
function compress(indices) {
  const [clear, end] = [256, 257];
  const output = new ByteWriter();
  let [bits, held, next, size] = [0, 0, 258, 9];
  let table = new Map();
  const emit = (code) => {
    held |= code << bits;
    bits += size;
    for (; bits >= 8; bits -= 8) {
      output.byte(held);
      held >>>= 8;
    }
  };
  emit(clear);
  let prefix = indices[0];
  for (let at = 1; at < indices.length; at += 1) {
    const key = prefix * 256 + indices[at];
    if (table.has(key)) {
      prefix = table.get(key);
      continue;
    }
    emit(prefix);
    if (next < 4096) {
      table.set(key, next);
      if (next === 1 << size && size < 12) size += 1;
      next += 1;
    } else {
      emit(clear);
      table = new Map();
      [next, size] = [258, 9];
    }
    prefix = indices[at];
  }
  emit(prefix);
  emit(end);
  if (bits) output.byte(held);
  return output.bytes;
}

/** Return the bytes of a GIF that repeats forever, from frames of RGBA pixels; the delay is in milliseconds. */
function encodeGif(width, height, frames, delay) {
  const { table, indices } = commonColours(frames);
  const gif = new ByteWriter();
  gif.text("GIF89a");
  gif.word(width, height);
  gif.byte(0xf7, 0, 0); // a table of 256 colours follows
  for (let index = 0; index < 256; index += 1) gif.byte(...(table[index] ?? [0, 0, 0]));
  gif.byte(0x21, 0xff, 11);
  gif.text("NETSCAPE2.0");
  gif.byte(3, 1, 0, 0, 0);
  for (const pixels of frames) {
    gif.byte(0x21, 0xf9, 4, 4);
    gif.word(Math.round(delay / 10));
    gif.byte(0, 0, 0x2c);
    gif.word(0, 0, width, height);
    gif.byte(0, 8);
    const own = new Uint8Array(width * height);
    for (let at = 0; at < own.length; at += 1) own[at] = indices.get(colourCode(pixels, 4 * at));
    const data = compress(own);
    for (let at = 0; at < data.length; at += 255) {
      const block = data.slice(at, at + 255);
      gif.byte(block.length, ...block);
    }
    gif.byte(0);
  }
  gif.byte(0x3b);
  return new Uint8Array(gif.bytes);
}

/** Return the pictures of the current row, side by side, as {width, height, pixels}. */
async function drawFrame(scale) {
  const parts = await Promise.all([page.left, page.middle, page.right, byId("matrix")].map((svg) => canvasOf(svg, scale)));
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
  return { width: canvas.width, height: canvas.height, pixels: context.getImageData(0, 0, canvas.width, canvas.height).data };
}

/** Return a promise of the animation of the current view as bytes: every row, or rows at equal distances. */
async function animationGif() {
  pause();
  const { row } = state;
  const rows = state.model.shown.shape[0];
  const count = Math.min(rows, MOST_FRAMES);
  const delay = Math.max(Number(byId("speed").value), 20);
  const whole = await drawFrame(1);
  const scale = Math.min(1, MOST_GIF_WIDTH / whole.width);
  const frames = [];
  for (let frame = 0; frame < count; frame += 1) {
    chooseRow(Math.floor((frame * rows) / count));
    frames.push(await drawFrame(scale));
  }
  chooseRow(row);
  const { width, height } = frames[0];
  const width0 = Math.max(...frames.map((frame) => frame.width));
  if (width0 !== width) throw new Error("the pictures change their size; the animation cannot be saved");
  return encodeGif(width, height, frames.map(({ pixels }) => pixels), delay);
}

async function saveAnimation() {
  byId("share-words").textContent = "drawing \u2026";
  const bytes = await animationGif();
  const address = URL.createObjectURL(new Blob([bytes], { type: "image/gif" }));
  saveFile("convolution.gif", address);
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
  return "convolution.gif is saved";
}
