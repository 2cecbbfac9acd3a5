import random

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO

from pvae.inference.tracing import difference, trace
from pvae.inference.untraceable import Untraceable


def traced(model, x):
    return trace(
        Trace_ELBO().loss_and_grads,
        model,
        lambda x: None,
        [pyro.param("loc", torch.ones(()))],
        [x],
        lambda inputs: (tuple(inputs), {}),
        1.0,
    )


def observing(shift):
    def model(x):
        pyro.sample("x", dist.Normal(pyro.param("loc") + shift(), 1.0), obs=x)

    return model


def test_a_graph_returns_loss_and_gradients():
    graph = traced(observing(lambda: 2.0), torch.zeros(()))
    loss, gradient = graph.module(torch.ones(()), torch.zeros(()), *graph.live)
    assert loss == pytest.approx(-dist.Normal(3.0, 1.0).log_prob(torch.zeros(())))
    assert gradient == pytest.approx(3.0)
    assert graph.reached == [True]


def test_two_runs_may_differ():
    shifts = iter([1.0, 1.0, 2.0])
    one, same, other = (traced(observing(lambda: next(shifts)), torch.ones(())) for _ in range(3))
    assert difference(one, same) is None
    assert "operations differ between two runs" in difference(one, other)


def test_random_numbers_of_python_are_refused():
    with pytest.raises(Untraceable, match="by Python or NumPy"):
        traced(observing(random.random), torch.ones(()))
