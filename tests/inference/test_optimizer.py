from functools import partial

import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO

import pvae
from pvae.inference import CompiledSVI, Optimizer

FACTORIES = [
    torch.optim.Adam,
    partial(torch.optim.AdamW, weight_decay=0.1),
    partial(torch.optim.RMSprop, lr=1e-3),
    partial(torch.optim.SGD, lr=1e-4, momentum=0.9),
]


def train(vae, x, optim, steps=5):
    svi = SVI(vae.model, vae.guide, optim, loss=Trace_ELBO())
    torch.manual_seed(1)
    for _ in range(steps):
        svi.step(x)
    return {name: p.detach().clone() for name, p in vae.named_parameters()}


def twins():
    pyro.set_rng_seed(2)
    one = pvae.build((1, 8, 8), 2).double()
    two = pvae.build((1, 8, 8), 2).double()
    two.load_state_dict(one.state_dict())
    return one, two


@pytest.mark.parametrize("factory", FACTORIES)
def test_same_steps_as_pyros_own_optimizer(x, factory):
    x = x.double()
    ours, theirs = twins()
    found = train(ours, x, Optimizer(ours.parameters(), factory))
    arguments = getattr(factory, "keywords", {})
    pyros = pyro.optim.PyroOptim(getattr(factory, "func", factory), arguments)
    expected = train(theirs, x, pyros)
    for name, p in expected.items():
        torch.testing.assert_close(found[name], p, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_mean_loss_and_clipping(x, clip_norm):
    x = x.double()
    ours, by_hand = twins()
    before = {name: p.detach().clone() for name, p in ours.named_parameters()}
    optim = Optimizer(ours.parameters(), partial(torch.optim.SGD, lr=1.0), clip_norm)
    optim.batch_size = len(x)
    after = train(ours, x, optim, steps=1)
    torch.manual_seed(1)
    loss = Trace_ELBO().differentiable_loss(by_hand.model, by_hand.guide, x) / len(x)
    loss.backward()
    gradient = {name: p.grad for name, p in by_hand.named_parameters()}
    norm = torch.stack([g.norm() for g in gradient.values()]).norm()
    factor = 1.0 if clip_norm is None else min(1.0, clip_norm / norm.item())
    assert clip_norm is None or factor < 1
    for name, g in gradient.items():
        torch.testing.assert_close(before[name] - after[name], factor * g, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("inference", [SVI, partial(CompiledSVI, backend="graph")])
def test_steps_of_large_gradients_are_skipped(x, inference):
    """They leave weights and moments as they are, compiled or not."""
    x = x.double()
    found = []
    for skip in (None, 1e6, "norm"):
        vae, _ = twins()
        norms = []
        optim = Optimizer(vae.parameters(), torch.optim.Adam)
        optim.skip_norm = 1e-9 if skip == "norm" else skip
        svi = inference(vae.model, vae.guide, optim, Trace_ELBO())
        torch.manual_seed(1)
        for step in range(4):
            if skip == "norm" and step == 2:
                optim.skip_norm = None
                torch.manual_seed(1)
            svi.step(x)
            norms.append(torch.cat([p.detach().flatten() for p in vae.parameters()]))
        assert optim.skipped == (2 if skip == "norm" else 0)
        found.append(norms)
    plain, high, skipped = found
    torch.testing.assert_close(plain[-1], high[-1], rtol=0, atol=0)
    assert torch.equal(skipped[0], skipped[1])
    torch.testing.assert_close(skipped[3], plain[1])


def test_state_comes_back(x):
    x = x.double()
    straight, stopped = twins()
    expected = train(straight, x, Optimizer(straight.parameters(), torch.optim.Adam), steps=2)
    torch.manual_seed(1)
    optim = Optimizer(stopped.parameters(), torch.optim.Adam)
    svi = SVI(stopped.model, stopped.guide, optim, loss=Trace_ELBO())
    svi.step(x)
    state = optim.get_state()
    optim = Optimizer(stopped.parameters(), torch.optim.Adam)
    optim.set_state(state)
    SVI(stopped.model, stopped.guide, optim, loss=Trace_ELBO()).step(x)
    for name, p in stopped.named_parameters():
        assert torch.equal(p, expected[name])


def test_fused_unless_asked_otherwise():
    p = [torch.nn.Parameter(torch.zeros(3))]
    assert Optimizer(p, torch.optim.Adam).torch_optimizer.defaults["fused"]
    for choice in ({"fused": False}, {"foreach": True}):
        optim = Optimizer(p, partial(torch.optim.Adam, **choice)).torch_optimizer
        assert not optim.defaults["fused"]


def test_bad_arguments(vae):
    with pytest.raises(ValueError, match="clip_norm is -1"):
        Optimizer(vae.parameters(), torch.optim.Adam, clip_norm=-1)
    with pytest.raises(ValueError, match="skip_norm is nan"):
        Optimizer(vae.parameters(), torch.optim.Adam, skip_norm=float("nan"))
    vae.requires_grad_(False)
    with pytest.raises(ValueError, match="every parameter is frozen"):
        Optimizer(vae.parameters(), torch.optim.Adam)
