"""All pairs of parts; the full matrix is run by `python -m results.composition`."""

import composition
import pytest
from composition import (
    OBJECTIVES,
    POSTERIORS,
    PRIORS,
    REFUSED,
    Cell,
    build,
    check,
    pairs,
)

import pvae

PAIRS = pairs()


def test_every_part_takes_part():
    kinds = (
        ("priors", composition.PRIORS),
        ("posteriors", composition.POSTERIORS),
        ("likelihoods", composition.LIKELIHOODS),
        ("objectives", composition.OBJECTIVES),
    )
    for number, (room, parts) in enumerate(kinds):
        offered = set(dir(getattr(pvae, room))) & set(getattr(pvae, room).__all__)
        assert set(parts) == offered
        assert {cell[number] for cell in PAIRS} == set(parts)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_pairs(objective):
    for cell in PAIRS:
        if cell.objective == objective:
            try:
                check(cell)
            except Exception as error:
                raise AssertionError(f"{cell}: {error}") from error


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("posterior", POSTERIORS)
def test_impossible_pairs_are_refused(prior, posterior):
    cell = Cell(prior, posterior)
    # A VampPrior is over whatever its posterior is over, where that has a density.
    anywhere = prior == "VampPrior" and posterior in composition.SPACES
    if anywhere:
        check(cell)
    elif not cell.compatible:
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
