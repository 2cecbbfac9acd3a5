import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO

from pvae.inference.eager_step import EagerStep


def model(x):
    p = pyro.param("p", lambda: torch.randn(()))
    pyro.sample("x", dist.Normal(p + torch.randn(()), 1.0), obs=x)


@pytest.mark.parametrize("gradients", [True, False])
def test_a_postponed_step_is_svis(gradients):
    ended = []
    for put_off in (False, True):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        svi = SVI(model, lambda x: None, pyro.optim.SGD({"lr": 0.1}), Trace_ELBO())
        x = torch.zeros(())
        if put_off:
            step = EagerStep(svi, gradients, (x,), {})
            before = torch.get_rng_state()
            loss = step.take()
            assert not torch.equal(torch.get_rng_state(), before)
        else:
            loss = (svi.step if gradients else svi.evaluate_loss)(x)
        ended.append([loss, pyro.param("p").item(), torch.rand(()).item()])
    assert ended[0] == ended[1]
