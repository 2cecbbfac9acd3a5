"""Whether a race finds the winner of the exhaustive study, and at what share of its steps.

    python -m results.benchmarks.racing FOLDER

Two grids of nine cells on digits, 36 epochs, four seeds, each run exhaustively. A race of any of
the seeds follows from these runs, whose figures at a pause are those of a run that pauses there;
the race of all four is run besides, and must stop the same cells and give the same figures. The
winner is the cell of the least test −ELBO. The studies are kept in FOLDER, where they resume.
"""

import argparse
import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from pvae.studies import Measures, Plan, Study
from pvae.studies.race import rungs
from results.frame import read, rounded, save
from results.machine import machine

OUT = Path(__file__).with_suffix(".json")
SEEDS = 4
BASE = {"epochs": 36, "batch_size": 64, "patience": None}
GRIDS: dict[str, dict[str, Any]] = {
    "rates and latents": {
        "optimizer": {
            f"lr={rate:g}": {"class_path": "torch.optim.Adam", "init_args": {"lr": rate}}
            for rate in (1e-4, 1e-3, 1e-2)
        },
        "latent_dim": [2, 5, 20],
    },
    "priors and objectives": {
        "prior": [
            "StandardNormal",
            {"class_path": "VampPrior", "init_args": {"components": 50}},
            "Flow",
        ],
        "objective": {
            "ELBO": "Trace_ELBO",
            "IWAE": {"class_path": "ImportanceWeighted", "init_args": {"num_samples": 5}},
            "beta": {"class_path": "BetaELBO", "init_args": {"beta": 2.0}},
        },
    },
}


def run(folder: Path, grid: str, race: bool, jobs: int) -> Study:
    """Run or continue a study of a grid."""
    measures = Measures(("neg_elbo",), items=0)
    plan = Plan.make(BASE, GRIDS[grid], SEEDS, measures=measures, race=race)
    study = Study(folder / f"{grid}, {'race' if race else 'all'}", plan)
    study.run(jobs=jobs)
    return study


def steps(study: Study) -> int:
    """The gradient steps of all runs of a study."""
    begun = filter(None, map(study.begun, study.jobs()))
    return sum(run.history["step"][-1] for run in begun)


def replay(study: Study, seeds: Sequence[int]) -> tuple[list[str], int]:
    """The cells that a race of some seeds trains to the end, and its steps."""
    cells: list[str] = []
    taken: dict[str, int] = {}
    for rung in rungs([job for job in study.jobs() if job.seed in seeds], study.losses, []):
        cells = list(dict.fromkeys(job.cell for job in rung))
        for job in rung:
            begun = study.begun(job)
            assert begun is not None
            last = math.ceil((job.pause or 1.0) * begun.config["epochs"])
            taken[job.place] = begun.history["step"][last - 1]
    return cells, sum(taken.values())


def losses(study: Study) -> dict[str, dict[int, float]]:
    """The test −ELBO of the finished runs, by cell and seed."""
    found: dict[str, dict[int, float]] = {}
    for job in study.jobs():
        if (measured := study.measured(job)) is not None:
            found.setdefault(job.cell, {})[job.seed] = float(measured.items["neg_elbo"].mean())
    return found


def race(folder: Path, grid: str, jobs: int) -> dict[str, Any]:
    """Run a grid exhaustively and as a race, and replay races of all sets of its seeds."""
    every = range(SEEDS)
    exhaustive = run(folder, grid, False, jobs)
    known, planned = losses(exhaustive), steps(exhaustive)
    means = {cell: float(np.mean([*of.values()])) for cell, of in known.items()}
    ranked = sorted(means, key=means.__getitem__)
    lead = np.array([known[ranked[1]][seed] - known[ranked[0]][seed] for seed in every])
    races = []
    for seeds in [c for n in range(1, SEEDS + 1) for c in combinations(every, n)]:
        cells, taken = replay(exhaustive, seeds)
        winner = min(cells, key=lambda cell: np.mean([known[cell][seed] for seed in seeds]))
        races.append(
            {
                "seeds": list(seeds),
                "winner": winner,
                "behind": means[winner] - means[ranked[0]],
                "finished": len(cells),
                "share_of_steps": taken / (planned * len(seeds) / SEEDS),
            }
        )
        print(grid, races[-1], flush=True)
    raced = run(folder, grid, True, jobs)
    assert losses(raced) == {cell: known[cell] for cell in cells}
    assert steps(raced) == taken
    return {
        "neg_elbo": {cell: means[cell] for cell in ranked},
        "winner": ranked[0],
        "lead": float(lead.mean()),
        "lead_standard_error": float(lead.std(ddof=1) / len(lead) ** 0.5),
        "steps": planned,
        "races": races,
    }


def main() -> None:
    """Run what is not finished, print, and write the JSON next to this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the studies")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--grids", nargs="+", choices=GRIDS, default=[*GRIDS])
    options = parser.parse_args()
    result = read(OUT) | {"machine": machine()}
    for grid in options.grids:
        result[grid] = rounded(race(options.folder, grid, options.jobs))
        save(OUT, result)


if __name__ == "__main__":
    main()
