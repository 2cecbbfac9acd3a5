// Drawing: frames of data as pictures, lines or bars, sharp on any screen and in both colour schemes.

const element = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");
const shades = new Map();
dark.addEventListener("change", () => shades.clear());

/** A colour of the style sheet. */
function colour(name) {
  if (!shades.has(name)) {
    shades.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  }
  return shades.get(name);
}

const number = (value, digits = 2) =>
  value == null ? "unknown" : value.toFixed(digits).replace("-", "−").replace(/^−(0\.?0*)$/, "$1");

/** A number of any size, in four digits. */
const few = (value) => String(Number(value.toPrecision(4)));
const written = (value) => (Number.isNaN(value) ? "padding" : few(value).replace("-", "−"));

/** Make an element with attributes and children. */
function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Fit the pixels of a canvas to its size on the screen; returns its context, in CSS pixels. */
function fit(canvas, ratio) {
  const width = canvas.clientWidth || canvas.width;
  const height = ratio ? Math.max(1, Math.round(width * ratio)) : canvas.clientHeight;
  const scale = devicePixelRatio || 1;
  if (ratio) canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return { context, width, height };
}

/** How high a frame is for its width. */
function ratioOf() {
  const { pictures, width, height } = model.frames;
  return pictures ? height / width : 0.6;
}

/** Draw one frame of a batch into a box. */
function drawFrame(context, frames, index, x, y, width, height, options = {}) {
  frames.bytes ??= fromBase64(frames.data);
  if (frames.channels) drawPicture(context, frames, index, x, y, width, height, options.smooth);
  else {
    const draw = model.frames.lines.length ? drawLines : drawBars;
    draw(context, rowOf(frames, index), x, y, width, height, options);
  }
}

const workbench = document.createElement("canvas");

function drawPicture(context, frames, index, x, y, width, height, smooth) {
  const { channels: c, height: rows, width: columns, bytes } = frames;
  const image = new ImageData(columns, rows);
  const start = index * rows * columns * c;
  for (let i = 0, n = rows * columns; i < n; i++) {
    for (let j = 0; j < 3; j++) image.data[4 * i + j] = bytes[start + i * c + (c === 3 ? j : 0)];
    image.data[4 * i + 3] = 255;
  }
  workbench.width = columns;
  workbench.height = rows;
  workbench.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = smooth || width < columns;
  context.drawImage(workbench, x, y, width, height);
}

function rowOf(frames, index) {
  frames.floats ??= new Float32Array(frames.bytes.buffer, frames.bytes.byteOffset, frames.bytes.length / 4);
  return frames.floats.subarray(index * frames.size, (index + 1) * frames.size);
}

/** Where a value lies between the bottom and the top of the bars or lines. */
function heightOf(value) {
  const { low, high, log } = model.frames;
  const scale = log ? (v) => Math.log1p(Math.max(0, v)) : (v) => v;
  return Math.max(0, Math.min(1, (scale(value) - scale(low)) / (scale(high) - scale(low))));
}

const WIPED = "#a9b3c0";

/** Bars from zero; others, if given, are drawn as marks on the same scale. */
function drawBars(context, values, x, y, width, height, { marks, wiped } = {}) {
  const zero = y + height * (1 - heightOf(0));
  context.fillStyle = colour("frame");
  context.fillRect(x, y, width, height);
  const step = width / values.length;
  const bar = step > 3 ? step * 0.8 : step;
  for (let i = 0; i < values.length; i++) {
    const left = x + i * step + (step - bar) / 2;
    if (wiped?.[i]) {
      context.fillStyle = WIPED;
      context.fillRect(left, y, bar, height);
      continue;
    }
    const top = y + height * (1 - heightOf(values[i]));
    context.fillStyle = colour("accent");
    context.fillRect(left, Math.min(top, zero), bar, Math.max(1, Math.abs(zero - top)));
    if (marks) {
      context.fillStyle = colour("ink");
      context.fillRect(left, y + (height - 2) * (1 - heightOf(marks[i])), bar, 2);
    }
  }
  context.fillStyle = colour("soft");
  context.fillRect(x, Math.min(zero, y + height - 1), width, 1);
}

/** A line for each value of a sequence over its steps; others, if given, are dashed. */
function drawLines(context, values, x, y, width, height, { marks, wiped } = {}) {
  const { lines } = model.frames;
  const steps = values.length / lines.length;
  const each = width / values.length;
  context.fillStyle = colour("frame");
  context.fillRect(x, y, width, height);
  context.fillStyle = WIPED;
  wiped?.forEach((gone, i) => gone && context.fillRect(x + i * each, y, each, height));
  const trace = (row, line, dash, thickness) => {
    context.beginPath();
    context.setLineDash(dash);
    context.lineWidth = thickness;
    for (let t = 0, drawing = false; t < steps; t++) {
      const i = t * lines.length + line;
      if (wiped?.[i] || Number.isNaN(row[i])) {
        drawing = false; // after the end of a padded sequence there is nothing
        continue;
      }
      const place = [x + ((t + 0.5) * width) / steps, y + height * (1 - heightOf(row[i]))];
      if (!drawing) context.moveTo(place[0] - 1.5, place[1]); // so that a step alone is a dot
      context.lineTo(...place);
      drawing = true;
    }
    context.stroke();
  };
  lines.forEach((name, line) => {
    context.strokeStyle = onGround(name);
    if (marks) trace(marks, line, [2, 3], 1);
    trace(values, line, [], 1.5);
  });
  context.setLineDash([]);
}

const NAMED = 24; // values, up to which the name of each fits below its bar

/** The name of a value of a table or a sequence. */
function nameOfValue(i) {
  const { columns, element: kind, lines } = model.frames;
  if (!lines.length) return columns[i] || `${kind} ${i + 1}`;
  return `step ${Math.floor(i / lines.length) + 1}, value ${(i % lines.length) + 1}`;
}

/**
 * Show one frame on a canvas of its own. If that says what it shows (data-what), bars are named
 * below, under the pointer, and to a screen reader.
 */
function showFrame(canvas, frames, index = 0, options = {}) {
  canvas.shown = { frames, index, options };
  const { pictures, size, lines } = model.frames;
  if (pictures || !canvas.dataset.what) {
    const { context, width, height } = fit(canvas, ratioOf());
    drawFrame(context, frames, index, 0, 0, width, height, options);
    return;
  }
  const names = size <= NAMED && !lines.length ? Array.from({ length: size }, (_, i) => model.frames.columns[i] || String(i + 1)) : [];
  const below = namesHeight(names);
  const wide = canvas.clientWidth || canvas.width;
  const { context, width, height } = fit(canvas, ratioOf() + below / wide);
  drawFrame(context, frames, index, 0, 0, width, height - below, options);
  drawNames(context, names, height - below, width / size, below);
  const values = rowOf(frames, index);
  const said = (i) => `${nameOfValue(i)}: ${options.wiped?.[i] ? "wiped out" : written(values[i])}`;
  if (canvas.getAttribute("role") === "img") {
    const spoken = Array.from(values.slice(0, NAMED), (_, i) => said(i)).join(", ");
    canvas.setAttribute("aria-label", `${canvas.dataset.what}: ${spoken}${size > NAMED ? ", …" : ""}`);
  }
  canvas.onpointermove = (event) => {
    const i = Math.floor((size * event.offsetX) / canvas.clientWidth);
    canvas.title = i >= 0 && i < size ? said(i) : "";
  };
}

const upright = (names) => names.every((name) => name.length <= 2);
const SMALL = "11px system-ui, sans-serif";

/** The height of the names below bars: upright if they are short, and otherwise turned. */
function namesHeight(names) {
  if (!names.length) return 0;
  if (upright(names)) return 16;
  const context = workbench.getContext("2d");
  context.font = SMALL;
  return Math.min(96, 10 + Math.ceil(Math.max(...names.map((name) => context.measureText(name).width))));
}

function drawNames(context, names, top, step, room) {
  context.fillStyle = colour("soft");
  context.font = SMALL;
  names.forEach((name, i) => {
    const middle = (i + 0.5) * step;
    if (upright(names)) {
      context.textAlign = "center";
      context.fillText(name, middle, top + 13);
      return;
    }
    let short = name;
    while (short.length > 1 && context.measureText(short).width > room - 8) short = `${short.slice(0, -2)}…`;
    context.save();
    context.translate(middle + 4, top + 5);
    context.rotate(-Math.PI / 2);
    context.textAlign = "right";
    context.fillText(short, 0, 0);
    context.restore();
  });
}

/** Show several frames side by side on one canvas. */
function showStrip(canvas, frames, numbers) {
  const gap = frames.channels ? 1 : 5;
  const { width, height } = model.frames.pictures ? model.frames : { width: 5, height: 3 };
  const { context, width: all } = fit(canvas, height / (width * numbers.length));
  const each = all / numbers.length;
  numbers.forEach((n, i) => {
    const left = Math.round(i * each);
    const right = Math.round((i + 1) * each);
    drawFrame(context, frames, n, left, 0, right - left - gap, (each * height) / width);
  });
}

/** The colour of a class. */
function colourOf(label) {
  return onGround(label == null ? colour("accent") : (model.items.colours[label] ?? colour("soft")));
}

/** A colour, light enough to be seen on a dark ground. */
function onGround(found) {
  if (!dark.matches) return found;
  return { "#000000": "#f2f2f2", "#332288": "#8f7ff0", "#661100": "#c96a55", "#0072B2": "#1e80d0" }[found] ?? found;
}

const noun = (n = 1) => `${model.frames.pictures ? "image" : "item"}${n === 1 ? "" : "s"}`;

/** The name of an item's class. */
const labelOf = (item) => model.items.names[model.items.classes[item]] ?? "unknown";

/** The name of an item: its part and number, and its class. */
function nameOf(item) {
  const { part, rows, classes } = model.items;
  const known = classes ? `, label ${labelOf(item)}` : "";
  return `${part} ${noun()} ${rows[item]}${known}`;
}

/** Say something to the reader; an error stays until it is closed or something succeeds. */
function say(sentence) {
  element("message").hidden = !sentence;
  element("message").firstElementChild.textContent = sentence ?? "";
}

let speaking;

/** Tell a screen reader, once things are quiet. */
function tell(sentence) {
  clearTimeout(speaking);
  speaking = setTimeout(() => (element("live").textContent = sentence), 500);
}
