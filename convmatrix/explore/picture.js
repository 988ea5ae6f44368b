// Pictures to take away: the matrix as a file of its own, SVG or PNG, and copied text.

const STYLED = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "opacity"];
const STYLED_TEXT = ["font-family", "font-size", "font-weight", "text-anchor", "dominant-baseline", "paint-order"];

/** Write the styles that the page gives an element into a copy of it, so that the copy looks the same anywhere. */
function inlineStyles(original, copy) {
  const style = getComputedStyle(original);
  const names = original.tagName === "text" ? [...STYLED, ...STYLED_TEXT] : STYLED;
  for (const name of names) copy.setAttribute(name, style.getPropertyValue(name));
  if (original.classList.contains("pixels")) copy.setAttribute("style", "image-rendering: pixelated");
  copy.removeAttribute("class");
  [...original.children].forEach((child, place) => inlineStyles(child, copy.children[place]));
}

/** Return an SVG of the page as a document of its own, on the colour of its panel. */
function svgDocument(svg) {
  const copy = svg.cloneNode(true);
  for (const name of ["id", "role", "aria-labelledby"]) copy.removeAttribute(name);
  [...svg.children].forEach((child, place) => {
    if (child.tagName !== "defs") inlineStyles(child, copy.children[place]);
  });
  const { x, y, width, height } = svg.viewBox.baseVal;
  const ground = document.createElementNS(svg.namespaceURI, "rect");
  const panel = getComputedStyle(document.documentElement).getPropertyValue("--panel");
  for (const [name, value] of Object.entries({ x, y, width, height, fill: panel })) ground.setAttribute(name, value);
  copy.prepend(ground);
  return new XMLSerializer().serializeToString(copy);
}

const dataAddress = (type, text) => `data:${type};charset=utf-8,${encodeURIComponent(text)}`;

/** Return a promise of an image from its address. */
function loadImage(address) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("the picture cannot be drawn"));
    image.src = address;
  });
}

/** Return a promise of a canvas with an SVG of the page, a number of pixels per unit of length. */
async function canvasOf(svg, scale) {
  const image = await loadImage(dataAddress("image/svg+xml", svgDocument(svg)));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(svg.viewBox.baseVal.width * scale);
  canvas.height = Math.round(svg.viewBox.baseVal.height * scale);
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** Let the user save a file. */
function saveFile(name, address) {
  make("a", { href: address, download: name }).click();
}

async function saveMatrix(kind) {
  const svg = byId("matrix");
  const address =
    kind === "svg" ? dataAddress("image/svg+xml", svgDocument(svg)) : (await canvasOf(svg, 2)).toDataURL("image/png");
  saveFile(`matrix.${kind}`, address);
  return `matrix.${kind} is saved`;
}

/** Copy text; without the right to use the clipboard, as in some frames, select it by the old command. */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    if (!copied) throw new Error("this browser does not let the page copy; select the text instead");
  }
}

/** Run what a button does, and say what came of it. */
async function share(action) {
  byId("share-words").textContent = "";
  try {
    byId("share-words").textContent = await action();
  } catch (error) {
    byId("share-words").textContent = error.message;
  }
}

function listenToShare() {
  const actions = {
    "copy-link": async () => {
      writeLink();
      await copyText(linkAddress());
      return "the link is copied";
    },
    "copy-python": async () => {
      await copyText(byId("python-program").textContent);
      return "the Python code is copied";
    },
    "copy-torch": async () => {
      await copyText(byId("torch").textContent);
      return "the PyTorch code is copied";
    },
    "save-svg": () => saveMatrix("svg"),
    "save-png": () => saveMatrix("png"),
    "save-gif": saveAnimation,
  };
  for (const [id, action] of Object.entries(actions)) byId(id).addEventListener("click", () => share(action));
}
