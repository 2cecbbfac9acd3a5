"""Results of studies whose runs are made by hand."""

from types import SimpleNamespace

import numpy as np

from pvae.studies.cells import Cell
from pvae.studies.measures import Measures
from pvae.studies.metrics import Measured
from pvae.studies.results import Results, collect

METRICS = ("neg_elbo", "kl", "log_prob", "active_units")
BINARY = "binary values, dynamic binarization"


def run(
    loss,
    *,
    items=200,
    seed=0,
    values=BINARY,
    units=5.0,
    seconds=61.2,
    k_hat=0.3,
    steps=36.0,
    fingerprint="a1",
    missing=(),
):
    """A run whose loss is near a number, and its log p(x) one nat better."""
    of_items = 3 * np.random.default_rng(7).standard_normal(items)  # the same in all cells
    own = 0.2 * np.random.default_rng(seed + int(1000 * abs(loss))).standard_normal(items)
    measured = {
        "neg_elbo": loss + of_items + own,
        "kl": np.full(items, loss / 4),
        "log_prob": 1 - loss - of_items - own,
        "pareto_k": np.full(items, k_hat),
        "standard_error": np.full(items, 0.05),
    }
    measured["bits_per_dim"] = -measured["log_prob"] / 64 / np.log(2)
    measured["inference_gap"] = 1 + own
    measured["approximation_gap"] = 0.4 + own
    measured["amortization_gap"] = 0.1 * loss + 0.1 * own
    measured["gap_pareto_k"] = np.full(items, k_hat)
    measured["gap_standard_error"] = np.full(items, 0.03)
    measured["gap_late_gain"] = np.tile([0.1, 0.3], 50)
    numbers = {
        "mig": units / 20,
        "recall": units / 10,
        "event_size": 64,
        "active_units": units,
        "parameters": 1_234_567.0,
        "epochs": 3.0,
        "steps": steps,
        "train_seconds": seconds,
    }
    data = "digits, 200 of 200 items (1, 8, 8)"
    kept = {name: values for name, values in measured.items() if name not in missing}
    why = dict.fromkeys(missing, "It does not apply; leave it out.")
    return Measured(kept, numbers, data, values, fingerprint, why)


def seeds(loss, n=3, spread=0.05, **others):
    """Runs of a cell, with losses around a number."""
    shifts = spread * np.linspace(-1, 1, n) if n > 1 else [0.0]
    return [run(loss + shift, seed=seed, **others) for seed, shift in enumerate(shifts)]


def study(cells, baseline=None, metrics=METRICS, path=None, steps=None, race=False):
    """What `collect` asks of a study: for each cell a run or the sentence of a failure, by seed."""
    n = max(map(len, cells.values()))
    jobs = [SimpleNamespace(cell=name, seed=s) for s in range(n) for name in cells]

    def found(job, kind):
        runs = cells[job.cell]
        one = runs[job.seed] if job.seed < len(runs) else None
        return one if isinstance(one, kind) else None

    plan = SimpleNamespace(
        cells=[Cell(name, {}) for name in cells],
        seeds=tuple(range(n)),
        measures=Measures(metrics),
        baseline=baseline,
        steps=steps,
        race=race,
    )
    return SimpleNamespace(
        path=path,
        plan=plan,
        notes=[],
        jobs=lambda: jobs,
        measured=lambda job: found(job, Measured),
        failure=lambda job: found(job, str),
    )


def results(cells, **others) -> Results:
    """The results of such a study."""
    return collect(study(cells, **others))
