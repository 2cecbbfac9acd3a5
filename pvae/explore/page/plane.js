// The plane: where the data lie, what each point decodes to, and paths between points.

const MARGIN = { left: 40, bottom: 34, right: 8, top: 8 };
const PATH = 25; // decoded points of a path
const SHOWN = 9; // of these, in its strip

const plane = {
  kind: null,
  first: 0,
  second: 1,
  answer: null,
  cursor: null,
  path: [],
  frames: null, // along the path
  only: null, // a class
  key: null,
};

function planeRequest() {
  const { kind, first, second } = plane;
  const pair = kind === "pair" ? { first, second } : {};
  return { plane: kind, ...pair, ...given(), ...(base() ? { base: base() } : {}) };
}

/** The z whose other coordinates a plane keeps: that of the sliders. */
function base() {
  return model.latents.length > 2 && model.can.decode && plane.kind !== "map" ? state.z : null;
}

function setUpPlane() {
  if (!model.planes.length) return;
  const kinds = element("plane-kind");
  for (const { id, title } of model.planes) kinds.append(make("option", { value: id }, title));
  kinds.hidden = model.planes.length < 2;
  plane.kind = model.planes[0].id;
  const active = model.latents.filter((latent) => latent.active);
  const [one, two] = active.length > 1 ? active : model.latents;
  plane.first = Math.min(one.index, two?.index ?? 0);
  plane.second = Math.max(one.index, two?.index ?? 0);
  for (const [id, chosen] of [["plane-first", plane.first], ["plane-second", plane.second]]) {
    const choices = model.pairs ?? model.latents.map((latent) => latent.index);
    for (const index of choices) {
      element(id).append(make("option", { value: index, selected: index === chosen }, `z${index + 1}`));
    }
    element(id).addEventListener("change", choosePair);
  }
  kinds.addEventListener("change", () => {
    plane.kind = kinds.value;
    clearPath();
    loadPlane.ask();
  });
  for (const radio of document.querySelectorAll("input[name=layers]")) {
    radio.addEventListener("change", drawPlane);
  }
  if (model.items.classes) {
    model.items.names.forEach((name, label) => {
      const dot = make("i");
      dot.style.background = colourOf(label);
      const button = make("button", { "aria-pressed": "false", onclick: () => isolate(label) }, dot, name);
      element("legend").append(button);
    });
  }
  const canvas = element("plane-canvas");
  canvas.addEventListener("pointermove", movePointer);
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !plane.answer) return;
    canvas.setPointerCapture(event.pointerId);
    plane.down = { x: event.clientX, y: event.clientY };
    plane.drawing = [placeOf(event)];
    movePointer(event);
  });
  canvas.addEventListener("pointerup", endPath);
  canvas.addEventListener("pointercancel", () => (plane.drawing = null));
  canvas.addEventListener("keydown", moveByKey);
  element("nearest-take").addEventListener("click", () => takeItem(plane.nearest));
  element("path-play").addEventListener("click", playPath);
  element("path-clear").addEventListener("click", clearPath);
}

function choosePair(event) {
  const [one, two] = [element("plane-first"), element("plane-second")];
  if (one.value === two.value) {
    const other = event.target === one ? two : one;
    other.value = event.target === one ? plane.first : plane.second;
  }
  // A file holds each pair once.
  if (model.pairs && Number(one.value) > Number(two.value)) [one.value, two.value] = [two.value, one.value];
  [plane.first, plane.second] = [Number(one.value), Number(two.value)];
  clearPath();
  loadPlane.ask();
}

function isolate(label) {
  plane.only = plane.only === label ? null : label;
  [...element("legend").children].forEach((button, i) => button.setAttribute("aria-pressed", String(i === plane.only)));
  drawPlane();
}

const loadPlane = new Latest(async () => {
  if (!plane.kind) return;
  const request = planeRequest();
  const key = JSON.stringify(request);
  element("plane-pair").hidden = plane.kind !== "pair" || model.latents.length < 3;
  if (key !== plane.key) {
    leadOfPlane();
    if (!plane.answer) element("plane-layers").hidden = true;
    element("plane-readout").textContent =
      plane.kind === "map" ? `Arranging ${model.items.count.toLocaleString()} ${noun(2)} by t-SNE …` : "Decoding …";
    plane.answer = await source.ask("plane", request);
    plane.key = key;
    plane.tiled = null;
    const [left, right, bottom, top] = plane.answer.extent;
    plane.cursor = [(left + right) / 2, (bottom + top) / 2];
    placeDatum.ask();
  }
  element("plane-layers").hidden = !plane.answer.tiles;
  drawPlane();
  pointAt.ask(plane.cursor);
});

function leadOfPlane() {
  const others = model.latents.length > 2 && model.can.decode ? " The other latents stay where the sliders are." : "";
  const count = model.items.count.toLocaleString();
  const coloured = model.items.classes ? " and coloured by its class" : "";
  const move = "Move over the plane, and the model decodes the z at the pointer.";
  const words = {
    pair: `Each dot is one of ${count} ${model.items.part} ${noun(2)}, at its posterior mean${coloured}. ${move}${others}`,
    components: `The plane along which the posterior means of ${count} ${model.items.part} ${noun(2)} vary most${coloured}. ${move}${others}`,
    line: `The only latent runs across; dots, the posterior means of ${count} ${model.items.part} ${noun(2)}, are spread upwards to be told apart.`,
    map: `Neighbours among ${count} ${model.items.part} ${noun(2)} are neighbours on the map; distances between far points mean nothing. A place decodes to the nearest datum${model.space.kind === "real" ? ", or between neighbours" : ""}.`,
  };
  const own = model.can.decode ? "" : " This file holds decoded points of a grid, of which the nearest is shown.";
  const { kind } = model.space;
  const ball = {
    pair: " The latents are points of a ball, which lie within the circle; a place outside it stands for the nearest point of the ball.",
  };
  const sphere = {
    pair: hasDisc()
      ? " The latents are points of a sphere, which lie within the circle; a place outside it stands for the nearest point on it."
      : " The latents are points of a circle; any other place stands for the nearest of them.",
    components: " The latents are points of a sphere; a place of the plane stands for the nearest of them.",
  };
  element("plane-lead").textContent = words[plane.kind] + own + ({ sphere, ball }[kind]?.[plane.kind] ?? "");
}

/** Whether the plane is two latents that fill a disc: of a ball, or of three or more on a sphere. */
const hasDisc = () =>
  plane.kind === "pair" && (model.space.kind === "ball" || (model.space.kind === "sphere" && model.latents.length > 2));

/** The outline of the disc. */
function disc(context, box) {
  context.beginPath();
  context.arc(box.x(0), box.y(0), box.x(model.space.radius) - box.x(0), 0, 2 * Math.PI);
}

// Geometry --------------------------------------------------------------------------------------

function boxOf(canvas, answer, margin) {
  const width = canvas.clientWidth - margin.left - margin.right;
  const height = canvas.clientHeight - margin.top - margin.bottom;
  const [left, right, bottom, top] = answer.extent;
  // A square extent stays square.
  const side = plane.kind === "line" || margin !== MARGIN ? null : Math.min(width, height);
  const w = side ?? width;
  const h = side ?? height;
  const x0 = margin.left + (width - w) / 2;
  return {
    x0, y0: margin.top, w, h,
    x: (u) => x0 + ((u - left) / (right - left)) * w,
    y: (v) => margin.top + ((top - v) / (top - bottom)) * h,
    u: (x) => left + ((x - x0) / w) * (right - left),
    v: (y) => top - ((y - margin.top) / h) * (top - bottom),
  };
}

function placeOf(event) {
  const canvas = element("plane-canvas");
  const rect = canvas.getBoundingClientRect();
  const box = boxOf(canvas, plane.answer, MARGIN);
  const [left, right, bottom, top] = plane.answer.extent;
  const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
  return [
    clamp(box.u(event.clientX - rect.left), left, right),
    clamp(box.v(event.clientY - rect.top), bottom, top),
  ];
}

// Moving ----------------------------------------------------------------------------------------

function movePointer(event) {
  if (!plane.answer || plane.playing) return;
  plane.cursor = placeOf(event);
  if (plane.drawing) plane.drawing.push(plane.cursor);
  drawPlane();
  pointAt.ask(plane.cursor);
}

function moveByKey(event) {
  if (!plane.answer) return;
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  if (event.key === "Enter") return takeItem(plane.nearest);
  if (!moves[event.key]) return;
  event.preventDefault();
  const [left, right, bottom, top] = plane.answer.extent;
  const step = event.shiftKey ? 0.1 : 0.02;
  const [across, up] = moves[event.key];
  plane.cursor = [
    Math.max(left, Math.min(right, plane.cursor[0] + across * step * (right - left))),
    Math.max(bottom, Math.min(top, plane.cursor[1] + up * step * (top - bottom))),
  ];
  drawPlane();
  pointAt.ask(plane.cursor);
}

const pointAt = new Latest(async (point) => {
  const answer = await source.ask("at", { ...planeRequest(), points: [point] });
  say();
  showPoint(answer, 0, point);
});

function showPoint(answer, index, point) {
  showFrame(element("plane-frame"), answer.frames, index);
  plane.z = answer.z[index];
  const [across, up] = plane.answer.axes;
  const places = [across && `${across} = ${number(point[0])}`, up && `${up} = ${number(point[1])}`].filter(Boolean);
  let exact = answer.items ? (answer.items[index] >= 0 ? "at the nearest datum" : "between neighbours") : "";
  if (hasDisc() && Math.hypot(...point) > model.space.radius) exact = `outside the ${model.space.kind}, so moved to its edge`;
  const words = [...places, exact].filter(Boolean).join(", ");
  element("plane-readout").textContent = words;
  plane.nearest = nearest(plane.answer.points, ...point);
  if (plane.nearest !== plane.near) showNearest.ask(plane.nearest);
  plane.near = plane.nearest;
  tell(`${words}; the nearest datum is ${nameOf(plane.nearest)}.`);
}

const showNearest = new Latest(async (item) => {
  const { frames } = await source.ask("items", { rows: [item] });
  element("nearest").hidden = false;
  showFrame(element("nearest-frame"), frames);
  element("nearest-text").textContent = `Nearest: ${nameOf(item)}`;
});

// Paths -----------------------------------------------------------------------------------------

function endPath(event) {
  const drawn = plane.drawing;
  plane.drawing = null;
  if (!drawn) return;
  if (Math.hypot(event.clientX - plane.down.x, event.clientY - plane.down.y) < 12 && drawn.length < 20) return;
  plane.path = resample(drawn, PATH);
  decodePath.ask(plane.path);
}

const decodePath = new Latest(async (points) => {
  const answer = await source.ask("at", { ...planeRequest(), points });
  plane.frames = answer;
  for (const id of ["path-strip", "path-tools"]) element(id).hidden = false;
  element("path-hint").hidden = true;
  const numbers = Array.from({ length: SHOWN }, (_, i) => Math.round((i * (PATH - 1)) / (SHOWN - 1)));
  showStrip(element("path-strip"), answer.frames, numbers);
  drawPlane();
  tell(`A path of ${PATH} points is decoded.`);
});

function clearPath() {
  plane.path = [];
  plane.frames = null;
  for (const id of ["path-strip", "path-tools"]) element(id).hidden = true;
  element("path-hint").hidden = false;
  drawPlane();
}

function playPath() {
  if (plane.playing) return;
  let step = 0;
  plane.playing = setInterval(() => {
    if (!plane.frames || step >= PATH) {
      clearInterval(plane.playing);
      plane.playing = null;
      return;
    }
    plane.cursor = plane.path[step];
    showPoint(plane.frames, step, plane.cursor);
    drawPlane();
    step += 1;
  }, 110);
}

/** Points at equal distances along a path. */
function resample(points, count) {
  const lengths = [0];
  for (let i = 1; i < points.length; i++) {
    lengths.push(lengths[i - 1] + Math.hypot(points[i][0] - points[i - 1][0], points[i][1] - points[i - 1][1]));
  }
  const all = lengths.at(-1);
  return Array.from({ length: count }, (_, k) => {
    const at = (all * k) / (count - 1);
    let i = lengths.findIndex((length) => length >= at);
    if (i < 0) i = points.length - 1; // by rounding
    if (i === 0) i = 1;
    const t = (at - lengths[i - 1]) / (lengths[i] - lengths[i - 1] || 1);
    return [0, 1].map((j) => points[i - 1][j] + t * (points[i][j] - points[i - 1][j]));
  });
}

// Drawing ---------------------------------------------------------------------------------------

function drawPlane() {
  if (!plane.answer || element("plane").hidden) return;
  const canvas = element("plane-canvas");
  const { context } = fit(canvas);
  const box = boxOf(canvas, plane.answer, MARGIN);
  const layers = document.querySelector("input[name=layers]:checked").value;
  const tiles = plane.answer.tiles && layers !== "points";
  context.fillStyle = colour("panel");
  context.fillRect(box.x0, box.y0, box.w, box.h);
  context.save();
  if (hasDisc()) {
    disc(context, box);
    context.clip();
  }
  if (tiles) drawTiles(context, box, layers === "both" ? 0.8 : 1);
  context.restore();
  context.save();
  context.beginPath();
  context.rect(box.x0, box.y0, box.w, box.h);
  context.clip();
  if (!tiles || layers === "both") drawPoints(context, box, plane.answer.points, tiles);
  if (hasDisc()) {
    disc(context, box);
    context.strokeStyle = colour("soft");
    context.stroke();
  }
  drawDatum(context, box, state.datum);
  drawPathLine(context, box, plane.drawing ?? plane.path);
  drawCursor(context, box);
  context.restore();
  context.strokeStyle = colour("line");
  context.strokeRect(box.x0 + 0.5, box.y0 + 0.5, box.w - 1, box.h - 1);
  drawAxes(context, box);
}

/** The decoded grid, composed once for a size on the screen. */
function drawTiles(context, box, opacity) {
  const { side, frames } = plane.answer.tiles;
  const scale = devicePixelRatio || 1;
  const [width, height] = [Math.round(box.w * scale), Math.round(box.h * scale)];
  if (plane.tiled?.width !== width || plane.tiled.height !== height) {
    const gap = Math.round((frames.channels ? 1 : 3) * scale);
    plane.tiled = make("canvas", { width, height });
    const own = plane.tiled.getContext("2d");
    const edge = (all, k) => Math.round((all * k) / side);
    for (let i = 0; i < side * side; i++) {
      const [column, row] = [i % side, Math.floor(i / side)];
      const [left, top] = [edge(width, column), edge(height, row)];
      drawFrame(own, frames, i, left, top, edge(width, column + 1) - left - gap, edge(height, row + 1) - top - gap, { smooth: true });
    }
  }
  context.globalAlpha = opacity;
  context.drawImage(plane.tiled, box.x0, box.y0, box.w, box.h);
  context.globalAlpha = 1;
}

function drawPoints(context, box, points, outlined) {
  const radius = Math.max(1.6, Math.min(4.5, (box.w / 560) * (70 / Math.sqrt(points.length))));
  const classes = model.items.classes;
  points.forEach(([u, v], i) => {
    const label = classes?.[i];
    if (plane.only !== null && label !== plane.only) return;
    context.beginPath();
    context.arc(box.x(u), box.y(v), radius, 0, 2 * Math.PI);
    context.fillStyle = colourOf(label);
    context.fill();
    if (outlined) {
      context.strokeStyle = "rgb(255 255 255 / 0.9)";
      context.lineWidth = 0.8;
      context.stroke();
    }
  });
}

/** The datum in hand: its mean, and the ellipse of two standard deviations. */
function drawDatum(context, box, datum) {
  const place = datum?.info.places[0];
  if (!place?.point) return;
  const [u, v] = place.point;
  context.strokeStyle = colour("accent");
  context.fillStyle = colour("panel");
  context.lineWidth = 2.5;
  if (place.ellipse) {
    const [[a, b], [, c]] = place.ellipse;
    const middle = (a + c) / 2;
    const half = Math.sqrt(((a - c) / 2) ** 2 + b ** 2);
    const angle = Math.atan2(2 * b, a - c) / 2;
    const [long, short] = [middle + half, Math.max(0, middle - half)].map((value) => 2 * Math.sqrt(value));
    context.beginPath();
    for (let k = 0; k <= 64; k++) {
      const t = (k / 64) * 2 * Math.PI;
      const [p, q] = [long * Math.cos(t), short * Math.sin(t)];
      context.lineTo(
        box.x(u + p * Math.cos(angle) - q * Math.sin(angle)),
        box.y(v + p * Math.sin(angle) + q * Math.cos(angle)),
      );
    }
    context.globalAlpha = 0.25;
    context.fill();
    context.globalAlpha = 1;
    context.stroke();
  }
  context.beginPath();
  context.arc(box.x(u), box.y(v), 6, 0, 2 * Math.PI);
  context.fill();
  context.stroke();
}

function drawPathLine(context, box, points) {
  if (points.length < 2) return;
  for (const [width, style] of [[5, colour("panel")], [2.5, colour("accent")]]) {
    context.beginPath();
    points.forEach(([u, v]) => context.lineTo(box.x(u), box.y(v)));
    context.lineWidth = width;
    context.lineJoin = "round";
    context.strokeStyle = style;
    context.stroke();
  }
}

function drawCursor(context, box) {
  const [x, y] = [box.x(plane.cursor[0]), box.y(plane.cursor[1])];
  for (const [width, style] of [[4, colour("panel")], [2, colour("ink")]]) {
    context.beginPath();
    context.moveTo(x - 9, y);
    context.lineTo(x + 9, y);
    context.moveTo(x, y - 9);
    context.lineTo(x, y + 9);
    context.lineWidth = width;
    context.strokeStyle = style;
    context.stroke();
  }
}

function drawAxes(context, box) {
  const [across, up] = plane.answer.axes;
  const [left, right, bottom, top] = plane.answer.extent;
  context.fillStyle = colour("soft");
  context.font = "12px system-ui, sans-serif";
  if (across) {
    context.textAlign = "center";
    for (const tick of ticks(left, right)) context.fillText(shortly(tick), box.x(tick), box.y0 + box.h + 14);
    context.fillText(across, box.x0 + box.w / 2, box.y0 + box.h + 29);
  }
  if (up) {
    context.textAlign = "right";
    for (const tick of ticks(bottom, top)) context.fillText(shortly(tick), box.x0 - 6, box.y(tick) + 4);
    context.save();
    context.translate(box.x0 - 29, box.y0 + box.h / 2);
    context.rotate(-Math.PI / 2);
    context.textAlign = "center";
    context.fillText(up, 0, 0);
    context.restore();
  }
}

const shortly = (value) => String(Number(value.toPrecision(6))).replace("-", "−");

/** About five round numbers between two. */
function ticks(low, high) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(k * step);
  return found;
}
