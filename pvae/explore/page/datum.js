// A datum in hand: one of the data, a picture file or a drawing, and what the model says of it.

const PAGE = matchMedia("(max-width: 60rem)").matches ? 20 : 48; // data that the gallery shows at a time

const gallery = { shown: PAGE, scores: null, taken: null };

function setUpDatum() {
  const { can, frames } = model;
  const own = can.draw ? ", or draw your own below" : "";
  const odd = can.evidence
    ? `The ${noun(2)} that the model finds odd come first: it gives them the least ${evidenceName()}. Below each is that number in nats; ≥ marks a lower bound.`
    : `This model has no estimate of ${evidenceName()}, so none of the ${noun(2)} is called odd. ${model.refusals.evidence}`;
  const binary = {
    dynamic: " Their grey values became 0 or 1 at random, as in training.",
    static: " Their grey values became 0 or 1 at random, as in training.",
    threshold: " Their grey values became 0 or 1, whichever is nearer, as in training.",
  };
  element("datum-lead").textContent =
    `${odd}${binary[model.items.binarization] ?? ""} Choose one to see what the model makes of it${own}.`;
  element("hand-hint").textContent =
    `Choose one of the ${noun(2)} to see its reconstruction, its posterior${can.evidence ? ` and its ${evidenceName()}` : ""}.`;
  element("order").parentElement.hidden = !can.evidence;
  if (!can.evidence) element("order").value = "number";
  element("order").addEventListener("change", () => showGallery.ask());
  element("gallery-more").addEventListener("click", () => {
    gallery.shown += PAGE;
    showGallery.ask();
  });
  element("hand-move").addEventListener("click", () => {
    moveTo(state.datum.info.z);
    choose("latents");
  });
  element("hand-move").hidden = !can.decode;
  element("own").hidden = !can.draw;
  element("eraser").hidden = !can.impute;
  if (!frames.pictures) {
    element("values").hidden = false;
    element("values").open = frames.size <= NAMED;
    document.querySelector("#datum .split").classList.add("even");
    element("gallery").classList.add("wide");
    const marks = frames.lines.length ? "dashed is" : "lines mark";
    element("hand-marks").textContent = `reconstruction; ${marks} the datum`;
  }
  if (can.draw) setUpPad();
  if (can.impute) setUpEraser();
}

/** What is estimated: given the label, for a conditional model. */
const evidenceName = () => (model.labels ? "log p(x|y)" : "log p(x)");

// The gallery -----------------------------------------------------------------------------------

let polling = false;

/** Ask for scores until all are there. */
async function pollScores() {
  if (polling || !model.can.evidence) return;
  polling = true;
  let shown = 0;
  try {
    for (;;) {
      const found = await source.ask("scores");
      gallery.scores = found;
      const done = found.log_prob.length;
      const all = done === found.total;
      element("scoring").textContent = all ? "" : `Scoring the ${noun(2)}: ${done} of ${found.total}`;
      if (all || found.error || done > 2 * shown) {
        shown = done;
        showGallery.ask();
        showNumbers();
      }
      if (found.error) say(found.error);
      if (all || found.error) return;
      await new Promise((done) => setTimeout(done, 400));
    }
  } catch (error) {
    say(error.message);
  } finally {
    polling = false;
  }
}

const showGallery = new Latest(async () => {
  const by = element("order").value;
  const known = gallery.scores?.log_prob ?? [];
  const scored = known.length;
  const order = model.items.rows.map((_, i) => i);
  if (by !== "number") {
    const sign = by === "odd" ? 1 : -1;
    order.splice(scored);
    order.sort((a, b) => sign * ((known[a] ?? -Infinity) - (known[b] ?? -Infinity)));
  }
  const some = order.slice(0, gallery.shown);
  element("gallery-more").hidden = order.length <= some.length;
  if (!some.length) return;
  const holder = element("gallery");
  for (let start = 0; start < some.length; start += 200) {
    const part = some.slice(start, start + 200);
    const { frames } = await source.ask("items", { rows: part });
    if (start === 0) holder.replaceChildren();
    part.forEach((item, i) => {
      const canvas = make("canvas");
      const bound = gallery.scores?.pareto_k[item] > 0.7 ? "≥ " : "";
      const score = known[item] == null ? "" : `${bound}${number(known[item], Math.abs(known[item]) < 1000 ? 1 : 0)}`;
      const button = make(
        "button",
        {
          "aria-label": `${nameOf(item)}${score ? `, ${evidenceName()} ${score}` : ""}`,
          "aria-pressed": String(gallery.taken === item),
          title: nameOf(item),
          "data-item": item,
          onclick: () => takeItem(item),
        },
        canvas,
        ...(model.items.classes ? [make("span", {}, labelOf(item))] : []),
        make("span", {}, score || `no. ${model.items.rows[item]}`),
      );
      holder.append(button);
      showFrame(canvas, frames, i);
    });
  }
});

// In hand ---------------------------------------------------------------------------------------

function takeItem(item) {
  if (item == null) return;
  choose("datum");
  mark(item);
  takeDatum.ask({ spec: { item }, title: nameOf(item) });
}

/** Show in the gallery which of the data is in hand, if any. */
function mark(item) {
  gallery.taken = item;
  for (const button of element("gallery").children) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.item) === item));
  }
}

function takePixels(frame, title, note) {
  mark(null);
  takeDatum.ask({ spec: { pixels: frame, ...given() }, title, note });
}

const takeDatum = new Latest(async ({ spec, title, note }) => {
  const info = await source.ask("datum", { ...spec, planes: planeSpec() });
  say();
  state.datum = { spec, title, note, info, evidence: null };
  element("hand-note").hidden = !note;
  element("hand-note").textContent = note ?? "";
  const name = element("hand-title");
  name.textContent = title[0].toUpperCase() + title.slice(1);
  element("hand-hint").hidden = true;
  element("hand-body").hidden = false;
  element("hand").classList.add("filled");
  restore();
  showHand();
  drawPlane();
  if (matchMedia("(max-width: 60rem)").matches) element("hand").scrollIntoView();
  findEvidence.ask(state.datum);
});

/** The plane that is shown, if there is one, on which a datum is placed. */
function planeSpec() {
  if (!plane.kind) return [];
  const { plane: name, first, second } = planeRequest();
  return [{ plane: name, ...(name === "pair" ? { first, second } : {}) }];
}

/** Where the datum lies on another plane. */
const placeDatum = new Latest(async () => {
  if (!state.datum) return;
  const datum = state.datum;
  const { places } = await source.ask("datum", { ...datum.spec, planes: planeSpec() });
  datum.info.places = places;
  drawPlane();
});

const findEvidence = new Latest(async (datum) => {
  if (!model.can.evidence) return;
  showNumbers();
  const evidence = await source.ask("evidence", datum.spec);
  if (state.datum !== datum) return;
  datum.evidence = evidence;
  showNumbers();
});

function showHand() {
  const { info } = state.datum;
  drawX();
  const bars = model.frames.pictures ? {} : { marks: rowOf(withBytes(info.x), 0) };
  showFrame(element("hand-again"), info.reconstruction, 0, bars);
  if (!model.frames.pictures) showValues();
  showNumbers();
  showPosterior();
}

const withBytes = (frames) => {
  frames.bytes ??= fromBase64(frames.data);
  return frames;
};

/** log p(x), how sure it is, and where it lies among the data. */
function showNumbers() {
  const datum = state.datum;
  if (!datum) return;
  const rows = [];
  const evidence = datum.evidence;
  const { classified } = datum.info;
  if (datum.spec.item != null && model.items.classes) rows.push(["label", labelOf(datum.spec.item)]);
  if (classified) {
    const sure = number(100 * classified.probability, 0);
    rows.push(["classified", `as ${model.labels.names[classified.label]}, with probability ${sure} %`]);
  } else if (datum.spec.y != null) {
    rows.push(["label", `${model.labels.names?.[datum.spec.y] ?? "numbers"}, as given at the top of the page`]);
  }
  if (!model.can.evidence) rows.push([evidenceName(), "none, as said above"]);
  if (model.can.evidence && !evidence) rows.push([evidenceName(), "estimating …"]);
  if (evidence) {
    const { log_prob: value, standard_error: error, pareto_k: k, samples } = evidence;
    const sure = error == null ? "" : ` ± ${number(error, error < 0.01 ? 3 : 2)}`;
    rows.push([evidenceName(), `${evidence.reliable ? "" : "≥ "}${number(value)}${sure} nats`]);
    const verdict = evidence.reliable
      ? "reliable"
      : make("span", { class: "warn" }, "above 0.7: a lower bound, its error unknown");
    rows.push(["k-hat", make("span", {}, `${number(k)}, `, verdict)]);
    rows.push(["estimated by", `${samples.toLocaleString()} importance samples, effectively ${number(evidence.effective_sample_size, 0)}`]);
    const scores = gallery.scores?.log_prob.filter((own) => own != null) ?? [];
    const own = gallery.scores?.log_prob[datum.spec.item] ?? evidence.score_log_prob;
    if (scores.length && own != null) {
      const others = datum.spec.item == null ? scores.length : Math.max(1, scores.length - 1);
      const share = (100 * scores.filter((other) => other > own).length) / others;
      const words = share > 99 && share < 100 ? "more than 99" : share.toFixed(0);
      rows.push(["odder than", `${words} % of ${others.toLocaleString()} ${datum.spec.item == null ? "" : "other "}${model.items.part} ${noun(2)}`]);
      showHistogram(scores, own);
    }
  }
  element("hand-numbers").replaceChildren(
    ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]),
  );
}

/** The anomaly scores −log p(x) of the data, and where the datum in hand is among them. */
function showHistogram(scores, own) {
  const canvas = element("hand-histogram");
  canvas.hidden = false;
  const { context, width, height } = fit(canvas);
  const sorted = scores.map((value) => -value).sort((a, b) => a - b);
  const low = sorted[0];
  const high = Math.max(sorted.at(-1), low + 1e-6);
  const bins = 32;
  const counts = new Array(bins).fill(0);
  for (const value of sorted) counts[Math.min(bins - 1, Math.floor((bins * (value - low)) / (high - low)))] += 1;
  const most = Math.max(...counts);
  const floor = height - 18;
  const step = (width - 12) / bins;
  context.fillStyle = colour("soft");
  context.globalAlpha = 0.4;
  counts.forEach((count, i) => {
    const tall = ((floor - 8) * count) / most;
    context.fillRect(6 + i * step, floor - tall, step - 1, tall);
  });
  context.globalAlpha = 1;
  const at = 6 + (width - 12) * Math.max(0, Math.min(1, (-own - low) / (high - low)));
  context.fillStyle = colour("accent");
  context.fillRect(at - 1.5, 2, 3, floor - 2);
  context.fillStyle = colour("soft");
  context.font = "12px system-ui, sans-serif";
  context.fillText("typical", 6, height - 4);
  context.textAlign = "right";
  const beyond = -own > high ? "odd, and beyond all" : "odd";
  context.fillText(beyond, width - 6, height - 4);
  canvas.setAttribute("aria-label", `Anomaly scores of the data, from typical to odd; this one is ${number(-own)}`);
}

/** The posterior: on the plane, and as bars of its mean and two standard deviations. */
function showPosterior() {
  const { info } = state.datum;
  const small = element("hand-plane");
  const place = info.places[0];
  small.hidden = !place?.point || !plane.answer;
  if (!small.hidden) {
    const { context, width, height } = fit(small);
    context.fillStyle = colour("frame");
    context.fillRect(0, 0, width, height);
    const box = boxOf(small, plane.answer, { left: 6, right: 6, top: 6, bottom: 6 });
    drawPoints(context, box, plane.answer.points, false);
    drawDatum(context, box, state.datum);
  }
  const canvas = element("hand-bars");
  const rows = model.latents.filter((latent) => latent.active).slice(0, 24);
  const some = rows.length ? rows : model.latents.slice(0, 24);
  const each = 18;
  const { context, width } = fit(canvas, (some.length * each + 6) / canvas.clientWidth);
  const low = Math.min(...some.map(({ index, low }) => Math.min(low, info.mean[index] - 2 * info.stddev[index])));
  const high = Math.max(...some.map(({ index, high }) => Math.max(high, info.mean[index] + 2 * info.stddev[index])));
  const x = (value) => 44 + ((width - 52) * (value - low)) / (high - low);
  context.font = "12px system-ui, sans-serif";
  context.fillStyle = colour("line");
  if (low < 0 && high > 0) context.fillRect(x(0), 0, 1, some.length * each);
  some.forEach(({ name, index }, i) => {
    const y = i * each + each / 2;
    const [mean, sd] = [info.mean[index], info.stddev[index]];
    context.fillStyle = colour("soft");
    context.fillText(name, 4, y + 4);
    context.fillStyle = colour("accent");
    context.globalAlpha = 0.35;
    context.fillRect(x(mean - 2 * sd), y - 4, Math.max(2, x(mean + 2 * sd) - x(mean - 2 * sd)), 8);
    context.globalAlpha = 1;
    context.fillRect(x(mean) - 1.5, y - 6, 3, 12);
  });
  const spoken = some.map(({ name, index }) => `${name} ${number(info.mean[index])} ± ${number(info.stddev[index])}`);
  canvas.setAttribute("aria-label", `Posterior mean and standard deviation: ${spoken.join(", ")}`);
  const beyond = model.latents.length - some.length;
  const [across, up] = small.hidden ? [] : plane.answer.axes;
  const axes = across ? `Above, ${across} runs across${up ? `, ${up} up` : ""}. ` : "";
  const ellipse = place?.ellipse ? "The ellipse and the bars are" : "The bars are";
  element("hand-posterior").textContent =
    `${axes}${ellipse} the mean and two standard deviations${beyond > 0 ? `; ${beyond} more ${beyond === 1 ? "latent is" : "latents are"} left out` : ""}.`;
}
