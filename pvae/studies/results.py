"""The results of a study: cells with their errors, and which differences are established."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from pvae.evaluation.k_hat import UNRELIABLE
from pvae.studies.metrics import METRICS, Measured, Measures
from pvae.studies.statistics import (
    Difference,
    Interval,
    holm,
    over_seeds,
    paired_difference,
    verdict,
)
from pvae.studies.study import Plan, Study

MOST_UNRELIABLE = 0.05  # share of items with a k-hat above 0.7 whose effect is left to the error
COSTS = ("parameters", "epochs", "steps", "train_seconds")


@dataclass(frozen=True)
class CellResult:
    """The results of a cell.

    Attributes:
        name: of the cell.
        group: the data and values that its numbers are of: only equal groups compare.
        data: the data alone, by which bits per dimension compare.
        seeds: the seeds whose runs are finished.
        failures: why other runs failed, by seed.
        estimates: mean over seeds by metric, with its error.
        by_seed: the value of each finished seed, by metric.
        costs: means over seeds of parameters, epochs, steps and seconds.
        doubt: by how much ``log_prob`` may be too low, in nats; NaN if that is unknown.
    """

    name: str
    group: str
    data: str
    seeds: tuple[int, ...]
    failures: Mapping[int, str]
    estimates: Mapping[str, Interval]
    by_seed: Mapping[str, tuple[float, ...]]
    costs: Mapping[str, float]
    doubt: float


@dataclass(frozen=True)
class Comparison:
    """A cell against the reference of its table.

    Attributes:
        metric: what is compared.
        cell: the cell.
        reference: the baseline, or the best cell.
        difference: cell minus reference, paired by seed and item.
        p_adjusted: its p value, adjusted for the number of cells (Holm 1979).
        doubt: by how much the estimator itself may be off.
        verdict: as `pvae.studies.statistics.verdict` returns it.
    """

    metric: str
    cell: str
    reference: str
    difference: Difference
    p_adjusted: float
    doubt: float
    verdict: str


@dataclass(frozen=True)
class Results:
    """The results of a study.

    Attributes:
        cells: in the order of the plan.
        comparisons: of every metric that has a better direction, in every group.
        metrics: the names of the metrics.
        baseline: the name of the baseline, ``None`` if the best cell is the reference.
        notes: what a reader must know, a sentence each.
    """

    cells: tuple[CellResult, ...]
    comparisons: tuple[Comparison, ...]
    metrics: tuple[str, ...]
    baseline: str | None = None
    notes: tuple[str, ...] = field(default=())

    def comparable(self, metric: str) -> list[list[CellResult]]:
        """The finished cells that compare with each other in a metric, group by group."""
        return comparable(self.cells, metric)

    def as_dict(self) -> dict[str, Any]:
        """The results as JSON holds them; what is unknown is null."""
        return _plain(asdict(self))

    @property
    def groups(self) -> dict[str, list[CellResult]]:
        """The cells by what their numbers are of, failed ones under an empty name."""
        found: dict[str, list[CellResult]] = {}
        for cell in self.cells:
            found.setdefault(cell.group, []).append(cell)
        return found


def comparable(cells: Sequence[CellResult], metric: str) -> list[list[CellResult]]:
    """The finished cells that compare with each other in a metric, group by group.

    Bits per dimension compare whatever the likelihood is a density of, if the data are the same.
    """
    found: dict[str, list[CellResult]] = {}
    for cell in cells:
        if cell.seeds:
            key = cell.data if metric == "bits_per_dim" else cell.group
            found.setdefault(key, []).append(cell)
    return [*found.values()]


def collect(study: Study) -> Results:
    """Collect the results of the finished runs of a study."""
    plan = study.plan
    metrics = plan.measures.metrics
    runs: dict[str, dict[int, Measured]] = {cell.name: {} for cell in plan.cells}
    failures: dict[str, dict[int, str]] = {cell.name: {} for cell in plan.cells}
    for job in study.jobs():
        measured, failure = study.measured(job), study.failure(job)
        if measured is not None:
            runs[job.cell][job.seed] = measured
        elif failure is not None:
            failures[job.cell][job.seed] = failure
    cells = [_cell(name, runs[name], failures[name], metrics) for name in runs]
    comparisons = []
    for metric in metrics:
        if METRICS[metric].lower_is_better is not None:
            comparisons += _compare(metric, cells, runs, plan.baseline)
    notes = [_settings(plan.measures), *study.notes, *_notes(cells, plan)]
    return Results(tuple(cells), tuple(comparisons), metrics, plan.baseline, tuple(notes))


def _cell(
    name: str, runs: Mapping[int, Measured], failures: Mapping[int, str], metrics: Sequence[str]
) -> CellResult:
    by_seed = {
        metric: tuple(_value(measured, metric) for measured in runs.values()) for metric in metrics
    }
    first = next(iter(runs.values()), None)
    doubts = [doubt_of(measured) for measured in runs.values()]
    return CellResult(
        name=name,
        group=f"{first.data}: {first.values}" if first else "",
        data=first.data if first else "",
        seeds=tuple(runs),
        failures=failures,
        estimates={metric: over_seeds(values) for metric, values in by_seed.items()},
        by_seed=by_seed,
        costs={
            cost: float(np.mean([m.numbers[cost] for m in runs.values()])) if runs else math.nan
            for cost in COSTS
        },
        doubt=float(np.max(doubts)) if doubts else math.nan,
    )


def _value(measured: Measured, metric: str) -> float:
    if metric in measured.items:
        return float(measured.items[metric].mean())
    return measured.numbers[metric]


def doubt_of(measured: Measured) -> float:
    """By how much the estimate of log p(x) may be too low, on average over the items, in nats.

    Where AIS was run, by how much it is higher on the same items, and two standard errors of that;
    else two standard errors of the estimate, if k-hat says that they are known; else NaN.
    """
    items = measured.items
    if "log_prob" not in items:
        return 0.0
    if "ais" in items:
        excess = items["ais"] - items["log_prob"][: len(items["ais"])]
        error = excess.std(ddof=1) / len(excess) ** 0.5 if len(excess) > 1 else math.nan
        return float(max(0.0, excess.mean()) + 2 * error)
    if np.mean(~(items["pareto_k"] <= UNRELIABLE)) > MOST_UNRELIABLE:
        return math.nan
    known = items["standard_error"][np.isfinite(items["standard_error"])]
    return float(2 * np.linalg.norm(known) / len(items["log_prob"]))


def _compare(
    metric: str,
    cells: Sequence[CellResult],
    runs: Mapping[str, Mapping[int, Measured]],
    baseline: str | None,
) -> list[Comparison]:
    """Compare each cell with the reference of its group, in one metric."""
    lower = METRICS[metric].lower_is_better is True
    found = []
    for group in comparable(cells, metric):
        means = {cell.name: cell.estimates[metric].mean for cell in group}
        best = (min if lower else max)(means, key=lambda name: means[name])
        reference = baseline if baseline in means else best
        others = [cell for cell in group if cell.name != reference]
        doubts = {cell.name: cell.doubt for cell in group}
        differences = [_difference(metric, runs[c.name], runs[reference]) for c in others]
        adjusted = holm([difference.p_value for difference in differences])
        for cell, difference, p in zip(others, differences, adjusted, strict=True):
            estimated = metric in ("log_prob", "bits_per_dim")
            doubt = float(np.max([doubts[cell.name], doubts[reference]])) if estimated else 0.0
            said = verdict(difference, p, doubt, lower)
            found.append(Comparison(metric, cell.name, reference, difference, p, doubt, said))
    return found


def _difference(
    metric: str, first: Mapping[int, Measured], second: Mapping[int, Measured]
) -> Difference:
    """The paired difference over the seeds that both have, item by item where there are items."""
    seeds = [seed for seed in first if seed in second]
    if not seeds:
        nan = math.nan
        return Difference(Interval(nan, nan, nan, nan, nan), nan, nan, nan)
    if metric in first[seeds[0]].items:
        sides = [np.stack([runs[s].items[metric] for s in seeds]) for runs in (first, second)]
    else:
        sides = [np.array([[runs[s].numbers[metric]] for s in seeds]) for runs in (first, second)]
    return paired_difference(*sides)


def _settings(measures: Measures) -> str:
    """How the numbers were measured, in a sentence."""
    text = f"Averages over items of the test data, random draws of seed {measures.seed}"
    if {"log_prob", "bits_per_dim"} & set(measures.metrics):
        text += f"; log p(x) is estimated by {measures.num_samples:,} importance samples"
    if measures.ais_items:
        text += f" and checked by AIS for {measures.ais_items:,} items"
    return text + "."


def _notes(cells: Sequence[CellResult], plan: Plan) -> list[str]:
    notes = []
    if len(plan.seeds) == 1:
        notes.append(
            "There is one seed, so no interval and no verdict: another seed may change any "
            "difference. Give several, --seeds 3."
        )
    elif plan.baseline is None and len(cells) > 2:
        notes.append(
            "The reference is the best cell of these same runs, which is therefore likely to look "
            "better than it is: to test a claim, name the baseline before, --baseline CELL."
        )
    groups = {cell.group for cell in cells if cell.seeds}
    if len(groups) > 1:
        notes.append(
            f"The cells are in {len(groups)} tables, for their numbers are of different things, "
            "which do not compare: " + "; ".join(sorted(groups)) + "."
        )
    unknown = [cell.name for cell in cells if cell.seeds and math.isnan(cell.doubt)]
    if unknown:
        notes.append(
            "log p(x) is a lower bound of unknown error, as k-hat exceeds 0.7 for over 5 % of the "
            "items, so that differences stay undecided; check it by AIS, --ais_items 25. It holds "
            f"for: {'; '.join(unknown)}."
        )
    missing = [
        f"{cell.name}: {len(plan.seeds) - len(cell.seeds) - len(cell.failures)}"
        for cell in cells
        if len(cell.seeds) + len(cell.failures) < len(plan.seeds)
    ]
    if missing:
        notes.append(
            f"Runs that are not finished, or were stopped by a race: {'; '.join(missing)}."
        )
    return notes


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {k: _plain(v) for k, v in value._asdict().items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
