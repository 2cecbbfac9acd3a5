"""Whether a race finds the winner of the exhaustive study, and at what share of its steps.

    python -m results.benchmarks.racing FOLDER

Nine cells on digits, 36 epochs, four seeds, run exhaustively. A race of any of the seeds, and of
any of the cells, follows from these runs, whose figures at a pause are those of a run that pauses
there; the race of all is run besides, and must train the same cells, as far, to the same figures.
The winner is the cell of the least test −ELBO. The studies are kept in FOLDER, where they resume.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from pvae.studies import Measures, Plan, Study
from pvae.studies.jobs import Job
from pvae.studies.race import rungs
from results.frame import rounded, save
from results.machine import machine

OUT = Path(__file__).with_suffix(".json")
SEEDS = 4
BASE = {"epochs": 36, "batch_size": 64, "patience": None}
RATES = (1e-4, 1e-3, 1e-2)
VARY = {
    "optimizer": {
        f"lr={rate:g}": {"class_path": "torch.optim.Adam", "init_args": {"lr": rate}}
        for rate in RATES
    },
    "latent_dim": [2, 5, 20],
}
# Grids of the first two rates and of all three.
GRIDS = {"six cells": RATES[:2], "nine cells": RATES}

Losses = Mapping[str, Mapping[int, float]]  # by cell and seed


class ReadOnce(Study):
    """A study that reads each of its runs once, after all have ended."""

    def begun(self, job: Job) -> Any:
        """The history and the arguments of a run."""
        if job.place not in self.known:
            run = super().begun(job)
            self.known[job.place] = run and SimpleNamespace(history=run.history, config=run.config)
        return self.known[job.place]

    @cached_property
    def known(self) -> dict[str, Any]:
        """What was read, by place."""
        return {}


def run(folder: Path, race: bool, jobs: int) -> Study:
    """Run or continue a study of all cells."""
    measures = Measures(("neg_elbo",), items=0)
    plan = Plan.make(BASE, VARY, SEEDS, measures=measures, race=race)
    study = Study(folder / ("race" if race else "all"), plan)
    study.run(jobs=jobs)
    return ReadOnce(study.path)


def losses(study: Study) -> Losses:
    """The test −ELBO of the finished runs."""
    found: dict[str, dict[int, float]] = {}
    for job in study.jobs():
        if (measured := study.measured(job)) is not None:
            found.setdefault(job.cell, {})[job.seed] = float(measured.items["neg_elbo"].mean())
    return found


def steps(study: Study, share: float = 1.0) -> dict[tuple[str, int], int]:
    """The gradient steps of each run after a share of its epochs, or as far as it went."""
    found = {}
    for job in study.jobs():
        if (begun := study.begun(job)) is not None:
            taken = begun.history["step"]
            last = math.ceil(share * begun.config["epochs"])
            found[job.cell, job.seed] = taken[min(last, len(taken)) - 1]
    return found


def replay(
    study: Study, cells: Sequence[str], seeds: Sequence[int]
) -> tuple[list[str], dict[tuple[str, int], int]]:
    """The cells that a race of some cells and seeds trains to the end, and the steps of all."""
    taken: dict[tuple[str, int], int] = {}
    jobs = [job for job in study.jobs() if job.cell in cells and job.seed in seeds]
    for rung in rungs(jobs, study.losses, []):
        at = steps(study, rung[0].pause or 1.0)
        taken |= {(job.cell, job.seed): at[job.cell, job.seed] for job in rung}
    return list(dict.fromkeys(job.cell for job in rung)), taken


def races(study: Study, known: Losses, cells: Sequence[str]) -> dict[str, Any]:
    """Replay the races of some cells, by all sets of seeds."""
    every, planned = range(SEEDS), steps(study)
    means = {cell: float(np.mean([*known[cell].values()])) for cell in cells}
    first, second = sorted(means, key=means.__getitem__)[:2]
    lead = np.array([known[second][seed] - known[first][seed] for seed in every])
    rows = []
    for seeds in [c for n in range(1, SEEDS + 1) for c in combinations(every, n)]:
        kept, taken = replay(study, cells, seeds)
        winner = min(kept, key=lambda cell: np.mean([known[cell][seed] for seed in seeds]))
        whole = sum(planned[cell, seed] for cell in cells for seed in seeds)
        rows.append(
            {
                "seeds": list(seeds),
                "winner": winner,
                "behind": means[winner] - means[first],
                "finished": len(kept),
                "share_of_steps": sum(taken.values()) / whole,
            }
        )
    return {
        "neg_elbo": means,
        "winner": first,
        "lead": float(lead.mean()),
        "lead_standard_error": float(lead.std(ddof=1) / len(lead) ** 0.5),
        "races": rows,
    }


def main() -> None:
    """Run what is not finished, print, and write the JSON next to this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the studies")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    options = parser.parse_args()
    exhaustive = run(options.folder, False, options.jobs)
    known = losses(exhaustive)
    result: dict[str, Any] = {"machine": machine()}
    for name, rates in GRIDS.items():
        cells = [cell for cell in known if any(f"lr={rate:g}," in cell for rate in rates)]
        result[name] = rounded(races(exhaustive, known, cells))
        for row in result[name]["races"]:
            print(name, row, flush=True)
    save(OUT, result | {"race_run": False})
    raced = run(options.folder, True, options.jobs)
    kept, taken = replay(exhaustive, list(known), range(SEEDS))
    assert losses(raced) == {cell: known[cell] for cell in kept}
    assert steps(raced) == taken
    save(OUT, result | {"race_run": True})


if __name__ == "__main__":
    main()
