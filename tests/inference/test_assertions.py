"""Checks of values that programs make hold in every step."""

import sys

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO

from pvae.inference import CompiledSVI
from pvae.inference.assertions import Checks


def test_an_assertion_holds_in_every_step():
    def model(x):
        assert (x < 100).all(), "too large"
        loc = pyro.param("loc", torch.zeros(3))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    svi = CompiledSVI(
        model,
        lambda x: None,
        pyro.optim.Adam({"lr": 0.01}),
        Trace_ELBO(),
        compile=True,
        backend="graph",
    )
    for _ in range(5):
        svi.step(torch.ones(2, 3))
    before = pyro.param("loc").clone()
    with pytest.raises(AssertionError, match="too large"):
        svi.step(torch.full((2, 3), 200.0))
    assert torch.equal(pyro.param("loc"), before)
    assert isinstance(svi.step(torch.ones(2, 3)), float)


def asserting(x):
    assert x > 0


def raising(x):
    if x < 0:
        raise ValueError


def choosing(x):
    return 1 if x > 0 else 2


@pytest.mark.parametrize(
    ("code", "answer"), [(asserting, True), (raising, False), (choosing, None)]
)
def test_only_conditions_of_errors_are_checks(code, answer):
    """The question is answered where the second run asks it, as a trace would."""
    with Checks() as checks:
        code(torch.ones(()))
    found = []

    class Asked:
        def __gt__(self, other):
            return self

        __lt__ = __gt__

        def __bool__(self):
            found.append(checks.answer(sys._getframe(1)))
            return bool(found[0])

    code(Asked())
    assert found == [answer]
