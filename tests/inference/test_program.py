"""The graph of one program, and the run that finds out whose parameters are in the store."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO

from pvae.inference import CompiledSVI


def model_of(start):
    """A model of one parameter, whose name it shares with others of this kind."""

    def model(x):
        level = pyro.param("level", torch.tensor(start))
        pyro.sample("x", dist.Normal(level, 1.0), obs=x)

    return model


def compiled(*args):
    return CompiledSVI(*args, compile=True, backend="graph")


@pytest.mark.parametrize("clear", [False, True])
def test_a_store_that_another_program_has_filled_is_used_as_svi_does(clear):
    """A run that asks whose parameters these are adds nothing to the gradients of others."""
    ended = []
    for cls in (SVI, compiled):
        pyro.clear_param_store()
        optim = pyro.optim.SGD({"lr": 0.1})
        one, other = (
            cls(model_of(start), lambda x: None, optim, Trace_ELBO()) for start in (1.0, 5.0)
        )
        x = torch.zeros(())
        losses = [one.step(x) for _ in range(3)]
        pyro.clear_param_store()
        losses += [other.step(x) for _ in range(3)]
        for p in pyro.get_param_store()._params.values():
            p.grad = None  # not zeros, which would be written to
        if clear:
            pyro.clear_param_store()
        losses += [one.step(x) for _ in range(3)]
        ended.append([*losses, pyro.param("level").item()])
    assert ended[1] == pytest.approx(ended[0])
