import subprocess
import sys
from functools import partial

import pytest
import torch
from torch import nn

import pvae
from pvae import memory


def test_a_model_is_measured_without_being_made(vae):
    before = torch.get_rng_state()
    make = partial(pvae.build, (1, 8, 8), 2, network=partial(pvae.networks.MLP, hidden=[16]))
    state = memory.check_model(make)
    assert {n: w.shape for n, w in state.items()} == {
        n: w.shape for n, w in vae.state_dict().items()
    }
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "options",
    [
        {"latent_dim": 10**9},
        {"event_shape": (1, 10**5, 10**5)},
        {"network": partial(pvae.networks.MLP, hidden=[10**9])},
        {"network": partial(pvae.networks.Conv, channels=[10**6, 10**6])},
        {"prior": partial(pvae.priors.VampPrior, components=10**9)},
        {"posterior": partial(pvae.posteriors.PlanarFlow, layers=10**9)},
        {"classes": 10**9, "conditional": True},
    ],
)
def test_models_that_memory_cannot_hold(options):
    options = {"event_shape": (1, 8, 8), "latent_dim": 2} | options
    with pytest.raises(ValueError, match=r"would take .* of memory|more layers or components"):
        memory.check_model(lambda: pvae.build(**options))


def test_layers_without_end():
    def make():
        layers = nn.ModuleList()
        while True:
            layers.append(nn.Linear(1, 1))

    with pytest.raises(ValueError, match="more layers or components"):
        memory.check_model(make)


def test_what_cannot_be_measured_is_left_to_be_made():
    def make():
        torch.ones(3).tolist()
        return nn.Linear(1, 1)

    assert memory.check_model(make) is None


@pytest.mark.parametrize(
    ("arguments", "small"),
    [
        ({}, True),
        ({"event_shape": [1, 28, 28], "network": {"init_args": {"hidden": [400]}}}, True),
        ({"event_shape": [1, 28, 28], "latent_dim": 20, "beta": 0.1, "compile": True}, True),
        ({"prior": {"init_args": {"components": 10**8}}}, False),
        ({"event_shape": [1, 10**4, 10**4]}, False),
        ({"network": {"init_args": {"hidden": [10**4, 10**4]}}}, False),
        ({"latent_dim": float("inf")}, False),
    ],
)
def test_sizes_that_multiply_to_little_are_small(arguments, small):
    assert memory.is_small(arguments) is small


def test_a_small_model_of_a_run_is_built_without_the_compiler():
    script = (
        "import sys; from pvae.training.rebuild import build_from;"
        "build_from({'event_shape': [1, 8, 8], 'latent_dim': 2}).sample(3);"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
