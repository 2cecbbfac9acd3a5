"""Racing: successive halving over the cells of a study (Jamieson and Talwalkar 2016).

All cells train for a ninth of their epochs; those that are clearly behind stop there, the others
train on to a third, and those that remain to the end. A run pauses and continues with the same bits
as one that does not, so that the run of a survivor is that of the exhaustive study.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from pvae.studies.jobs import Job

KEPT = 3  # a third of the cells goes on, and a third of the epochs is the rung before
ROUNDS = 2  # rungs before the last
CONFIDENCE = 0.9  # that a cell is behind, for one with several seeds


def rungs(
    jobs: Sequence[Job], losses: Callable[[Sequence[Job]], Mapping[str, Sequence[float]]]
) -> Iterator[list[Job]]:
    """The jobs of each rung, chosen when the rung before has ended.

    Args:
        jobs: the jobs of a study.
        losses: maps jobs that have ended to the losses of their cells, as `survivors` takes them.
    """
    remaining = list(dict.fromkeys(job.cell for job in jobs))
    for left in range(ROUNDS, 0, -1):
        rung = [replace(job, pause=KEPT**-left) for job in jobs if job.cell in remaining]
        yield rung
        remaining = survivors(losses(rung))
    yield [job for job in jobs if job.cell in remaining]


def survivors(losses: Mapping[str, Sequence[float]]) -> list[str]:
    """The cells that go on: the best third, and those that may belong to it.

    A cell stops if it is behind the last of the best third, paired by seed, by more than chance
    explains (one-sided t test); with one seed, if it is behind. A cell whose runs all failed stops.

    Args:
        losses: of each cell, one value a seed, lower is better; NaN for a failed run.

    Example:
        >>> from pvae.studies.race import survivors
        >>> survivors({"a": [1.0, 1.1], "b": [1.0, 1.2], "c": [9.0, 9.1], "d": [8.0, 8.1]})
        ['a', 'b']
    """
    means = {name: np.nanmean(v) for name, v in losses.items() if not np.isnan(v).all()}
    ranked = sorted(means, key=lambda name: means[name])
    kept = ranked[: -(-len(losses) // KEPT)]
    if not kept:
        return []
    last = np.array(losses[kept[-1]])
    for name in ranked[len(kept) :]:
        behind = np.array(losses[name]) - last
        behind = behind[~np.isnan(behind)]
        if len(behind) < 2:
            continue
        error = behind.std(ddof=1) / len(behind) ** 0.5
        if behind.mean() <= error * stats.t.ppf(CONFIDENCE, len(behind) - 1):
            kept.append(name)
    return kept
