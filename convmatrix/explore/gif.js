// GIF, version 89a: an animation from frames, with the 256 colours that they have most of.

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

/** Colours with five bits per channel, and for each the first full colour that had this code. */
class ColourCodes {
  constructor() {
    this.colours = new Map();
  }

  /** Return one code per pixel of RGBA pixels. */
  encode(pixels) {
    const codes = new Uint16Array(pixels.length / 4);
    for (let at = 0; at < codes.length; at += 1) {
      const [red, green, blue] = [pixels[4 * at], pixels[4 * at + 1], pixels[4 * at + 2]];
      codes[at] = ((red >> 3) << 10) | ((green >> 3) << 5) | (blue >> 3);
      if (!this.colours.has(codes[at])) this.colours.set(codes[at], [red, green, blue]);
    }
    return codes;
  }

  /** Return the 256 most frequent colours of frames of codes, and the index of the nearest of them for each code. */
  commonColours(frames) {
    const counts = new Uint32Array(1 << 15);
    for (const codes of frames) for (const code of codes) counts[code] += 1;
    const frequent = [...this.colours.keys()].sort((a, b) => counts[b] - counts[a]).slice(0, 256);
    const table = frequent.map((code) => this.colours.get(code));
    const indices = new Uint8Array(1 << 15);
    for (const [code, colour] of this.colours) indices[code] = nearestColour(colour, table);
    return { table, indices };
  }
}

function nearestColour(colour, table) {
  const distances = table.map((other) =>
    other.reduce((sum, value, channel) => sum + (value - colour[channel]) ** 2, 0),
  );
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

/** Return the bytes of a GIF that repeats forever, from frames of colour codes; the delay is in milliseconds. */
function encodeGif([width, height], frames, colourCodes, delay) {
  const { table, indices } = colourCodes.commonColours(frames);
  const gif = new ByteWriter();
  gif.text("GIF89a");
  gif.word(width, height);
  gif.byte(0xf7, 0, 0); // a table of 256 colours follows
  for (let index = 0; index < 256; index += 1) gif.byte(...(table[index] ?? [0, 0, 0]));
  gif.byte(0x21, 0xff, 11);
  gif.text("NETSCAPE2.0");
  gif.byte(3, 1, 0, 0, 0);
  for (const codes of frames) {
    gif.byte(0x21, 0xf9, 4, 4);
    gif.word(Math.round(delay / 10));
    gif.byte(0, 0, 0x2c);
    gif.word(0, 0, width, height);
    gif.byte(0, 8);
    const data = compress(Uint8Array.from(codes, (code) => indices[code]));
    for (let at = 0; at < data.length; at += 255) {
      const block = data.slice(at, at + 255);
      gif.byte(block.length, ...block);
    }
    gif.byte(0);
  }
  gif.byte(0x3b);
  return new Uint8Array(gif.bytes);
}
