"""The results of a study: cells with their errors, and which differences are established."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from pvae.evaluation.k_hat import UNRELIABLE
from pvae.evaluation.representations import Representation
from pvae.evaluation.sample_quality import SampleQuality
from pvae.studies.jobs import whole_epochs
from pvae.studies.measures import Measures
from pvae.studies.metrics import ERRORS, FACTORED, METRICS, Measured
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
MOST_LISTED = 20  # names in a note
# Metrics that are too low if the estimate of log p(x) from refined posteriors is.
GAPS = ("inference_gap", "approximation_gap")
# Those without an estimate of how far off they may be; the −ELBO is unbiased and needs none.
UNDOUBTED = (*Representation._fields, *FACTORED, *SampleQuality._fields)
COSTS = ("parameters", "epochs", "steps", "train_seconds")


@dataclass(frozen=True)
class CellResult:
    """The results of a cell.

    Attributes:
        name: of the cell.
        group: the data and values that its numbers are of: only equal groups compare.
        data: the data alone, by which bits per dimension compare; with a fingerprint of the
            measured items if data of several cells differ in nothing else.
        seeds: the seeds whose runs are finished.
        failures: why other runs failed, by seed.
        estimates: mean over seeds by metric, with its error.
        by_seed: the value of each finished seed, by metric.
        costs: means over seeds of parameters, epochs, steps and seconds.
        doubts: by how much the estimate of a metric may be off, by metric, in its unit; NaN if
            that is unknown. The −ELBO, which is unbiased, and `UNDOUBTED` are not among them.
    """

    name: str
    group: str
    data: str
    seeds: tuple[int, ...]
    failures: Mapping[int, str]
    estimates: Mapping[str, Interval]
    by_seed: Mapping[str, tuple[float, ...]]
    costs: Mapping[str, float]
    doubts: Mapping[str, float]


@dataclass(frozen=True)
class Comparison:
    """A cell against the reference of its table.

    Attributes:
        metric: what is compared.
        cell: the cell.
        reference: the baseline, or the best cell.
        difference: cell minus reference, paired by seed and item.
        seeds: the number of seeds that both have, which it rests on.
        p_adjusted: its p value, adjusted for the number of cells (Holm 1979).
        doubt: by how much the estimator itself may be off; 0 for `UNDOUBTED`.
        verdict: as `pvae.studies.statistics.verdict` returns it.
    """

    metric: str
    cell: str
    reference: str
    difference: Difference
    seeds: int
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
        seeds: the number of seeds of each cell, of which some may have failed.
        baseline: the name of the baseline, ``None`` if the best cell is the reference.
        notes: what a reader must know, a sentence each.
    """

    cells: tuple[CellResult, ...]
    comparisons: tuple[Comparison, ...]
    metrics: tuple[str, ...]
    seeds: int
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
    Cells that a metric does not apply to are left out.
    """
    found: dict[str, list[CellResult]] = {}
    for cell in cells:
        found_none = metric in cell.estimates and math.isnan(cell.estimates[metric].mean)
        if cell.seeds and not found_none:
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
    data = _names_of_data(runs)
    cells = [_cell(name, data[name], runs[name], failures[name], metrics) for name in runs]
    comparisons = []
    for metric in metrics:
        if METRICS[metric].lower_is_better is not None:
            comparisons += _compare(metric, cells, runs, plan.baseline)
    missing: dict[str, dict[str, None]] = {}
    for name, of_seeds in runs.items():
        for why in [why for measured in of_seeds.values() for why in measured.missing.values()]:
            missing.setdefault(why, {})[name] = None
    notes = [_settings(plan.measures), *study.notes]
    notes += [f"{why} It holds for: {_listed(names)}." for why, names in missing.items()]
    notes += _notes(cells, comparisons, plan)
    return Results(
        tuple(cells), tuple(comparisons), metrics, len(plan.seeds), plan.baseline, tuple(notes)
    )


def _names_of_data(runs: Mapping[str, Mapping[int, Measured]]) -> dict[str, str]:
    """What the data of each cell are called; empty for a cell without a finished run.

    Data of the same description differ by the fingerprints of their measured items.
    """
    named = {
        cell: (
            next((m.data for m in of_seeds.values()), ""),
            " and ".join(dict.fromkeys(m.fingerprint for m in of_seeds.values())),
        )
        for cell, of_seeds in runs.items()
    }
    alike = Counter(name for name, _ in set(named.values()))
    return {
        cell: f"{name} ({fingerprint})" if alike[name] > 1 and fingerprint else name
        for cell, (name, fingerprint) in named.items()
    }


def _cell(
    name: str,
    data: str,
    runs: Mapping[int, Measured],
    failures: Mapping[int, str],
    metrics: Sequence[str],
) -> CellResult:
    by_seed = {
        metric: tuple(_value(measured, metric) for measured in runs.values()) for metric in metrics
    }
    first = next(iter(runs.values()), None)
    doubts = [doubts_of(measured) for measured in runs.values()]
    return CellResult(
        name=name,
        group=f"{data}: {first.values}" if first else "",
        data=data,
        seeds=tuple(runs),
        failures=failures,
        estimates={metric: over_seeds(values) for metric, values in by_seed.items()},
        by_seed=by_seed,
        costs={
            cost: float(np.mean([m.numbers[cost] for m in runs.values()])) if runs else math.nan
            for cost in COSTS
        },
        doubts={
            m: float(np.max([d[m] for d in doubts])) for m in metrics if doubts and m in doubts[0]
        },
    )


def _value(measured: Measured, metric: str) -> float:
    if metric in measured.items:
        return float(measured.items[metric].mean())
    return math.nan if metric in measured.missing else measured.numbers[metric]


def doubts_of(measured: Measured) -> dict[str, float]:
    """By how much the estimates of metrics may be off, on average over the items, in their units.

    log p(x) may be too low: where AIS was run, by how much AIS is higher on the same items, and two
    standard errors of that; else by two standard errors of the estimate, if k-hat says that they
    are known; else by NaN. The gaps have an estimate of their own, from refined posteriors: the
    inference gap is too low by as much as it is. Refinement may not have come to its end. What its
    second half gained on some items, with two standard errors of that, may be missing from the
    amortization gap; the approximation gap is too high by as much.
    """
    items = measured.items
    found = {}
    if "log_prob" in items:
        if "ais" in items:
            found["log_prob"] = _more(items["ais"] - items["log_prob"][: len(items["ais"])])
        else:
            found["log_prob"] = _error(items, *ERRORS["log_prob"])
        if "bits_per_dim" in items:
            found["bits_per_dim"] = found["log_prob"] / measured.numbers["event_size"] / math.log(2)
    k_hat, error, late = ERRORS["gaps"]
    if late in items:
        of_log_prob, unrefined = _error(items, k_hat, error), _more(items[late])
        found["inference_gap"] = of_log_prob
        found["approximation_gap"] = of_log_prob + unrefined
        found["amortization_gap"] = unrefined
    return found


def _more(excess: np.ndarray) -> float:
    """By how much an estimate is above another on the same items, and two standard errors."""
    error = excess.std(ddof=1) / len(excess) ** 0.5 if len(excess) > 1 else math.nan
    return float(max(0.0, excess.mean()) + 2 * error)


def _error(items: Mapping[str, np.ndarray], k_hat: str, standard_error: str) -> float:
    """Two standard errors of a mean of importance sampling estimates, NaN if they are unknown."""
    if np.mean(~(items[k_hat] <= UNRELIABLE)) > MOST_UNRELIABLE:
        return math.nan
    known = items[standard_error][np.isfinite(items[standard_error])]
    return float(2 * np.linalg.norm(known) / len(items[standard_error]))


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
        doubts = {cell.name: cell.doubts.get(metric, 0.0) for cell in group}
        differences = [_difference(metric, runs[c.name], runs[reference]) for c in others]
        adjusted = holm([difference.p_value for difference in differences])
        for cell, difference, p in zip(others, differences, adjusted, strict=True):
            doubt = float(np.max([doubts[cell.name], doubts[reference]]))
            said = verdict(difference, p, doubt, lower)
            seeds = len(_shared(metric, runs[cell.name], runs[reference]))
            found.append(
                Comparison(metric, cell.name, reference, difference, seeds, p, doubt, said)
            )
    return found


def _shared(
    metric: str, first: Mapping[int, Measured], second: Mapping[int, Measured]
) -> list[int]:
    """The seeds of which both have a metric."""
    sides = (first, second)
    return [s for s in first if s in second and all(metric not in r[s].missing for r in sides)]


def _difference(
    metric: str, first: Mapping[int, Measured], second: Mapping[int, Measured]
) -> Difference:
    """The paired difference over the seeds that both have, item by item where there are items."""
    seeds = _shared(metric, first, second)
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


def _notes(
    cells: Sequence[CellResult], comparisons: Sequence[Comparison], plan: Plan
) -> Iterator[str]:
    finished = {cell.name: cell for cell in cells if cell.seeds}
    if len(plan.seeds) == 1:
        yield (
            "There is one seed, so no interval and no verdict: another seed may change any "
            "difference. Give several, --seeds 3."
        )
    elif plan.baseline is None and len(cells) > 2:
        yield (
            "The reference is the best cell of these same runs, which is therefore likely to look "
            "better than it is: to test a claim, name the baseline before, --baseline CELL."
        )
    if plan.baseline is not None and plan.baseline not in finished and finished:
        references = dict.fromkeys(comparison.reference for comparison in comparisons)
        instead = (
            " The reference is the best cell instead, which is likely to look better than it is: "
            f"{_listed(references)}."
        )
        yield f"The baseline {plan.baseline} has no finished run.{instead if references else ''}"
    groups = {cell.group for cell in finished.values()}
    if len(groups) > 1:
        yield (
            f"The cells are in {len(groups)} tables, for their numbers are of different things, "
            f"which do not compare: {_listed(sorted(groups))}."
        )
    for metrics, why in _UNKNOWN.items():
        doubts = {cell.name: [cell.doubts.get(metric, 0.0) for metric in metrics] for cell in cells}
        if unknown := [name for name, values in doubts.items() if np.isnan(values).any()]:
            yield f"{why} It holds for: {_listed(unknown)}."
    if bare := [m for m in dict.fromkeys(c.metric for c in comparisons) if m in UNDOUBTED]:
        yield (
            f"Verdicts on {_listed(METRICS[m].title for m in bare)} allow for the spread over "
            "seeds alone: no error over items and no doubt of the estimator is known."
        )
    fewer = {c.cell: c.seeds for c in comparisons if c.seeds < len(plan.seeds)}
    if fewer:
        yield (
            f"Verdicts rest on fewer than {len(plan.seeds)} seeds where runs have failed or are "
            "not finished, and those that are missing might have changed them: "
            f"{_listed(f'{cell} ({seeds})' for cell, seeds in fewer.items())}."
        )
    yield from _rounding(finished.values(), plan)
    if missing := [
        f"{cell.name} ({left})"
        for cell in cells
        if (left := len(plan.seeds) - len(cell.seeds) - len(cell.failures)) > 0
    ]:
        stopped = "Runs that the race has stopped, or" if plan.race else "Runs"
        yield f"{stopped} that are not finished: {_listed(missing)}."


# Why the error of an estimate is not known.
_UNKNOWN = {
    ("log_prob",): (
        "log p(x) is a lower bound of unknown error, as k-hat exceeds 0.7 for over 5 % of the "
        "items, so that differences stay undecided; check it by AIS, --ais_items 25."
    ),
    GAPS: (
        "The inference gap and its approximation gap are lower bounds of unknown error, as k-hat "
        "exceeds 0.7 for over 5 % of the items even under refined posteriors, so that differences "
        "stay undecided."
    ),
}


def _rounding(cells: Iterable[CellResult], plan: Plan) -> Iterator[str]:
    """That whole epochs are not the planned steps, where it is so."""
    rounded = []
    for cell in cells:
        if plan.steps is not None and cell.costs["epochs"]:
            epoch = round(cell.costs["steps"] / cell.costs["epochs"])
            planned = epoch * whole_epochs(plan.steps, epoch)
            if planned != plan.steps:
                rounded.append(f"{cell.name} ({planned:,})")
    if rounded:
        yield (
            f"Training ends with an epoch, whose metrics choose the weights, so that these cells "
            f"have another number of steps than {plan.steps:,}: {_listed(rounded)}. Batch sizes "
            "whose epochs divide it make it exact."
        )


def _listed(names: Iterable[str]) -> str:
    """Names in a sentence, at most as many as one reads."""
    names = [*names]
    more = f"; and {len(names) - MOST_LISTED:,} more" if len(names) > MOST_LISTED else ""
    return "; ".join(names[:MOST_LISTED]) + more


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {k: _plain(v) for k, v in value._asdict().items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
