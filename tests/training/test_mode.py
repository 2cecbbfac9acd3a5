import time

import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO

import pvae
from pvae.data import Batches
from pvae.inference.backends import best_backend
from pvae.objectives import BetaELBO
from pvae.training import mode


@pytest.fixture
def vae():
    pyro.set_rng_seed(0)
    return pvae.build((1, 8, 8), 2)


@pytest.fixture
def train():
    data = pvae.data.load("digits")
    return Batches(data, data.train, "binary", batch_size=128)


@pytest.mark.parametrize(
    ("milliseconds", "operators", "steps", "chosen"),
    [
        (2, 170, 299, "eager"),
        (2, 170, 2000, "eager"),  # saves a second and a half, costs two
        (2, 170, 10_000, "graph"),
        (2, 170, 200_000, best_backend(torch.device("cpu"))),
        (100, 170, 1000, "eager"),  # a graph saves one second
        (100, 170, 3000, best_backend(torch.device("cpu"))),
        (100, 510, 3000, "graph"),  # a compiler saves one minute, and takes more
        (100, 20_000, 10_000, "eager"),  # a graph of a long sequence takes 40 seconds to make
    ],
)
def test_the_faster_mode_is_chosen(monkeypatch, vae, train, milliseconds, operators, steps, chosen):
    monkeypatch.setattr(mode, "_measure", lambda *_: (milliseconds / 1000, operators))
    assert mode.choose_mode(vae, Trace_ELBO(), train, steps) == chosen


def test_gradients_are_measured_too(vae, train):
    calls = []
    vae.likelihood.network.register_full_backward_hook(lambda *_: calls.append(None))
    mode._measure(vae, Trace_ELBO(), train)
    assert len(calls) == 1 + mode.MEASURED_STEPS


def test_a_step_is_measured_and_undone(vae, train):
    objective = BetaELBO(warmup_steps=10)
    objective.loss_and_grads(vae.model, vae.guide, train.head(128))
    vae.zero_grad()
    weights = [p.clone() for p in vae.parameters()]
    state = torch.get_rng_state()
    began = time.perf_counter()
    step, operators = mode._measure(vae, objective, train)
    assert 0 < step < (time.perf_counter() - began) / 4
    _, more = mode._measure(vae, pvae.objectives.VAEGAN((1, 8, 8)), train)
    assert operators < more / 2
    assert objective.step == 1
    assert torch.equal(torch.get_rng_state(), state)
    for p, w in zip(vae.parameters(), weights, strict=True):
        assert torch.equal(p, w)
        assert p.grad is None
