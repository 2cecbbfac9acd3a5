import math

import numpy as np
import pytest
from scipy import stats

from pvae.studies.statistics import (
    Difference,
    Interval,
    holm,
    over_seeds,
    paired_difference,
    verdict,
)


def layouts(number, seeds, items, seed_spread, item_spread, spread, shift=0.0):
    """Differences of simulated studies with known variances, one study a row."""
    rng = np.random.default_rng(0)
    return (
        shift
        + seed_spread * rng.normal(size=(number, seeds, 1))
        + item_spread * rng.normal(size=(number, 1, items))
        + spread * rng.normal(size=(number, seeds, items))
    )


@pytest.mark.parametrize(
    ("seeds", "items", "spreads"),
    [
        (3, 100, (0.1, 1.0, 0.5)),
        (3, 100, (0.05, 1.0, 1.0)),
        (5, 50, (0.2, 1.0, 1.0)),
        (5, 60, (0.3, 0.5, 1.0)),
    ],
)
def test_intervals_cover_what_they_say(seeds, items, spreads):
    found = [paired_difference(d, np.zeros_like(d)) for d in layouts(2000, seeds, items, *spreads)]
    low, high = np.array([(f.interval.low, f.interval.high) for f in found]).T
    covered = np.mean((low <= 0) & (high >= 0))
    assert 0.93 <= covered <= 0.97
    # Without a difference at most 5 % are called better, and as many worse.
    better = np.mean([verdict(f, f.p_value, 0.0, True) == "better" for f in found])
    assert better <= 0.05


def test_power_is_that_of_the_t_test():
    seeds, error = 5, 0.1
    d = layouts(2000, seeds, 1, error * seeds**0.5, 0.0, 0.0, shift=3 * error)
    found = [paired_difference(each, np.zeros_like(each)) for each in d]
    share = np.mean([verdict(f, f.p_value, 0.0, False) == "better" for f in found])
    critical = stats.t.ppf(0.975, seeds - 1)
    promised = stats.nct.sf(critical, seeds - 1, 3.0)
    assert share == pytest.approx(promised, abs=0.03)


def test_a_layout_by_hand():
    d = np.array([[1.0, 2.0], [3.0, 6.0]])
    found = paired_difference(d, np.zeros((2, 2)))
    # Mean squares: seeds 9, items 4, the rest 1; variance (9 + 4 - 1) / 4.
    assert found.interval.mean == 3.0
    assert found.interval.standard_error == pytest.approx(3**0.5)
    assert found.over_seeds == pytest.approx(1.5)
    assert found.over_items == pytest.approx(1.0)
    assert found.interval.degrees == pytest.approx(12**2 / (81 + 16 + 1))


def test_one_seed_has_no_interval():
    found = paired_difference(np.ones((1, 50)), np.random.default_rng(0).normal(size=(1, 50)))
    assert math.isnan(found.interval.standard_error)
    assert math.isnan(found.p_value)
    assert found.over_items > 0
    assert verdict(found, found.p_value, 0.0, True) == "one seed"


def test_ties_are_equal():
    same = np.random.default_rng(0).normal(size=(3, 20))
    found = paired_difference(same, same)
    assert found.interval[:4] == (0.0, 0.0, 0.0, 0.0)
    assert verdict(found, found.p_value, 0.0, True) == "equal"


@pytest.mark.parametrize(
    ("mean", "p", "doubt", "lower", "expected"),
    [
        (-1.0, 0.01, 0.0, True, "better"),
        (-1.0, 0.01, 0.0, False, "worse"),
        (1.0, 0.01, 0.5, True, "worse"),
        (-1.0, 0.06, 0.0, True, "undecided"),
        (-1.0, 0.01, 1.5, True, "undecided"),
        (-1.0, 0.01, math.nan, True, "undecided"),
        (math.nan, math.nan, 0.0, True, "no common seed"),
    ],
)
def test_a_verdict_needs_more_than_chance_and_doubt(mean, p, doubt, lower, expected):
    difference = Difference(Interval(mean, 0.1, mean - 0.3, mean + 0.3, 2.0), 0.1, 0.1, p)
    assert verdict(difference, p, doubt, lower) == expected


def test_holm():
    assert holm([0.01, 0.04, 0.03, math.nan])[:3] == pytest.approx([0.03, 0.06, 0.06])
    assert math.isnan(holm([0.01, math.nan])[1])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_missing_runs_are_left_out_of_a_mean():
    found = over_seeds([1.0, math.nan, 3.0])
    assert (found.mean, found.standard_error, found.degrees) == (2.0, 1.0, 1)
    assert math.isnan(over_seeds([math.nan]).mean)
    assert math.isnan(over_seeds([1.0]).standard_error)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (np.ones((2, 3)), np.ones((3, 2)), "must be equal"),
        (np.full((2, 3), math.nan), np.ones((2, 3)), "not all finite"),
    ],
)
def test_what_is_not_paired_is_refused(first, second, said):
    with pytest.raises(ValueError, match=said):
        paired_difference(first, second)
