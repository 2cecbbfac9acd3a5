// The latents: what each of them does, and samples from the prior.

const STEPS = 9; // decoded values of a latent
const FIRST = 12; // latents that are shown at first

const latents = { rows: [], shown: FIRST };

/** What a row of sliders moves: a latent, or a one-hot variable. */
function rowsOfLatents() {
  const { kind, groups, radius } = model.space;
  if (kind === "one-hot") {
    const size = model.latents.length / groups;
    return Array.from({ length: groups }, (_, g) => {
      const own = model.latents.filter(({ index }) => Math.floor(index / size) === g);
      return {
        name: groups > 1 ? `category ${g + 1}` : "category",
        variance: own.reduce((sum, latent) => sum + latent.variance, 0),
        active: own.some((latent) => latent.active),
        low: 0, high: size - 1, step: 1, count: size,
        get: (z) => z.slice(g * size, (g + 1) * size).indexOf(1),
        set: (z, value) => z.map((own, i) => (Math.floor(i / size) === g ? Number(i === g * size + value) : own)),
      };
    }).sort((a, b) => b.variance - a.variance);
  }
  return model.latents.map((latent) => ({
    ...latent,
    step: kind === "binary" ? 1 : (latent.high - latent.low) / 200,
    count: kind === "binary" ? 2 : STEPS,
    get: (z) => z[latent.index],
    set: (z, value) => (kind === "sphere" || kind === "ball" ? turned(z, latent.index, value, radius, kind) : z.with(latent.index, value)),
  }));
}

/** The point of a sphere or ball with one coordinate of this value, the others in their proportions. */
function turned(z, index, value, radius, kind) {
  const rest = Math.hypot(...z.with(index, 0));
  const onSphere = Math.sqrt(Math.max(0, radius ** 2 - value ** 2));
  const room = kind === "ball" ? Math.min(onSphere, rest) : onSphere;
  return z.map((own, i) => (i === index ? value : rest > 1e-6 ? (own / rest) * room : room / Math.sqrt(z.length - 1)));
}

function setUpLatents() {
  latents.rows = rowsOfLatents();
  const used = latents.rows.filter((row) => row.active);
  const unused = latents.rows.filter((row) => !row.active);
  const most = Math.max(...latents.rows.map((row) => row.variance), 1e-9);
  const moves = model.can.decode
    ? "Move a slider, or press one of its pictures."
    : "This file holds each latent on its own, with the others at their average.";
  element("latents-lead").textContent =
    `Each row shows what one latent does: what the model decodes as it goes from low to high, with the others where they are. ${moves} Latents whose posterior mean varies most over the ${noun(2)} come first.`;
  const build = (row) => {
    const canvas = make("canvas", { role: "img", "aria-label": `Decoded values of ${row.name}, from low to high` });
    const input = make("input", {
      type: "range", min: row.low, max: row.high, step: row.step, "aria-label": row.name, value: row.get(state.z),
    });
    // Few values are not larger than many, and the thumb is below the middle of the picture of its value.
    const share = 100 * Math.min(1, row.count / STEPS);
    canvas.style.width = `${share}%`;
    canvas.style.aspectRatio = String(row.count / ratioOf()); // until it is drawn
    input.style.width = `calc(${share * (1 - 1 / row.count)}% + 1rem)`;
    input.style.marginLeft = `calc(${share / (2 * row.count)}% - 0.5rem)`;
    const output = make("output");
    const meter = make("i");
    meter.style.width = `${(100 * row.variance) / most}%`;
    input.addEventListener("input", () => moveTo(row.set(state.z, Number(input.value))));
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      const cell = Math.min(row.count - 1, Math.floor(((event.clientX - box.left) / box.width) * row.count));
      moveTo(row.set(state.z, valueOf(row, cell)));
    });
    Object.assign(row, { canvas, input, output });
    const variance = make("small", {}, `variance ${number(row.variance)}`);
    const what = make("div", { class: "what" }, row.name, variance, make("div", { class: "meter" }, meter));
    return make("div", { class: "slider" }, what, canvas, output, input);
  };
  element("sliders").append(...used.map(build));
  if (unused.length) {
    element("unused").hidden = false;
    element("unused").open = !used.length;
    element("unused").firstElementChild.textContent =
      `${unused.length} ${unused.length === 1 ? "latent" : "latents"} that the model hardly uses (variance of the means at most 0.01)`;
    element("unused-sliders").append(...unused.map(build));
    element("unused").addEventListener("toggle", () => traverse.ask());
  }
  const more = element("sliders-more");
  const showSome = () => {
    used.forEach((row, i) => (row.canvas.parentElement.hidden = i >= latents.shown));
    more.hidden = used.length <= latents.shown;
    more.textContent = `Show all ${used.length} latents`;
  };
  more.addEventListener("click", () => {
    latents.shown = used.length;
    showSome();
    traverse.ask();
  });
  showSome();
  element("latents-reset").addEventListener("click", () => moveTo(model.start));
  element("latents-prior").addEventListener("click", () => drawOne.ask());
  element("latents-prior").hidden = !model.can.decode;
  element("samples-again").addEventListener("click", () => sampleAgain.ask());
  element("samples-again").hidden = !model.can.decode;
}

const valueOf = (row, cell) => row.low + ((row.high - row.low) * cell) / Math.max(1, row.count - 1);

/** Set z, and show what it decodes to. */
function moveTo(z) {
  state.z = z;
  for (const row of latents.rows) {
    const value = row.get(z);
    row.input.value = value;
    row.output.textContent = row.step === 1 ? String(value) : number(value);
    row.input.setAttribute("aria-valuetext", row.output.textContent);
  }
  decodeSliders.ask(z);
}

const decodeSliders = new Latest(async (z) => {
  const { frames } = await source.ask("decode", { z: [z], ...given() });
  say();
  showFrame(element("latents-frame"), frames);
  const moved = latents.rows.slice(0, 3).map((row) => `${row.name} = ${row.output.textContent}`);
  element("latents-readout").textContent = moved.join(", ") + (latents.rows.length > 3 ? ", …" : "");
  clearTimeout(latents.later);
  latents.later = setTimeout(() => traverse.ask(), 120);
});

/** Decode the rows that are on the page, each latent at several values. */
const traverse = new Latest(async () => {
  const from = state.z;
  const rows = latents.rows.filter((row) => row.canvas.offsetParent !== null);
  const size = model.frames.size;
  const most = Math.max(1, Math.floor(Math.min(800, 2 ** 23 / size)));
  for (let start = 0; start < rows.length; ) {
    let end = start;
    let count = 0;
    while (end < rows.length && (end === start || count + rows[end].count <= most)) count += rows[end++].count;
    const some = rows.slice(start, end);
    const z = some.flatMap((row) => Array.from({ length: row.count }, (_, i) => row.set(from, valueOf(row, i))));
    const { frames } = await source.ask("decode", { z, small: true, ...given() });
    let first = 0;
    for (const row of some) {
      showStrip(row.canvas, frames, Array.from({ length: row.count }, (_, i) => first + i));
      first += row.count;
    }
    start = end;
  }
});

let drawn = 0;

const drawOne = new Latest(async () => {
  drawn += 1;
  const { z } = await source.ask("sample", { n: 1, seed: 1000 + drawn, ...given() });
  moveTo(z[0]);
});

const sampleAgain = new Latest(async () => {
  drawn += 1;
  const answer = await source.ask("sample", { n: 24, seed: drawn, ...given() });
  const holder = element("samples");
  holder.replaceChildren();
  answer.z.forEach((z, i) => {
    const canvas = make("canvas");
    const button = make("button", { "aria-label": `Sample ${i + 1}`, onclick: () => moveTo(z) }, canvas);
    button.disabled = !model.can.decode;
    holder.append(button);
    showFrame(canvas, answer.frames, i);
  });
});
