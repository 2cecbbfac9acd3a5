// Numbers: the losses, the evaluation, and what the run was made with.

function setUpNumbers() {
  const { curves, evaluation, settings } = model.numbers;
  element("curves").hidden = !curves;
  if (evaluation) showEvaluation(evaluation);
  else element("evaluation").append(
    make("h2", {}, "Evaluation"),
    make("p", { class: "hint" }, "There is none in the run folder: pvae evaluate writes it."),
  );
  element("settings").hidden = !settings;
  for (const [name, value] of settings ?? []) {
    element("settings-table").append(make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, value)));
  }
  element("evaluation").hidden = !evaluation && !settings;
}

function table(caption, columns, rows) {
  const head = make("tr", {}, ...columns.map((name) => make("th", { scope: "col" }, name)));
  const body = rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, cell))));
  return make("div", { class: "scroll" }, make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body)));
}

function showEvaluation({ caption, columns, rows, evidence }) {
  element("evaluation").append(make("h2", {}, "Evaluation"), table(caption, columns, rows));
  if (evidence.length) element("evaluation").append(table("The evidence", ["estimate", "items", "nats per datum"], evidence));
}

/** The −ELBO by epoch, without the first epochs that would hide all others. */
function drawCurves() {
  const curves = model.numbers.curves;
  if (!curves) return;
  const names = Object.keys(curves.lines);
  const values = names.flatMap((name) => curves.lines[name].filter((value) => value != null)).sort((a, b) => a - b);
  if (!values.length) return;
  const width = Math.max(280, Math.min(740, element("curves").clientWidth));
  const top = 20 * names.length + 12; // below the legend
  const height = Math.min(320, width * 0.6) + top;
  const low = values[0];
  const high = Math.max(values[Math.floor(0.97 * (values.length - 1))], low + 1e-6);
  const first = curves.epochs[0];
  const last = Math.max(curves.epochs.at(-1), first + 1);
  const x = (epoch) => 56 + ((width - 70) * (epoch - first)) / (last - first);
  const y = (value) => top + ((height - 40 - top) * (high - value)) / (high - low);
  const parts = [`<clipPath id="within"><rect x="56" y="${top - 4}" width="${width - 70}" height="${height - 34 - top}"/></clipPath>`];
  const text = (left, top, words, anchor) =>
    parts.push(`<text x="${left.toFixed(1)}" y="${top.toFixed(1)}" text-anchor="${anchor}" fill="${colour("soft")}" font-size="12">${words}</text>`);
  for (const tick of ticks(low, high)) {
    parts.push(`<path d="M56 ${y(tick).toFixed(1)}H${width - 14}" stroke="${colour("line")}"/>`);
    text(50, y(tick) + 4, shortly(tick), "end");
  }
  for (const tick of ticks(first, last).filter(Number.isInteger)) text(x(tick), height - 24, String(tick), "middle");
  text((width + 42) / 2, height - 6, "epoch", "middle");
  if (curves.kept != null) {
    parts.push(`<path d="M${x(curves.kept).toFixed(1)} ${top}V${height - 40}" stroke="${colour("soft")}" stroke-dasharray="3 3"/>`);
  }
  const strokes = { validation: colour("accent"), training: colour("soft") };
  names.forEach((name, i) => {
    const points = curves.lines[name]
      .map((value, k) => [curves.epochs[k], value])
      .filter(([, value]) => value != null)
      .map(([epoch, value]) => `${x(epoch).toFixed(1)},${y(value).toFixed(1)}`);
    parts.push(`<polyline points="${points.join(" ")}" clip-path="url(#within)" fill="none" stroke="${strokes[name]}" stroke-width="2" stroke-linejoin="round"/>`);
    const final = number(curves.lines[name].findLast((value) => value != null));
    parts.push(`<rect x="56" y="${8 + 20 * i}" width="16" height="3" fill="${strokes[name]}"/>`);
    text(80, 14 + 20 * i, `${name}, at the end ${final}`, "start");
  });
  element("curves-plot").innerHTML =
    `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="−ELBO by epoch of ${names.join(" and ")}">${parts.join("")}</svg>`;
  const kept = curves.kept == null ? "" : ` The weights are those of epoch ${curves.kept}, the dashed line.`;
  element("curves-hint").textContent = `−ELBO in nats per datum, lower is better.${kept}`;
}
