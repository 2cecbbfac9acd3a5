"""The tables of a study, as Markdown, LaTeX and CSV, and its files."""

import csv as csv_files
import io
import json
import math
from collections.abc import Sequence

from scipy import stats

from pvae.storage import files
from pvae.studies.metrics import METRICS
from pvae.studies.results import COSTS, UNDOUBTED, CellResult, Comparison, Results
from pvae.studies.statistics import LEVEL, Interval
from pvae.studies.study import Study
from pvae.studies.typesetting import (
    Column,
    latex_table,
    latex_text,
    markdown_table,
    markdown_text,
)

DASH = "–"  # where there is no value
_PERCENT = f"{100 * LEVEL:g} %"


def write(study: Study, results: Results) -> None:
    """Write table.md, table.tex, table.csv and study.json into the study folder.

    Raises:
        OSError: if they cannot be written; older files are then unchanged.
    """
    record = json.dumps(results.as_dict(), indent=1, ensure_ascii=False, allow_nan=False)
    contents = {
        "table.md": markdown(results),
        "table.tex": latex(results),
        "table.csv": csv(results),
        "study.json": record + "\n",
    }
    for name, text in contents.items():
        files.write(study.path / name, text.encode())


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
        text += [f"**{markdown_text(group)}**", markdown_text(_caption(cells)) + "."]
        text.append(markdown_table(_values(results, cells)))
        if differences := _differences(results, cells, compared(results)):
            text += [markdown_text(_caption_of_differences()) + ".", markdown_table(differences)]
    if failures := _failures(results):
        text += ["**Failed runs**", markdown_table(failures)]
    if unfinished := _unfinished(results):
        text.append(markdown_text(unfinished))
    text += [markdown_text(note) for note in results.notes]
    return "\n\n".join(text) + "\n"


def latex(results: Results) -> str:
    r"""The tables as LaTeX, a `table` each, to ``\input`` into a paper that uses booktabs.

    Letters outside of Latin and Greek in names need XeLaTeX or LuaLaTeX.
    """
    text = [r"% \usepackage{booktabs}"]
    for group, cells in _groups(results).items():
        caption = f"{group}. {_caption(cells)}."
        text.append(latex_table(_values(results, cells), caption))
        for metric in compared(results):  # side by side they are wider than a page
            if differences := _differences(results, cells, [metric]):
                caption = f"{group}. {_caption_of_differences()}."
                text.append(latex_table(differences, caption))
    if failures := _failures(results):
        text.append(latex_table(failures, "Failed runs.", wide_last=True))
    if unfinished := _unfinished(results):
        text.append(f"% {latex_text(unfinished)}")
    text += [f"% {latex_text(note)}" for note in results.notes]
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
        headings += [with_unit(f"{metric} doubt", unit), f"{metric} p", f"{metric} seeds"]
        headings.append(f"{metric} verdict")
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
        return [cell.name if role else "", *[""] * 7, role]
    doubt = math.nan if metric in UNDOUBTED else found.doubt
    numbers = [*found.difference.interval[:4], doubt, found.p_adjusted]
    return [found.reference, *map(_exact, numbers), str(found.seeds), found.verdict]


def role_of(results: Results, metric: str, cell: str) -> str:
    """What a cell is in the comparisons of a metric.

    Returns:
        ``"best"`` or ``"baseline"`` of a reference, and an empty string of any other cell.
    """
    if not any(c.reference == cell and c.metric == metric for c in results.comparisons):
        return ""
    return "baseline" if cell == results.baseline else "best"


# Content ------------------------------------------------------------------------------------------


def _groups(results: Results) -> dict[str, list[CellResult]]:
    return {group: cells for group, cells in results.groups.items() if cells[0].seeds}


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


def _values(results: Results, cells: Sequence[CellResult]) -> list[Column]:
    columns = [Column("cell", [cell.name for cell in cells])]
    columns.append(Column("seeds", [_count(cell) for cell in cells]))
    for metric in results.metrics:
        arrow = {True: " ↓", False: " ↑", None: ""}[METRICS[metric].lower_is_better]
        texts = [estimate(c.estimates[metric], METRICS[metric].digits) for c in cells]
        columns.append(Column(titled(metric) + arrow, texts, _best(results, metric, cells)))
    columns.append(Column("parameters", [number(c.costs["parameters"], 0) for c in cells]))
    seconds = [cell.costs["train_seconds"] for cell in cells]
    unit, factor = _unit_of_time(seconds)
    columns.append(Column(f"time ({unit})", [number(s / factor, 1) for s in seconds]))
    return columns


def _best(results: Results, metric: str, cells: Sequence[CellResult]) -> frozenset[int]:
    """The rows with the best value, as shown, of all cells that compare."""
    lower = METRICS[metric].lower_is_better
    if lower is None:
        return frozenset()
    digits, found = METRICS[metric].digits, set()
    for group in results.comparable(metric):
        shown = {cell.name: round(cell.estimates[metric].mean, digits) for cell in group}
        known = {value for value in shown.values() if not math.isnan(value)}
        if len(known) > 1:
            best = min(known) if lower else max(known)
            found |= {name for name, value in shown.items() if value == best}
    return frozenset(i for i, cell in enumerate(cells) if cell.name in found)


def _differences(
    results: Results, cells: Sequence[CellResult], metrics: Sequence[str]
) -> list[Column]:
    """The columns of the differences in metrics, none if nothing compares."""
    columns = [Column("cell", [cell.name for cell in cells])]
    for metric in metrics:
        found = {c.cell: c for c in results.comparisons if c.metric == metric}
        rows = [found.get(cell.name) for cell in cells]
        roles = [role_of(results, metric, cell.name) for cell in cells]
        if not any(rows) and not any(roles):
            continue
        over, digits = titled(metric), METRICS[metric].digits
        said = [
            _verdict(row, results.seeds) if row else role or DASH
            for row, role in zip(rows, roles, strict=True)
        ]
        columns += [
            Column("difference", [_difference(row, digits) for row in rows], over=over),
            Column("p", [_p_value(row) for row in rows], over=over),
        ]
        if any(row and row.doubt != 0 for row in rows):
            texts = [_doubt(row, digits) for row in rows]
            columns.append(Column("doubt", texts, over=over))
        columns.append(Column("verdict", said, over=over))
    return columns if len(columns) > 1 else []


def _failures(results: Results) -> list[Column]:
    rows = [
        (cell.name, str(seed), why) for cell in results.cells for seed, why in cell.failures.items()
    ]
    headings = ("cell", "seed", "reason")
    return [
        Column(heading, [*texts])
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
        return number(found.mean, digits)
    return f"{number(found.mean, digits)} ± {_error(found.standard_error, digits)}"


def _error(value: float, digits: int) -> str:
    least = 10.0**-digits
    return f"<{least:.{digits}f}" if 0 < value < least / 2 else number(value, digits)


def _difference(found: Comparison | None, digits: int) -> str:
    if found is None:
        return DASH
    interval = found.difference.interval
    text = number(interval.mean, digits, sign=True)
    if not math.isfinite(interval.low):
        return text
    low, high = (number(end, digits, sign=True) for end in (interval.low, interval.high))
    return f"{text} [{low}, {high}]"


def _doubt(found: Comparison | None, digits: int) -> str:
    if found is None:
        return DASH
    return "unknown" if math.isnan(found.doubt) else _error(found.doubt, digits)


def _verdict(found: Comparison, planned: int) -> str:
    if 0 < found.seeds < planned:
        return f"{found.verdict} ({found.seeds} of {planned} seeds)"
    return found.verdict


def _p_value(found: Comparison | None) -> str:
    if found is None or math.isnan(found.p_adjusted):
        return DASH
    return "<0.001" if found.p_adjusted < 0.001 else f"{found.p_adjusted:.3f}"


def number(value: float, digits: int, sign: bool = False) -> str:
    """A number with its decimals as tables write it, a dash for NaN."""
    if math.isnan(value):
        return DASH
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:{'+' if sign else ''},.{digits}f}"
    if not float(text.replace(",", "")):
        text = text.lstrip("+-")  # no signed zero
    return text.replace("-", "−")


def _exact(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))
