from dataclasses import dataclass

import numpy as np
import pytest

from pvae.studies.race import rungs, survivors


@dataclass(frozen=True)
class Run:
    """What a race asks of a job."""

    cell: str
    pause: float | None = None


def race(losses):
    """The winner of a race, its share of the epochs of the exhaustive study, and its notes.

    ``losses(share)`` maps the share of the epochs that are trained to the losses of the cells.
    """
    final, spent, before, notes = losses(1.0), 0.0, 0.0, []

    def found(rung):
        now = losses(rung[0].pause)
        return {job.cell: now[job.cell] for job in rung}

    for rung in rungs([Run(name) for name in final], found, notes):
        share = rung[0].pause or 1.0
        spent += len(rung) * (share - before)
        before = share
    return min(rung, key=lambda job: np.mean(final[job.cell])).cell, spent / len(final), notes


@pytest.mark.parametrize("seed", range(10))
def test_the_winner_is_that_of_the_exhaustive_study_at_a_third_of_the_steps(seed):
    rng = np.random.default_rng(seed)
    quality = {f"cell {i}": 100 + 0.5 * i for i in range(27)}
    start = {name: 20 + rng.normal() for name in quality}

    def losses(share):
        noise = np.random.default_rng([seed, int(1000 * share)])
        shared = noise.normal(size=3)  # of the seeds, which pairing removes
        return {
            name: list(q + start[name] * (1 - share) ** 8 + shared + 0.1 * noise.normal(size=3))
            for name, q in quality.items()
        }

    winner, spent, _ = race(losses)
    assert winner == "cell 0"
    assert spent <= 1 / 3 + 1e-6


def test_cells_that_chance_may_have_put_behind_go_on_as_far_as_a_third_of_the_epochs():
    rng = np.random.default_rng(0)
    noisy = {f"cell {i}": list(rng.normal(size=3)) for i in range(9)}
    assert len(survivors(noisy, 3)) > 3
    _, spent, notes = race(lambda share: noisy)
    assert 0.3 < spent <= 1 / 3 + 1e-6
    assert "that chance may have put behind" in notes[0]


def test_two_seeds_suffice_to_stop_what_is_far_behind():
    """A t test of two seeds alone would not: of a single difference it knows next to nothing."""
    rng = np.random.default_rng(1)
    losses = {f"cell {i}": list(0.5 * i + 0.1 * rng.normal(size=2)) for i in range(9)}
    assert survivors(losses, 3) == ["cell 0", "cell 1", "cell 2"]


def test_failed_runs_and_single_seeds():
    nan = float("nan")
    losses = {"a": [nan, nan], "b": [1.0, nan], "c": [2.0, 2.1], "d": [5.0, 5.1]}
    kept = survivors(losses, 2)
    assert "a" not in kept
    assert "b" in kept
    assert survivors({"a": [2.0], "b": [1.0], "c": [3.0]}, 1) == ["b"]
    assert survivors({"a": [nan]}, 1) == []
