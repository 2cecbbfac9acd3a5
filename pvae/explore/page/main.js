// The page: its views, the label that is given, and what is drawn anew when its size changes.

const VIEWS = ["plane", "latents", "datum", "numbers"];
const state = { z: null, y: null, datum: null, view: null };

let source;
let model;

/** The label of a request, if the model is conditional. */
const given = () => (state.y == null ? {} : { y: state.y });

function choose(view) {
  if (view !== state.view) scrollTo(0, 0);
  state.view = view;
  for (const name of VIEWS) {
    const tab = element(`tab-${name}`);
    element(name).hidden = name !== view;
    tab.setAttribute("aria-selected", String(name === view));
    tab.tabIndex = name === view ? 0 : -1;
  }
  history.replaceState(null, "", `${location.pathname}${location.search}#${view}`);
  refresh();
}

/** Draw what the current view shows. */
function refresh() {
  if (state.view === "plane") loadPlane.ask();
  if (state.view === "latents") {
    moveTo(state.z);
    if (!element("samples").childElementCount) sampleAgain.ask();
  }
  if (state.view === "datum") {
    if (!element("gallery").childElementCount) showGallery.ask();
    pollScores();
    if (state.datum) showHand();
    if (state.datum && plane.kind && !plane.answer) loadPlane.ask();
  }
  if (state.view === "numbers") drawCurves();
}

function setUpLabel() {
  const { labels } = model;
  if (!labels) return;
  state.y = labels.start;
  const give = (y) => {
    state.y = y;
    element("samples").replaceChildren();
    clearPath();
    refresh();
    if (state.datum?.spec.pixels) takePixels(state.datum.spec.pixels, state.datum.title, state.datum.note);
  };
  if (labels.names) {
    labels.names.forEach((name, i) => element("label").append(make("option", { value: i }, name)));
    element("given").hidden = false;
    element("label").addEventListener("change", () => give(Number(element("label").value)));
    return;
  }
  if (!model.can.decode) return; // a file holds what is decoded given the average label
  element("given-values").hidden = false;
  labels.start.forEach((value, i) => {
    const [low, high] = [labels.low[i], labels.high[i]];
    const step = 10 ** Math.floor(Math.log10(Math.max(high - low, 1e-6) / 20));
    const title = `From ${few(low)} to ${few(high)} in the data`;
    const input = make("input", { type: "number", step: "any", value: few(value), "aria-label": `Label ${i + 1}`, title });
    input.addEventListener("change", () => {
      if (input.value !== "") give(state.y.with(i, Number(input.value)));
    });
    // The arrows move by a round step, from whatever value.
    input.addEventListener("keydown", (event) => {
      const move = { ArrowUp: step, ArrowDown: -step }[event.key];
      if (!move) return;
      event.preventDefault();
      input.value = few(Number(input.value) + move);
      give(state.y.with(i, Number(input.value)));
    });
    element("given-values").append(input);
  });
}

function setUpTabs() {
  const shown = VIEWS.filter((view) => view !== "plane" || model.planes.length);
  element("tab-plane").hidden = !model.planes.length;
  for (const view of shown) element(`tab-${view}`).addEventListener("click", () => choose(view));
  document.querySelector("[role=tablist]").addEventListener("keydown", (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!move) return;
    const next = shown[(shown.indexOf(state.view) + move + shown.length) % shown.length];
    choose(next);
    element(`tab-${next}`).focus();
  });
  const asked = location.hash.slice(1);
  choose(shown.includes(asked) ? asked : shown[0]);
}

/** Draw all frames again, in the size and the colours of now. */
function redraw() {
  for (const canvas of document.querySelectorAll("canvas")) {
    if (canvas.shown && canvas.offsetParent) showFrame(canvas, canvas.shown.frames, canvas.shown.index, canvas.shown.options);
  }
  [...element("legend").children].forEach((button, label) => (button.firstChild.style.background = colourOf(label)));
  plane.tiled = null;
  drawPlane();
  if (state.view === "latents") traverse.ask();
  if (state.view === "datum" && state.datum) showHand();
  if (state.view === "numbers") drawCurves();
}

async function start() {
  const held = element("payload");
  source = held ? await Recorded.read(held) : new Live();
  model = await source.ask("model");
  state.z = model.start;
  const [prior, likelihood, posterior] = model.parts;
  element("parts").textContent = `data ${model.data} · prior ${prior} · likelihood ${likelihood} · posterior ${posterior} · ${model.latents.length} ${model.latents.length === 1 ? "latent" : "latents"}`;
  element("waiting").hidden = true;
  setUpLabel();
  setUpPlane();
  setUpLatents();
  setUpDatum();
  setUpNumbers();
  setUpTabs();
  let later;
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // the bars of a phone's browser come and go
    width = innerWidth;
    clearTimeout(later);
    later = setTimeout(redraw, 100);
  });
  dark.addEventListener("change", redraw);
  document.documentElement.dataset.ready = "true";
}

element("message").lastElementChild.addEventListener("click", () => say());
start().catch((error) => {
  element("waiting").hidden = true;
  say(error.message);
});
