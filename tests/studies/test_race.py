import numpy as np
import pytest

from pvae.studies.race import KEPT, ROUNDS, survivors


def race(losses):
    """The winner of a race, and its share of the epochs of the exhaustive study.

    ``losses(share)`` maps the share of the epochs that are trained to the losses of the cells.
    """
    names, spent, before = list(losses(1.0)), 0.0, 0.0
    remaining = names
    for left in range(ROUNDS, -1, -1):
        share = KEPT**-left
        spent += len(remaining) * (share - before)
        before = share
        if left:
            now = losses(share)
            remaining = survivors({name: now[name] for name in remaining})
    final = losses(1.0)
    best = min(remaining, key=lambda name: np.mean(final[name]))
    return best, spent / len(names)


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

    winner, spent = race(losses)
    assert winner == "cell 0"
    assert spent <= 1 / 3


def test_cells_that_chance_may_have_put_behind_go_on():
    rng = np.random.default_rng(0)
    noisy = {f"cell {i}": list(rng.normal(size=3)) for i in range(9)}
    assert len(survivors(noisy)) > 3


def test_failed_runs_and_single_seeds():
    nan = float("nan")
    losses = {"a": [nan, nan], "b": [1.0, nan], "c": [2.0, 2.1], "d": [5.0, 5.1]}
    kept = survivors(losses)
    assert "a" not in kept
    assert "b" in kept
    assert survivors({"a": [2.0], "b": [1.0], "c": [3.0]}) == ["b"]
    assert survivors({"a": [nan]}) == []
