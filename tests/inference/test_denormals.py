"""Moments that decay stay numbers that processors compute fast, and move the weights as before."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from pvae.inference import Optimizer
from pvae.inference.optimizer import forms

TINY = torch.finfo(torch.float32).tiny


def gradients(steps: int) -> list[Tensor]:
    """Of weights of which half never have a gradient after the first steps."""
    torch.manual_seed(0)
    seldom = torch.tensor([1.0, 0.0]).repeat(100)
    return [torch.randn(200) * (1 if step < 5 else seldom) for step in range(steps)]


def trained(update: partial, steps: int) -> tuple[Tensor, dict[str, Tensor]]:
    """The weights after some steps, and their moments."""
    weights = nn.Parameter(torch.linspace(-1, 1, 200))
    optimizer = update([weights])
    take = optimizer.update if isinstance(optimizer, Optimizer) else optimizer.step
    for gradient in gradients(steps):
        weights.grad = gradient.clone()
        take()
    torch_optimizer = getattr(optimizer, "torch_optimizer", optimizer)
    return weights.detach(), torch_optimizer.state[weights]


def denormals(moments: Tensor) -> int:
    return int(((moments != 0) & (moments.abs() < TINY)).sum())


@pytest.mark.parametrize(
    "factory",
    [
        torch.optim.Adam,
        torch.optim.AdamW,
        partial(torch.optim.Adam, amsgrad=True),
        partial(torch.optim.Adam, fused=False),
        torch.optim.NAdam,
    ],
)
def test_decaying_moments_become_zero_and_weights_keep_their_bits(factory):
    plain, before = trained(lambda p: factory(p, **forms(factory, p)), 1100)
    ours, after = trained(lambda p: Optimizer(p, factory), 1100)
    assert denormals(before["exp_avg"]) > 50, "the test has nothing to find"
    for name in ("exp_avg", "exp_avg_sq"):
        assert denormals(after[name]) == 0
        torch.testing.assert_close(after[name], before[name], rtol=1e-6, atol=1e-34)
    assert torch.equal(ours, plain)


@pytest.mark.parametrize("eps", [0.0, 1e-20])
def test_moments_that_may_matter_are_kept(eps):
    # Without a larger number added to its root, however small a moment is, it moves a weight.
    weights = nn.Parameter(torch.zeros(3))
    optimizer = Optimizer([weights], partial(torch.optim.Adam, eps=eps))
    for _ in range(64):
        weights.grad = torch.full((3,), 1e-17)
        optimizer.update()
    assert (optimizer.torch_optimizer.state[weights]["exp_avg_sq"] > 0).all()
    torch.testing.assert_close(weights.detach(), torch.full((3,), -0.064), rtol=1e-3, atol=0)


def test_a_weight_without_gradients_does_not_stop_it():
    idle, weights = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.ones(2))
    optimizer = Optimizer([idle, weights], torch.optim.Adam)
    for step in range(1024):
        weights.grad = torch.ones(2) if step < 3 else torch.zeros(2)
        optimizer.update()
    assert (optimizer.torch_optimizer.state[weights]["exp_avg"] == 0).all()


@pytest.mark.parametrize("factory", [torch.optim.Adafactor, torch.optim.SGD, torch.optim.RMSprop])
def test_other_optimizers_are_left_as_they_are(factory):
    weights = nn.Parameter(torch.ones(2, 2))
    plain = nn.Parameter(torch.ones(2, 2))
    optimizer, reference = Optimizer([weights], factory), factory([plain])
    for _ in range(65):
        weights.grad, plain.grad = torch.ones(2, 2), torch.ones(2, 2)
        optimizer.update()
        reference.step()
    torch.testing.assert_close(weights, plain)
