"""All pairs of parts; the full matrix is run by `python -m results.composition`."""

import pytest

import pvae
from tests.composition import (
    KINDS,
    NETWORKS,
    POSTERIORS,
    PRIORS,
    REFUSED,
    Cell,
    build,
    check,
    pairs,
)

PAIRS = pairs()
AT_ONCE = 25  # so that processes share them evenly


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_has_a_case_and_takes_part(kind):
    """What a package exports has a case in `*_cases.py`, and meets every other part."""
    parts, number, package = set(KINDS[kind]), list(KINDS).index(kind), getattr(pvae, kind)
    assert parts == {name for name in package.__all__ if isinstance(getattr(package, name), type)}
    assert {cell[number] for cell in PAIRS} == parts


@pytest.mark.parametrize("network", NETWORKS)
def test_every_part_meets_every_network(network):
    cells = [cell for cell in PAIRS if cell.network == network]
    met = [{cell[i] for cell in cells} for i in range(4)]
    missing = set().union(*(set(KINDS[k]) - parts for k, parts in zip(KINDS, met, strict=False)))
    assert missing == ({"StructuralSimilarity"} if network == "GRU" else set())


@pytest.mark.parametrize("first", range(0, len(PAIRS), AT_ONCE))
def test_pairs(first):
    for cell in PAIRS[first : first + AT_ONCE]:
        try:
            check(cell, steps=2)
        except Exception as error:
            raise AssertionError(f"{cell}: {error}") from error


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_impossible_pairs_are_refused(posterior):
    for prior in PRIORS:
        cell = Cell(prior, posterior)
        if cell.compatible:
            continue
        with pytest.raises(ValueError, match=r"over the same z|cannot score") as refusal:
            build(cell)
        assert posterior in str(refusal.value) or "flow" in str(refusal.value)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("objective", "posterior"),
    [(o, q) for o, posteriors in REFUSED.items() for q in sorted(posteriors)],
)
def test_impossible_objectives_are_refused(objective, posterior):
    prior = next(p for p in PRIORS if Cell(p, posterior).compatible)
    with pytest.raises(ValueError, match="posterior"):
        check(Cell(prior, posterior, objective=objective))
