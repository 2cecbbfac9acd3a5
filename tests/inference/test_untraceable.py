"""Programs without a static graph are run by SVI, with a warning that names the cause."""

import random
import warnings

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO

from pvae.inference import CompiledSVI


def adam(lr=1e-2):
    return pyro.optim.Adam({"lr": lr})


def branching(x):
    z = pyro.sample("z", dist.Normal(pyro.param("loc", torch.zeros(())), 1.0))
    if z > 0:
        z = z * 2
    pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def random_structure(x):
    z = pyro.sample("z", dist.Normal(pyro.param("loc", torch.zeros(())), 1.0))
    pyro.sample("x", dist.Normal(z * np.random.randn(), 1.0), obs=x)


def growing(x):
    z = pyro.sample("z", dist.Normal(pyro.param("loc", torch.zeros(())), 1.0))
    growing.state.append(float(len(growing.state)))
    pyro.sample("x", dist.Normal(z + growing.state[-1], 1.0), obs=x)


def selecting(x):
    z = pyro.sample("z", dist.Normal(pyro.param("loc", torch.zeros(5)), 1.0).to_event(1))
    few = z[z > -10]
    pyro.sample("x", dist.Normal(few.sum() if len(few) > 3 else z.sum(), 1.0), obs=x)


def random_branch_of_python(x):
    z = pyro.sample("z", dist.Normal(pyro.param("loc", torch.zeros(())), 1.0))
    pyro.sample("x", dist.Normal(z * random.random(), 1.0), obs=x)


def plain_guide(x):
    pyro.sample("z", dist.Normal(pyro.param("q", torch.zeros(())), 1.0))


def wide_guide(x):
    pyro.sample("z", dist.Normal(pyro.param("q", torch.zeros(5)), 1.0).to_event(1))


@pytest.mark.parametrize(
    ("model", "cause"),
    [
        (branching, r"value of a tensor.*test_untraceable.py:\d+: if z > 0"),
        (selecting, r"value of a tensor.*test_untraceable.py:\d+: .*len\(few\) > 3"),
        (random_structure, "random numbers by Python or NumPy"),
        (random_branch_of_python, "random numbers by Python or NumPy"),
        (growing, "state of growing is given another value at each run"),
    ],
)
def test_a_program_without_a_graph_is_run_eagerly(model, cause):
    growing.state = []
    guide = wide_guide if model is selecting else plain_guide
    x = torch.zeros(())
    strict = CompiledSVI(model, guide, adam(), Trace_ELBO(), compile=True, backend="graph")
    with pytest.raises(ValueError, match=cause) as error:
        strict.step(x)
    assert "\n" not in str(error.value)
    svi = CompiledSVI(model, guide, adam(0.1), Trace_ELBO(), backend="graph")
    with pytest.warns(RuntimeWarning, match=cause):
        svi.step(x)
    before = pyro.param("q").clone()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it has been said
        assert isinstance(svi.step(x), float)
        assert isinstance(svi.evaluate_loss(x), float)
    assert not torch.equal(pyro.param("q"), before)
