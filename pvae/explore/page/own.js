// A drawing or a picture file as the datum in hand.

function setUpPad() {
  const pad = element("pad");
  const { width, height, channels, paper } = model.frames;
  const scale = Math.max(1, Math.round(336 / Math.max(width, height)));
  pad.width = width * scale;
  pad.height = height * scale;
  pad.style.aspectRatio = `${width} / ${height}`;
  const context = pad.getContext("2d", { willReadFrequently: true });
  const ground = paper > 0.5 ? "#ffffff" : "#000000";
  element("ink").value = paper > 0.5 ? "#000000" : "#ffffff";
  element("ink-label").hidden = channels === 1;
  const clear = () => {
    context.fillStyle = ground;
    context.fillRect(0, 0, pad.width, pad.height);
  };
  clear();
  let last = null;
  let drawn = false;
  const placed = (event) => {
    const box = pad.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * pad.width, ((event.clientY - box.top) / box.height) * pad.height];
  };
  const stroke = (event) => {
    const [x, y] = placed(event);
    context.strokeStyle = element("ink").value;
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = (Number(element("brush").value) / 3) * Math.max(pad.width, pad.height) * 0.09;
    context.beginPath();
    context.moveTo(...(last ?? [x, y]));
    context.lineTo(x, y);
    context.stroke();
    last = [x, y];
  };
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    last = null;
    stroke(event);
  });
  pad.addEventListener("pointermove", (event) => {
    if (last && event.buttons) stroke(event);
  });
  pad.addEventListener("pointerup", () => {
    drawn ||= Boolean(last);
    if (last) takeDrawing();
    last = null;
  });
  element("centre").parentElement.hidden = !model.frames.centring;
  element("centre").addEventListener("change", () => {
    if (drawn) takeDrawing();
  });
  element("pad-clear").addEventListener("click", () => {
    drawn = false;
    clear();
  });
  element("file").addEventListener("change", (event) => {
    if (event.target.files[0]) readFile.ask(event.target.files[0]);
    event.target.value = "";
  });
  element("invert").addEventListener("change", () => {
    if (gallery.file) readFile.ask(gallery.file);
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    const file = event.dataTransfer.files[0];
    if (file) readFile.ask(file);
  });
}

function takeDrawing() {
  const { centring, width, height } = model.frames;
  const pad = element("pad");
  const placed = centring && element("centre").checked ? placedAsData(pad) : null;
  const middle = centring?.by === "mass" ? "centre of mass" : "outline";
  const note = placed
    ? `Your drawing was moved and scaled as the ${model.items.part} images are: by its ${middle}, and to ${few(centring.side)} of ${Math.max(width, height)} pixels. This is what the model was given.`
    : "This is what the model was given of your drawing.";
  takePixels(shrink(placed ?? pad), "your drawing", note);
}

/** The drawing, moved and scaled so that its ink lies where that of the data does. */
function placedAsData(pad) {
  const { paper, centring, width: pixels } = model.frames;
  const { width, height } = pad;
  const { data } = pad.getContext("2d").getImageData(0, 0, width, height);
  let [left, right, top, bottom, mass, across, down] = [width, 0, height, 0, 0, 0, 0];
  for (let i = 0; i < width * height; i++) {
    const ink = Math.abs(data[4 * i] / 255 - paper);
    const [x, y] = [i % width, Math.floor(i / width)];
    [mass, across, down] = [mass + ink, across + ink * (x + 0.5), down + ink * (y + 0.5)];
    if (ink <= 0.5) continue;
    [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x + 1), Math.min(top, y), Math.max(bottom, y + 1)];
  }
  if (!mass || right <= left) return null;
  const unit = width / pixels;
  const [x, y] = centring.by === "mass" ? [across / mass, down / mass] : [(left + right) / 2, (top + bottom) / 2];
  // A dot does not become as large as a digit.
  const scale = Math.min(4, (centring.side * unit) / Math.max(right - left, bottom - top));
  const to = make("canvas", { width, height });
  const context = to.getContext("2d");
  context.fillStyle = paper > 0.5 ? "#ffffff" : "#000000";
  context.fillRect(0, 0, width, height);
  context.translate(centring.x * unit, centring.y * unit);
  context.scale(scale, scale);
  context.imageSmoothingQuality = "high";
  context.drawImage(pad, -x, -y);
  return to;
}

/** The drawing at the size of the data, as the bytes of one picture. */
function shrink(pad) {
  const { width, height, channels } = model.frames;
  let from = pad;
  while (from.width >= 2 * width) from = scaled(from, Math.max(width, from.width >> 1), Math.max(height, from.height >> 1));
  const { data } = scaled(from, width, height).getContext("2d").getImageData(0, 0, width, height);
  const bytes = new Uint8Array(width * height * channels);
  for (let i = 0; i < width * height; i++) for (let c = 0; c < channels; c++) bytes[i * channels + c] = data[4 * i + c];
  return toBase64(bytes);
}

function scaled(from, width, height) {
  const to = make("canvas", { width, height });
  const context = to.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(from, 0, 0, width, height);
  return to;
}

const readFile = new Latest(async (file) => {
  choose("datum");
  if (file.size > 20 * 2 ** 20) throw new Error("The file is larger than 20 MiB: choose a smaller picture.");
  const { frame } = await source.send("picture", file);
  gallery.file = file;
  let { data } = frame;
  if (element("invert").checked) data = toBase64(fromBase64(data).map((byte) => 255 - byte));
  takePixels(data, file.name, "The picture was cropped and scaled to the size of the data. This is what the model was given.");
});
