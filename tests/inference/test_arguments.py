"""What a graph can take, and for which arguments it is made."""

import pyro
import pytest
import torch
from pyro.infer import JitTrace_ELBO, Trace_ELBO

from pvae.inference import CompiledSVI
from pvae.inference.arguments import flatten_arguments, kind_of, layout_of
from tests.programs import score_function, vae


def adam(lr=1e-2, **arguments):
    return pyro.optim.Adam({"lr": lr} | arguments)


def test_losses_that_make_their_own_graph():
    model, guide, args = score_function()
    svi = CompiledSVI(model, guide, adam(), JitTrace_ELBO(), compile=True, backend="graph")
    with pytest.raises(ValueError, match="JitTrace_ELBO makes its own graph"):
        svi.step(*args)


def test_an_argument_that_requires_a_gradient_is_run_eagerly():
    model, guide, (x,) = vae()
    x = x.requires_grad_()
    svi = CompiledSVI(model, guide, adam(), Trace_ELBO())
    with pytest.warns(RuntimeWarning, match="requires a gradient"):
        svi.step(x)
    assert x.grad is not None


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ((torch.ones(2, 3).T.contiguous().T, 1.0), True),
        ((torch.ones(2, 3), 2.0), True),  # whose value is a constant of the graph
        ((torch.ones(3, 2), 1.0), False),
        ((torch.ones(2, 3).double(), 1.0), False),
        ((torch.ones(2, 3), 1), False),
    ],
)
def test_arguments_are_of_one_kind_by_shape_and_type(other, same):
    one, two = (
        kind_of(*flatten_arguments(args, {}), (), (adam,))
        for args in [(torch.zeros(2, 3), 1.0), other]
    )
    assert (one == two) is same


def test_only_contiguous_tensors_have_a_layout():
    x = torch.ones(2, 3)
    assert layout_of((x, x), {}) == layout_of((x + 1, x), {})
    assert layout_of((x,), {}) != layout_of((x.double(),), {}) != layout_of((x[:1],), {})
    sparse, learned = x.to_sparse(), torch.nn.Parameter(x)
    for odd in (x.T, sparse, learned, x.clone().requires_grad_(), 1.0, [x]):
        assert layout_of((x, odd), {}) is None
    assert layout_of((x,), {"y": x}) is None
