"""The tables of a study, as Markdown, LaTeX and CSV, and its files."""

import csv as csv_files
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from scipy import stats

from pvae.storage import files
from pvae.studies.metrics import METRICS, Measures
from pvae.studies.results import COSTS, CellResult, Comparison, Results
from pvae.studies.statistics import LEVEL, Interval
from pvae.studies.study import Study

DASH = "–"  # where there is no value
_PERCENT = f"{100 * LEVEL:g} %"


class _Column(NamedTuple):
    """A column of a table.

    Attributes:
        heading: with its unit.
        cells: the text of each row.
        best: the rows in bold.
        over: a heading over several columns, empty for none.
    """

    heading: str
    cells: list[str]
    best: frozenset[int] = frozenset()
    over: str = ""


def write(study: Study, results: Results) -> None:
    """Write table.md, table.tex, table.csv and study.json into the study folder.

    Raises:
        OSError: if they cannot be written; older files are then unchanged.
    """
    results = replace(results, notes=(_settings(study.plan.measures), *results.notes))
    record = json.dumps(results.as_dict(), indent=1, ensure_ascii=False, allow_nan=False)
    contents = {
        "table.md": markdown(results),
        "table.tex": latex(results),
        "table.csv": csv(results),
        "study.json": record + "\n",
    }
    for name, text in contents.items():
        files.write(study.path / name, text.encode())


def comparable(results: Results, metric: str) -> list[list[CellResult]]:
    """The finished cells that compare with each other in a metric, group by group.

    Bits per dimension compare whatever the likelihood is a density of, if the data are the same.
    """
    found: dict[str, list[CellResult]] = {}
    for cell in results.cells:
        if cell.seeds:
            key = cell.data if metric == "bits_per_dim" else cell.group
            found.setdefault(key, []).append(cell)
    return [*found.values()]


def compared(results: Results) -> list[str]:
    """The metrics of which one direction is better."""
    return [m for m in results.metrics if METRICS[m].lower_is_better is not None]


def titled(metric: str) -> str:
    """The title of a metric, with its unit."""
    return with_unit(METRICS[metric].title, METRICS[metric].unit)


def with_unit(title: str, unit: str) -> str:
    """A heading with its unit, if it has one."""
    return f"{title} ({unit})" if unit else title


def markdown(results: Results) -> str:
    """The tables as Markdown: for each group its values, then its differences."""
    text = []
    for group, cells in _groups(results).items():
        text += [f"**{_markdown_text(group)}**", _markdown_text(_caption(cells)) + "."]
        text.append(_markdown_table(_values(results, cells)))
        if differences := _differences(results, cells):
            text += [_markdown_text(_caption_of_differences()) + ".", _markdown_table(differences)]
    if failures := _failures(results):
        text += ["**Failed runs**", _markdown_table(failures)]
    if unfinished := _unfinished(results):
        text.append(_markdown_text(unfinished))
    text += [_markdown_text(note) for note in results.notes]
    return "\n\n".join(text) + "\n"


def latex(results: Results) -> str:
    r"""The tables as LaTeX, a `table` each, to ``\input`` into a paper that uses booktabs.

    Letters outside of Latin and Greek in names need XeLaTeX or LuaLaTeX.
    """
    text = [r"% \usepackage{booktabs}"]
    for group, cells in _groups(results).items():
        caption = f"{group}. {_caption(cells)}."
        text.append(_latex_table(_values(results, cells), caption))
        if differences := _differences(results, cells):
            caption = f"{group}. {_caption_of_differences()}."
            text.append(_latex_table(differences, caption))
    if failures := _failures(results):
        text.append(_latex_table(failures, "Failed runs.", wide_last=True))
    if unfinished := _unfinished(results):
        text.append(f"% {_latex_text(unfinished)}")
    text += [f"% {_latex_text(note)}" for note in results.notes]
    return "\n\n".join(text) + "\n"


def csv(results: Results) -> str:
    """All numbers in full, a row a cell; what is unknown is empty."""
    by_cell = {(c.metric, c.cell): c for c in results.comparisons}
    headings = ["group", "cell", "seeds", "failed"]
    headings += [f"{cost} (s)" if cost.endswith("seconds") else cost for cost in COSTS]
    for metric in results.metrics:
        unit = METRICS[metric].unit
        parts = ("mean", "standard error", "low", "high")
        headings += [with_unit(f"{metric} {part}", unit) for part in parts]
    for metric in compared(results):
        unit = METRICS[metric].unit
        parts = ("", " standard error", " low", " high")
        headings.append(f"{metric} reference")
        headings += [with_unit(f"{metric} difference{part}", unit) for part in parts]
        headings += [with_unit(f"{metric} doubt", unit), f"{metric} p", f"{metric} verdict"]
    headings.append("failures")
    text = io.StringIO()
    writer = csv_files.writer(text, lineterminator="\n")
    writer.writerow(headings)
    for cell in sorted(results.cells, key=lambda cell: not cell.seeds):
        row = [cell.group, cell.name, len(cell.seeds), len(cell.failures)]
        row += [_exact(cell.costs[cost]) for cost in COSTS]
        for metric in results.metrics:
            row += [_exact(value) for value in cell.estimates[metric][:4]]
        for metric in compared(results):
            row += _comparison_row(results, by_cell.get((metric, cell.name)), cell, metric)
        row.append("; ".join(f"seed {seed}: {why}" for seed, why in cell.failures.items()))
        writer.writerow(row)
    return text.getvalue()


def _comparison_row(
    results: Results, found: Comparison | None, cell: CellResult, metric: str
) -> list[str]:
    if found is None:
        role = role_of(results, metric, cell.name)
        return [cell.name if role else "", *[""] * 6, role]
    numbers = [*found.difference.interval[:4], found.doubt, found.p_adjusted]
    return [found.reference, *map(_exact, numbers), found.verdict]


def role_of(results: Results, metric: str, cell: str) -> str:
    """What a cell is in the comparisons of a metric.

    Returns:
        ``"best"`` or ``"baseline"`` of a reference, and an empty string of any other cell. A
        baseline that is the best is called the best.
    """
    if not any(c.reference == cell and c.metric == metric for c in results.comparisons):
        return ""
    for group in comparable(results, metric):
        means = {other.name: other.estimates[metric].mean for other in group}
        if cell in means:
            known = [mean for mean in means.values() if not math.isnan(mean)]
            best = (min if METRICS[metric].lower_is_better else max)(known, default=math.nan)
            return "best" if means[cell] == best else "baseline"
    return ""


# Content ------------------------------------------------------------------------------------------


def _groups(results: Results) -> dict[str, list[CellResult]]:
    return {group: cells for group, cells in results.groups.items() if cells[0].seeds}


def _settings(measures: Measures) -> str:
    """How the numbers were measured, in a sentence."""
    text = f"Averages over items of the test data, random draws of seed {measures.seed}"
    if {"log_prob", "bits_per_dim"} & set(measures.metrics):
        text += f"; log p(x) is estimated by {measures.num_samples:,} importance samples"
    if measures.ais_items:
        text += f" and checked by AIS for {measures.ais_items:,} items"
    return text + "."


def _caption(cells: Sequence[CellResult]) -> str:
    counts = sorted({len(cell.seeds) for cell in cells})
    if counts == [1]:
        return "One seed a cell, so that no error over seeds is known"
    factors = [
        f"± {stats.t.ppf((1 + LEVEL) / 2, count - 1):.2f} standard errors of {count} seeds"
        for count in counts
        if count > 1
    ]
    return f"Mean ± standard error over seeds; {_PERCENT} t intervals are {', '.join(factors)}"


def _caption_of_differences() -> str:
    return (
        f"Paired differences from the reference with {_PERCENT} intervals over seeds and items, "
        "and p values adjusted for the number of cells (Holm)"
    )


def _values(results: Results, cells: Sequence[CellResult]) -> list[_Column]:
    columns = [_Column("cell", [cell.name for cell in cells])]
    columns.append(_Column("seeds", [_count(cell) for cell in cells]))
    for metric in results.metrics:
        arrow = {True: " ↓", False: " ↑", None: ""}[METRICS[metric].lower_is_better]
        texts = [estimate(c.estimates[metric], METRICS[metric].digits) for c in cells]
        columns.append(_Column(titled(metric) + arrow, texts, _best(results, metric, cells)))
    columns.append(_Column("parameters", [_number(c.costs["parameters"], 0) for c in cells]))
    seconds = [cell.costs["train_seconds"] for cell in cells]
    unit, factor = _unit_of_time(seconds)
    columns.append(_Column(f"time ({unit})", [_number(s / factor, 1) for s in seconds]))
    return columns


def _best(results: Results, metric: str, cells: Sequence[CellResult]) -> frozenset[int]:
    """The rows with the best value, as shown, of all cells that compare."""
    lower = METRICS[metric].lower_is_better
    if lower is None:
        return frozenset()
    digits, found = METRICS[metric].digits, set()
    for group in comparable(results, metric):
        shown = {cell.name: round(cell.estimates[metric].mean, digits) for cell in group}
        known = {value for value in shown.values() if not math.isnan(value)}
        if len(known) > 1:
            best = min(known) if lower else max(known)
            found |= {name for name, value in shown.items() if value == best}
    return frozenset(i for i, cell in enumerate(cells) if cell.name in found)


def _differences(results: Results, cells: Sequence[CellResult]) -> list[_Column]:
    """The columns of the differences, none if nothing compares."""
    columns = [_Column("cell", [cell.name for cell in cells])]
    for metric in compared(results):
        found = {c.cell: c for c in results.comparisons if c.metric == metric}
        rows = [found.get(cell.name) for cell in cells]
        roles = [role_of(results, metric, cell.name) for cell in cells]
        if not any(rows) and not any(roles):
            continue
        over, digits = titled(metric), METRICS[metric].digits
        said = [row.verdict if row else role or DASH for row, role in zip(rows, roles, strict=True)]
        columns += [
            _Column("difference", [_difference(row, digits) for row in rows], over=over),
            _Column("p", [_p_value(row) for row in rows], over=over),
        ]
        if any(row and row.doubt != 0 for row in rows):
            texts = [_doubt(row, digits) for row in rows]
            columns.append(_Column("doubt", texts, over=over))
        columns.append(_Column("verdict", said, over=over))
    return columns if len(columns) > 1 else []


def _failures(results: Results) -> list[_Column]:
    rows = [
        (cell.name, str(seed), why) for cell in results.cells for seed, why in cell.failures.items()
    ]
    headings = ("cell", "seed", "reason")
    return [
        _Column(heading, [*texts])
        for heading, texts in zip(headings, zip(*rows, strict=True), strict=False)
    ]


def _unfinished(results: Results) -> str:
    names = [cell.name for cell in results.cells if not cell.seeds and not cell.failures]
    return f"Not finished: {'; '.join(names)}." if names else ""


# Texts --------------------------------------------------------------------------------------------


def _count(cell: CellResult) -> str:
    failed = f" ({len(cell.failures)} failed)" if cell.failures else ""
    return f"{len(cell.seeds)}{failed}"


def _unit_of_time(seconds: Sequence[float]) -> tuple[str, float]:
    most = max((s for s in seconds if not math.isnan(s)), default=0.0)
    return ("h", 3600.0) if most >= 7200 else ("min", 60.0) if most >= 120 else ("s", 1.0)


def estimate(found: Interval, digits: int) -> str:
    """The mean of an estimate with its standard error, as tables show it."""
    if math.isnan(found.mean) or not math.isfinite(found.standard_error):
        return _number(found.mean, digits)
    return f"{_number(found.mean, digits)} ± {_error(found.standard_error, digits)}"


def _error(value: float, digits: int) -> str:
    least = 10.0**-digits
    return f"<{least:.{digits}f}" if 0 < value < least / 2 else _number(value, digits)


def _difference(found: Comparison | None, digits: int) -> str:
    if found is None:
        return DASH
    interval = found.difference.interval
    text = _number(interval.mean, digits, sign=True)
    if not math.isfinite(interval.low):
        return text
    low, high = (_number(end, digits, sign=True) for end in (interval.low, interval.high))
    return f"{text} [{low}, {high}]"


def _doubt(found: Comparison | None, digits: int) -> str:
    if found is None:
        return DASH
    return "unknown" if math.isnan(found.doubt) else _error(found.doubt, digits)


def _p_value(found: Comparison | None) -> str:
    if found is None or math.isnan(found.p_adjusted):
        return DASH
    return "<0.001" if found.p_adjusted < 0.001 else f"{found.p_adjusted:.3f}"


def _number(value: float, digits: int, sign: bool = False) -> str:
    if math.isnan(value):
        return DASH
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:{'+' if sign else ''},.{digits}f}"
    if not float(text.replace(",", "")):
        text = text.lstrip("+-")  # no signed zero
    return text.replace("-", "−")


def _flat(text: str) -> str:
    """Text on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _exact(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))


# Markdown -----------------------------------------------------------------------------------------


def _markdown_table(columns: Sequence[_Column]) -> str:
    headings, sides = [], []
    for i, column in enumerate(columns):
        first = column.over and (i == 0 or columns[i - 1].over != column.over)
        heading = f"{column.over}: {column.heading}" if first else column.heading
        headings.append(_markdown_text(heading))
        sides.append("---:" if _numeric(column) else ":---")
    rows = [
        [
            f"**{_markdown_text(c.cells[i])}**" if i in c.best else _markdown_text(c.cells[i])
            for c in columns
        ]
        for i in range(len(columns[0].cells))
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in [headings, sides, *rows])


def _numeric(column: _Column) -> bool:
    return column.heading not in ("cell", "verdict", "reason")


def _markdown_text(text: str) -> str:
    """Text that Markdown shows as it is, within a table too."""
    text = re.sub(r"[\\`*<|~$&\[]", lambda found: "\\" + found[0], _flat(text))
    # Within words it is no emphasis.
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)


# LaTeX --------------------------------------------------------------------------------------------

_GREEK = {
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "ε": "varepsilon",
    "η": "eta",
    "θ": "theta",
    "κ": "kappa",
    "λ": "lambda",
    "μ": "mu",
    "ν": "nu",
    "π": "pi",
    "ρ": "rho",
    "σ": "sigma",
    "τ": "tau",
    "φ": "varphi",
    "χ": "chi",
    "ψ": "psi",
    "ω": "omega",
    "Δ": "Delta",
    "Σ": "Sigma",
    "Φ": "Phi",
    "Ω": "Omega",
}
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    "−": r"$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "→": r"$\to$",
    "∞": r"$\infty$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "–": r"\textendash{}",
    "“": "``",
    "”": "''",
    "…": r"\dots{}",
    **{c: "\\" + c for c in "&%$#_{}"},
    **{letter: rf"$\{name}$" for letter, name in _GREEK.items()},
}
_MATHS = {"E[log p(x|z)]": r"$\mathrm{E}[\log p(x|z)]$", "log p(x)": r"$\log p(x)$"}


def _latex_table(columns: Sequence[_Column], caption: str, wide_last: bool = False) -> str:
    sides = ["r" if _numeric(column) else "l" for column in columns]
    if wide_last:
        sides[-1] = r"p{0.6\linewidth}"
    spread = _latex_spread(columns)
    rows = []
    for i in range(len(columns[0].cells)):
        texts = [_latex_text(column.cells[i]) for column in columns]
        bold = [
            rf"\textbf{{\boldmath {t}}}" if i in c.best else t
            for t, c in zip(texts, columns, strict=True)
        ]
        row = " & ".join(bold) + r" \\"
        # Else a bracket or star would be an argument of the line break before it.
        rows.append("{}" + row if row[0] in "[*" else row)
    headings = " & ".join(_latex_text(column.heading) for column in columns) + r" \\"
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\small",
            rf"\caption{{{_latex_text(caption)}}}",
            rf"\begin{{tabular}}{{{''.join(sides)}}}",
            r"\toprule",
            *spread,
            headings,
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _latex_spread(columns: Sequence[_Column]) -> list[str]:
    """The headings over several columns, with their rules."""
    if not any(column.over for column in columns):
        return []
    texts, rules, start = [], [], 0
    while start < len(columns):
        over = columns[start].over
        end = start + 1
        while over and end < len(columns) and columns[end].over == over:
            end += 1
        if over:
            texts.append(rf"\multicolumn{{{end - start}}}{{c}}{{{_latex_text(over)}}}")
            rules.append(rf"\cmidrule(lr){{{start + 1}-{end}}}")
        else:
            texts.append("")
        start = end
    return [" & ".join(texts) + r" \\", "".join(rules)]


def _latex_text(text: str) -> str:
    """Text that LaTeX shows as it is, with what is mathematics set as such."""
    text = _flat(text)
    parts = re.split("(" + "|".join(map(re.escape, _MATHS)) + ")", text)
    done = "".join(_MATHS.get(part) or "".join(_LATEX.get(c, c) for c in part) for part in parts)
    return done.replace("--", "-{}-")  # two hyphens, as in the name of an option, are no dash
