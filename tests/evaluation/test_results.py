"""How results describe themselves."""

import inspect

import pytest
import torch

import pvae
from pvae import evaluation
from pvae.evaluation.results import described, estimate, interval, unreliable_items

RESULTS = [
    kind
    for kind in (getattr(evaluation, name) for name in evaluation.__all__)
    if isinstance(kind, type) and hasattr(kind, "_fields")
]


@pytest.mark.parametrize("kind", RESULTS)
def test_every_field_is_documented_and_shown(kind):
    documented = inspect.getdoc(kind).split("Attributes:")[1]
    values = {
        field: 1.0 if kind.__annotations__[field] is float else torch.ones(2, 2)
        for field in kind._fields
    }
    shown = repr(kind(**values))
    for field in kind._fields:
        assert f"    {field}: " in documented
        assert field in shown
    assert len(RESULTS) > 15


def test_numbers_in_words():
    found = pvae.evaluation.ELBO(torch.tensor([-1.0, -3.0]), torch.full((2, 3), torch.nan), 0.5)
    assert described(found).splitlines() == [
        "ELBO",
        "  elbo            shape (2,), mean -2, from -3 to -1",
        "  log_likelihood  shape (2, 3), 6 not finite",
        "  kl              0.5",
    ]
    assert described(found, "one", "two").startswith("ELBO: one; two\n")


@pytest.mark.parametrize("kind", [kind for kind in RESULTS if "over_weights" in kind._fields])
def test_a_vae_without_uncertain_weights_shows_none(kind):
    values = {field: torch.ones(2) for field in kind._fields}
    assert "over_weights" not in repr(kind(**values | {"over_weights": torch.ones(2, 1)}))
    assert "over_weights  " in repr(kind(**values | {"over_weights": torch.ones(2, 3)}))


def test_an_error_is_given_only_where_it_is_known():
    assert estimate(-2.0, 0.1, 0.0) == "-2.000 ± 0.100 (samples)"
    assert estimate(-2.0, 0.1, 0.03) == "-2.000 ± 0.100 (samples)"
    assert estimate(-2.0, 0.1, 0.06) == "-2.000, a lower bound, its error unknown"
    assert estimate(-2.0, None, 0.0) == "-2.000"
    assert unreliable_items(0.0, 100) == "0 of 100"
    assert unreliable_items(0.06, 100) == "6 of 100 (6.0 %)"
    said = "3 of 100 (3.0 %); their error is unknown and left out of the ±"
    assert unreliable_items(0.03, 100) == said
    assert interval(-3.0, -2.0, None) == "-3.000 to -2.000, gap 1.000"
    assert "bounds equal within error" in interval(-2.0, -2.0, None)
    crossed = "-2.000 and -2.500, the lower bound above the upper (gap -0.500"
    assert interval(-2.0, -2.5, 0.1) == f"{crossed} ± 0.100): more chains are needed"
    assert interval(-2.0, -2.5, None) == f"{crossed}): more chains are needed"
