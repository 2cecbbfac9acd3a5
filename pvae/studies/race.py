"""Racing: successive halving over the cells of a study (Jamieson and Talwalkar 2016).

All cells train for a ninth of their epochs; those that are clearly behind stop there, the others
train on to a third, and those that remain to the end. Of those that chance may have put behind, as
many go on as a third of the epochs of the exhaustive study pays for; fewer than five cells take
more. A run pauses and continues with the same bits as one that does not, so that the run of a
survivor is that of the exhaustive study.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from pvae.studies.jobs import Job

KEPT = 3  # a third of the cells goes on, and a third of the epochs is the rung before
ROUNDS = 2  # rungs before the last
CONFIDENCE = 0.9  # that a cell is behind, for one with several seeds
COST = 1 / 3  # of the exhaustive study, which cells that may be as good do not make it exceed
SHARED = 4  # degrees of freedom that the variance of all cells lends to that of each


def rungs(
    jobs: Sequence[Job],
    losses: Callable[[Sequence[Job]], Mapping[str, Sequence[float]]],
    notes: list[str],
) -> Iterator[list[Job]]:
    """The jobs of each rung, chosen when the rung before has ended.

    Args:
        jobs: the jobs of a study.
        losses: maps jobs that have ended to the losses of their cells, as `survivors` takes them.
        notes: gets a sentence if cells stop that may be as good as those that go on.
    """
    cells = remaining = list(dict.fromkeys(job.cell for job in jobs))
    spent = len(cells) * KEPT**-ROUNDS
    tied: list[str] = []
    for left in range(ROUNDS, 0, -1):
        rung = [replace(job, pause=KEPT**-left) for job in jobs if job.cell in remaining]
        yield rung
        least = math.ceil(len(cells) * KEPT ** (left - ROUNDS - 1))
        good = survivors(losses(rung), least)
        step = KEPT ** (1 - left) - KEPT**-left  # of its epochs that a cell trains on
        last = math.ceil(len(cells) * KEPT**-ROUNDS) * (1 - KEPT ** (1 - left))
        affordable = (COST * len(cells) - spent - last) / step + 1e-6
        remaining = good[: max(least, int(affordable))]
        tied += good[len(remaining) :]
        spent += len(remaining) * step
    if tied:
        notes.append(
            f"The race takes at most a third of the epochs, and so has stopped {len(tied)} cells "
            f"that chance may have put behind, the first of them {tied[0]}: run the study without "
            "it, or with more seeds."
        )
    yield [job for job in jobs if job.cell in remaining]


def survivors(losses: Mapping[str, Sequence[float]], least: int) -> list[str]:
    """The cells that may go on, the best first: the best ones, and those that may be among them.

    A cell stops if it is behind the last of the best ones, paired by seed, by more than chance
    explains: by a one-sided t test whose variance is drawn towards the median of all cells, as in
    the moderated t statistic of Smyth (2004), since few seeds hardly tell it. With one seed it
    stops if it is behind. A cell whose runs all failed stops.

    Args:
        losses: of each cell, one value a seed, lower is better; NaN for a failed run.
        least: the number of the best ones.

    Example:
        >>> from pvae.studies.race import survivors
        >>> survivors({"a": [1.0, 1.1], "b": [1.0, 1.2], "c": [9.0, 9.1], "d": [8.0, 8.1]}, 2)
        ['a', 'b']
    """
    means = {name: np.nanmean(v) for name, v in losses.items() if not np.isnan(v).all()}
    ranked = sorted(means, key=lambda name: means[name])
    kept = ranked[:least]
    if not kept:
        return []
    last = np.array(losses[kept[-1]])
    behind = {name: np.array(losses[name]) - last for name in ranked[least:]}
    behind = {name: d[~np.isnan(d)] for name, d in behind.items()}
    behind = {name: d for name, d in behind.items() if len(d) > 1}
    usual = np.median([d.var(ddof=1) for d in behind.values()]) if behind else math.nan
    for name, d in behind.items():
        degrees = len(d) - 1 + SHARED
        variance = ((len(d) - 1) * d.var(ddof=1) + SHARED * usual) / degrees
        if d.mean() <= (variance / len(d)) ** 0.5 * stats.t.ppf(CONFIDENCE, degrees):
            kept.append(name)
    return kept
