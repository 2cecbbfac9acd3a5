// The eraser: what is wiped out of the datum in hand, and how the model fills it in.

const eraser = { on: false, mask: null, answer: null, column: 0, row: 0, keys: false };

/** What is wiped out: the pixels of a picture, or the values of a table in one row. */
function field() {
  const { pictures, width, height, size } = model.frames;
  return pictures ? { columns: width, rows: height } : { columns: size, rows: 1 };
}

/** How far the eraser reaches around its middle, in pixels. */
const reach = () => Math.max(model.frames.width, model.frames.height) / 14 + 0.5;

function setUpEraser() {
  const canvas = element("hand-x");
  const { columns, rows } = field();
  [eraser.column, eraser.row] = [Math.floor(columns / 2), Math.floor(rows / 2)];
  const under = (event) => {
    // The names of bars are below them.
    const tall = canvas.clientWidth * ratioOf();
    wipe((event.offsetX / canvas.clientWidth) * columns, Math.min(1, event.offsetY / tall) * rows);
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (!eraser.on) return;
    canvas.setPointerCapture(event.pointerId);
    eraser.keys = false;
    under(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (eraser.on && event.buttons) under(event);
  });
  canvas.addEventListener("pointerup", () => {
    if (eraser.on) fillIn.ask();
  });
  canvas.addEventListener("keydown", eraseByKey);
  for (const name of ["focus", "blur"]) canvas.addEventListener(name, drawX);
  element("erase").addEventListener("click", (event) => {
    eraser.keys = event.detail === 0; // pressed by key
    holdEraser(!eraser.on);
  });
  element("region").hidden = !model.frames.pictures;
  element("region").addEventListener("change", () => {
    const chosen = element("region").value;
    const inside = {
      left: (column) => column < columns / 2,
      right: (column) => column >= columns / 2,
      upper: (_, row) => row < rows / 2,
      lower: (_, row) => row >= rows / 2,
    }[chosen];
    element("region").value = "";
    eraser.mask = eraser.mask.map((wiped, i) => Number(wiped || inside(i % columns, Math.floor(i / columns))));
    drawX();
    fillIn.ask();
  });
  element("restore").addEventListener("click", restore);
}

/** Take the eraser in hand, or put it away. */
function holdEraser(on) {
  const canvas = element("hand-x");
  eraser.on = on;
  element("erase").setAttribute("aria-pressed", String(on));
  canvas.classList.toggle("erasing", on);
  if (!on) {
    canvas.removeAttribute("tabindex");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", canvas.dataset.what);
    drawX();
    return;
  }
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute(
    "aria-label",
    "The datum under the eraser. Arrow keys move the eraser, Space wipes out, an arrow with Shift wipes along the way.",
  );
  element("erase-hint").textContent =
    "Wipe over the datum above. Or arrow keys move the eraser, Space wipes out, Shift wipes along the way.";
  canvas.focus(); // which also brings it into view
}

function eraseByKey(event) {
  if (!eraser.on) return;
  const { columns, rows } = field();
  const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!move && event.key !== " ") return;
  event.preventDefault();
  eraser.keys = true;
  const [across, down] = move ?? [0, 0];
  eraser.column = Math.max(0, Math.min(columns - 1, eraser.column + across));
  eraser.row = Math.max(0, Math.min(rows - 1, eraser.row + down));
  if (!move || event.shiftKey) {
    wipe(eraser.column + 0.5, eraser.row + 0.5);
    fillIn.ask();
  } else drawX();
  const count = eraser.mask.reduce((sum, wiped) => sum + wiped, 0);
  const at = rows > 1 ? `Row ${eraser.row + 1}, column ${eraser.column + 1}` : nameOfValue(eraser.column);
  const here = eraser.mask[eraser.row * columns + eraser.column] ? "wiped out" : "still there";
  tell(`${at}, ${here}; ${count} of ${columns * rows} ${rows > 1 ? "pixels" : "values"} are wiped out.`);
}

/** Wipe out what is around a place, in pixels or values. */
function wipe(x, y) {
  const { columns, rows } = field();
  const i = Math.floor(x);
  if (rows > 1) {
    eraser.mask.forEach((_, k) => {
      const [column, row] = [(k % columns) + 0.5, Math.floor(k / columns) + 0.5];
      if (Math.hypot(column - x, row - y) <= reach()) eraser.mask[k] = 1;
    });
  } else if (i >= 0 && i < columns) eraser.mask[i] = 1;
  drawX();
}

function restore() {
  const { columns, rows } = field();
  eraser.mask = new Uint8Array(columns * rows);
  eraser.answer = null;
  element("imputed").hidden = true;
  if (state.datum) drawX();
}

/** The datum in hand, without what is wiped out. */
function drawX() {
  if (!state.datum) return;
  const canvas = element("hand-x");
  const { columns, rows } = field();
  element("restore").disabled = !eraser.mask.some(Boolean);
  showFrame(canvas, withBytes(state.datum.info.x), 0, { wiped: eraser.mask });
  const context = canvas.getContext("2d");
  const [w, h] = [canvas.clientWidth / columns, (canvas.clientWidth * ratioOf()) / rows];
  if (model.frames.pictures) {
    eraser.mask.forEach((wiped, i) => {
      if (!wiped) return;
      const [column, row] = [i % columns, Math.floor(i / columns)];
      context.fillStyle = (column + row) % 2 ? "#8b96a5" : WIPED;
      context.fillRect(column * w, row * h, w + 0.5, h + 0.5);
    });
  } else if (model.can.impute) showWiped();
  if (!eraser.on || !eraser.keys || document.activeElement !== canvas) return;
  const [x, y] = [(eraser.column + 0.5) * w, (eraser.row + 0.5) * h];
  for (const [thick, style] of [[4, colour("panel")], [2, colour("accent")]]) {
    context.beginPath();
    if (rows > 1) context.arc(x, y, reach() * w, 0, 2 * Math.PI);
    else context.rect(x - w / 2, 1, w, h - 2);
    context.lineWidth = thick;
    context.strokeStyle = style;
    context.stroke();
  }
}

const fillIn = new Latest(async () => {
  const datum = state.datum;
  const mask = eraser.mask;
  if (!mask.some(Boolean)) return;
  const answer = await source.ask("impute", { ...datum.spec, mask: toBase64(mask) });
  if (state.datum !== datum || eraser.mask !== mask) return;
  say();
  eraser.answer = answer;
  if (!model.frames.pictures) showWiped();
  element("imputed").hidden = false;
  const holder = element("imputed-frames");
  holder.replaceChildren();
  const figure = (frames, i, caption) => {
    const canvas = make("canvas", { role: "img", "aria-label": caption });
    holder.append(make("figure", {}, canvas, make("figcaption", {}, caption)));
    showFrame(canvas, frames, i);
  };
  figure(answer.mean, 0, "expected");
  for (let i = 0; i < answer.draws.count; i++) figure(answer.draws, i, `draw ${i + 1}`);
  const size = number(answer.effective_sample_size, 0);
  const few = answer.effective_sample_size < 10 ? ", too few to trust" : "";
  element("imputed-text").textContent =
    `What is missing, given the rest: its expectation, and draws that show how uncertain it is, by effectively ${size} samples of the posterior${few}. log p of what is left: ${number(answer.log_prob)} nats.`;
});

// The values of a table ---------------------------------------------------------------------------

const ROWS = 2000; // of the table of values

/** The values of the datum in hand by name, with a box that wipes each out. */
function showValues() {
  const { info } = state.datum;
  const [own, again] = [rowOf(withBytes(info.x), 0), rowOf(withBytes(info.reconstruction), 0)];
  const erasing = model.can.impute;
  const head = (name, hidden) => make("th", { scope: "col" }, hidden ? make("span", { class: "hidden" }, name) : name);
  element("values-head").replaceChildren(
    ...(erasing ? [head("wiped out", true)] : []),
    ...[model.frames.element, "datum", "reconstruction", ...(erasing ? ["imputed"] : [])].map((name) => head(name)),
  );
  element("values-body").replaceChildren(
    ...Array.from(own.slice(0, ROWS), (value, i) => {
      const cells = [
        make("th", { scope: "row" }, nameOfValue(i)),
        make("td", {}, written(value)),
        make("td", {}, written(again[i])),
      ];
      if (!erasing) return make("tr", {}, ...cells);
      const box = make("input", { type: "checkbox", "aria-label": `Wipe out ${nameOfValue(i)}` });
      box.addEventListener("change", () => {
        eraser.mask[i] = Number(box.checked);
        drawX();
        if (eraser.mask.some(Boolean)) fillIn.ask();
        else restore();
      });
      return make("tr", {}, make("td", {}, box), ...cells, make("td"));
    }),
  );
  element("values-more").hidden = own.length <= ROWS;
  element("values-more").textContent = `The first ${ROWS.toLocaleString()} of ${own.length.toLocaleString()}.`;
  if (erasing) showWiped();
}

/** Which values are wiped out, and what the model fills in. */
function showWiped() {
  const mean = eraser.answer && rowOf(withBytes(eraser.answer.mean), 0);
  [...element("values-body").children].forEach((row, i) => {
    row.querySelector("input").checked = Boolean(eraser.mask[i]);
    row.lastElementChild.textContent = mean && eraser.mask[i] ? written(mean[i]) : "";
  });
}
