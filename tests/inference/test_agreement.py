"""A graph that computes something else than the eager program is found."""

import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO

from pvae.inference import CompiledSVI
from pvae.inference.agreement import Terms, close, close_or_none
from tests.programs import score_function


def adam(lr=1e-2, **arguments):
    return pyro.optim.Adam({"lr": lr} | arguments)


@pytest.mark.parametrize(("output", "what"), [(0, "loss"), (1, "gradient of p ")])
def test_a_wrong_graph_is_refused(monkeypatch, output, what):
    def miscompile(module, tensors, backend):
        def run(*args):
            outputs = list(module(*args))
            outputs[output] = outputs[output] * 1.01
            return outputs

        return run

    monkeypatch.setattr("pvae.inference.program.compile_graph", miscompile)
    model, guide, args = score_function()
    strict = CompiledSVI(model, guide, adam(), Trace_ELBO(), compile=True, backend="graph")
    with pytest.raises(RuntimeError, match=f"disagrees with the eager program.*{what}"):
        strict.step(*args)
    svi = CompiledSVI(model, guide, adam(), Trace_ELBO(), backend="graph")
    with pytest.warns(RuntimeWarning, match=f"its graph disagrees with it, .*{what}"):
        svi.step(*args)


@pytest.mark.parametrize(
    ("value", "reference", "same"),
    [
        (1.0005, 1.0, True),
        (1.005, 1.0, False),
        (torch.nan, torch.nan, True),
        (torch.nan, 1.0, False),
    ],
)
def test_values_are_close_up_to_rounding(value, reference, same):
    assert close(torch.tensor([value]), torch.tensor([reference]), 1.0) is same


def test_no_gradient_is_that_of_zeros():
    assert close_or_none(None, torch.zeros(2), 1.0)
    assert not close_or_none(torch.ones(2), None, 1.0)


def test_terms_outside_of_the_programs_are_measured():
    with Terms() as terms:
        torch.tensor([-2.0, 3.0]).sum()
        terms.program(lambda: torch.full((9,), 100.0).sum())()
    assert terms.largest == 5.0
