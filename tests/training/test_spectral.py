from functools import partial

import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import nn

import pvae
from pvae.inference import CompiledSVI, Optimizer
from pvae.training.spectral import limited, spectral_bound


@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (8, 4, 3, 3), (1, 7), (5, 1)])
def test_the_bound_is_a_little_above_the_norm(shape):
    weight = 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    norm = torch.linalg.matrix_norm(weight.flatten(1), 2)
    assert norm * (1 - 1e-6) <= spectral_bound(weight) <= 1.03 * norm


@pytest.mark.parametrize("size", [1e-8, 1.0, 1e8])
def test_the_bound_is_of_any_size(size):
    assert spectral_bound(size * torch.eye(1)).item() == pytest.approx(size, rel=1e-5)
    widest = spectral_bound(size * torch.eye(64)).item()  # equal singular values
    assert widest == pytest.approx(size * 64 ** (1 / 128), rel=1e-5)


def test_small_and_fixed_layers_stay_as_they_are():
    layers = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3), nn.Embedding(3, 3)])
    for layer, size in zip(layers, (0.0, 0.5, 5.0, 5.0), strict=True):
        nn.init.eye_(layer.weight).data.mul_(size)
    layers[2].weight.requires_grad_(False)
    before = [layer.weight.clone() for layer in layers]
    limited(layers, 1.0)()
    for layer, old in zip(layers, before, strict=True):
        assert torch.equal(layer.weight, old)


@pytest.mark.parametrize("inference", [SVI, partial(CompiledSVI, backend="graph")])
def test_compiled_steps_are_limited_alike(inference):
    vae = pvae.build((6,), 2, network=partial(pvae.networks.MLP, hidden=[8]), seed=0)
    layers = [m.weight.detach() for m in vae.modules() if isinstance(m, nn.Linear)]
    rate = partial(torch.optim.SGD, lr=1.0)
    optim = Optimizer(vae.parameters(), rate, project=limited(vae, 0.5))
    svi = inference(vae.model, vae.guide, optim, Trace_ELBO())
    for _ in range(3):
        svi.step(torch.ones(4, 6))
        norms = [torch.linalg.matrix_norm(w, 2).item() for w in layers]
        assert max(norms) == pytest.approx(0.5, rel=0.05)
        assert max(norms) <= 0.5 * (1 + 1e-5)


def test_no_layer_is_above_the_limit(tmp_path):
    network = partial(pvae.networks.ResNet, channels=[4, 8], blocks=1)
    data = pvae.data.load(torch.rand(40, 1, 8, 8).numpy(), validation=0)
    found = {}
    for limit in (None, 0.8):
        vae = pvae.build(data.event_shape, 2, network=network, seed=0)
        run = None if limit is None else tmp_path / "run"
        options = {"epochs": 1, "batch_size": 20, "compile": False, "progress": False}
        pvae.fit(vae, data, spectral_limit=limit, run=run, **options)
        kinds = nn.Linear, nn.Conv2d
        layers = [m.weight.detach() for m in vae.modules() if isinstance(m, kinds)]
        found[limit] = max(torch.linalg.matrix_norm(w.flatten(1), 2).item() for w in layers)
    assert found[None] > 0.9
    assert 0.76 < found[0.8] <= 0.8 * (1 + 1e-5)
    assert pvae.training.Run(tmp_path / "run").config["spectral_limit"] == 0.8
