"""Optimizers do in a compiled step what they do in SVI's."""

import copy
from functools import partial

import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO

import pvae
from pvae.inference import CompiledSVI, Optimizer
from tests.programs import score_function


def adam(lr=1e-2, **arguments):
    return pyro.optim.Adam({"lr": lr} | arguments)


def per_parameter(name):
    return {"lr": 0.05 if "rates" in name else 0.01, "weight_decay": 0.1 * ("rates" in name)}


OPTIMIZERS = {
    "Adam": lambda: adam(0.05),
    "AdamW": lambda: pyro.optim.AdamW({"lr": 0.05, "weight_decay": 0.1}),
    "SGD": lambda: pyro.optim.SGD({"lr": 1e-3, "momentum": 0.9}),
    "ClippedAdam": lambda: pyro.optim.ClippedAdam({"lr": 0.05, "lrd": 0.9}),
    "RMSprop": lambda: pyro.optim.RMSprop({"lr": 0.01}),
    "per parameter": lambda: pyro.optim.Adam(per_parameter),
    "clipped": lambda: pyro.optim.Adam({"lr": 0.05}, {"clip_norm": 0.5}),
    "foreach": lambda: adam(0.05, foreach=True),
    "scheduled": lambda: pyro.optim.StepLR(
        {
            "optimizer": torch.optim.Adam,
            "optim_args": {"lr": 0.05},
            "step_size": 3,
            "gamma": 0.1,
        }
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_pyro_optimizer_keeps_its_semantics_and_state(name, tmp_path):
    model, guide, args = score_function()
    store = pyro.get_param_store()

    def train(cls, optim, steps):
        svi = cls(model, guide, optim, Trace_ELBO())
        for step in steps:
            pyro.set_rng_seed(step)
            svi.step(*args)
            if hasattr(optim, "step"):
                optim.step()

    def compiled(*arguments):
        return CompiledSVI(*arguments, compile=True, backend="graph")

    train(SVI, OPTIMIZERS[name](), range(8))
    expected = {name: p.detach().clone() for name, p in store.items()}
    pyro.clear_param_store()
    optim = OPTIMIZERS[name]()
    train(compiled, optim, range(4))
    optim.save(tmp_path / "optim")
    state = copy.deepcopy(store.get_state())
    # The rest by another: compiled, or Pyro's own.
    for second in (compiled, SVI):
        store.set_state(copy.deepcopy(state))
        resumed = OPTIMIZERS[name]()
        resumed.load(tmp_path / "optim")
        train(second, resumed, range(4, 8))
        for n, p in store.items():
            torch.testing.assert_close(p.detach(), expected[n], rtol=1e-4, atol=1e-8)


def test_an_optimizer_of_ours_gets_the_gradient_of_the_mean():
    trained = []
    for cls in (SVI, lambda *a: CompiledSVI(*a, compile=True, backend="graph")):
        pyro.clear_param_store()
        pyro.set_rng_seed(1)
        made = pvae.build((1, 8, 8), 2, network=partial(pvae.networks.MLP, hidden=[8])).double()
        optim = Optimizer(made.parameters(), torch.optim.SGD, clip_norm=0.1)
        svi = cls(made.model, made.guide, optim, TraceMeanField_ELBO())
        for n in (5, 5, 3):
            optim.batch_size = n
            pyro.set_rng_seed(n)
            svi.step(torch.ones(n, 1, 8, 8).double())
        trained.append([p.detach().clone() for p in made.parameters()])
    for one, other in zip(*trained, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_changed_learning_rates_are_taken_over():
    model, guide, args = score_function()
    optim = adam(0.1)
    svi = CompiledSVI(model, guide, optim, Trace_ELBO(), compile=True, backend="graph")
    svi.step(*args)
    for one in optim.optim_objs.values():
        one.param_groups[0]["lr"] = 0.0
    before = pyro.param("rates").clone()
    svi.step(*args)
    assert torch.equal(pyro.param("rates"), before)
