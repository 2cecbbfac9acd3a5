import copy
from functools import partial

import pytest
import torch
from torch.optim import SGD, Adam, AdamW, lr_scheduler

from pvae.inference.fused_adam import LeanAdam, Stepper

OPTIMIZERS = {
    "Adam": partial(Adam, fused=True),
    "Adam, all settings": partial(
        Adam, fused=True, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1, amsgrad=True
    ),
    "Adam, maximizing": partial(Adam, fused=True, maximize=True),
    "AdamW": partial(AdamW, fused=True, weight_decay=0.1),
}


def parameters():
    torch.manual_seed(0)
    return [torch.randn(shape, requires_grad=True) for shape in [(3, 4), (4,), (), (2, 2)]]


def train(make, stepper_of, steps=8):
    """Train with gradients that are missing now and then, and a learning rate that falls."""
    leaves = parameters()
    optimizer = make([{"params": leaves[:2], "lr": 0.1}, {"params": leaves[2:]}], lr=0.01)
    schedule = lr_scheduler.ExponentialLR(optimizer, 0.7)
    stepper = stepper_of(optimizer)
    for step in range(steps):
        torch.manual_seed(step)
        for leaf in leaves:
            leaf.grad = torch.randn_like(leaf)
        if step in (0, 4, 5):
            leaves[1].grad = None
        stepper.step()
        schedule.step()
    return leaves, optimizer, stepper


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_those_of_torch(name):
    expected, whole, _ = train(OPTIMIZERS[name], lambda optimizer: optimizer)
    found, lean, stepper = train(OPTIMIZERS[name], Stepper)
    assert isinstance(stepper.lean, LeanAdam)
    for a, b in zip(expected, found, strict=True):
        assert torch.equal(a, b)
    states = [optimizer.state_dict()["state"] for optimizer in (whole, lean)]
    for index, state in states[0].items():
        assert all(torch.equal(value, states[1][index][key]) for key, value in state.items())


def test_a_state_is_saved_and_loaded(tmp_path):
    whole, _, _ = train(OPTIMIZERS["Adam"], Stepper, steps=4)
    leaves, optimizer, stepper = train(OPTIMIZERS["Adam"], Stepper, steps=3)
    torch.save(optimizer.state_dict(), tmp_path / "state")
    optimizer.load_state_dict(torch.load(tmp_path / "state"))
    stepper.reset()
    torch.manual_seed(3)
    for leaf in leaves:
        leaf.grad = torch.randn_like(leaf)
    stepper.step()
    for a, b in zip(whole, leaves, strict=True):
        assert torch.equal(a, b)
    copied = copy.deepcopy(optimizer.state_dict())
    assert all(float(s["step"]) in (3, 4) for s in copied["state"].values())


@pytest.mark.parametrize(
    "make", [partial(Adam, fused=False), partial(SGD, fused=True), partial(Adam, foreach=True)]
)
def test_others_step_by_themselves(make):
    _, _, stepper = train(make, Stepper)
    assert stepper.lean is None


def test_hooks_are_called():
    calls = []
    leaves = parameters()
    optimizer = Adam(leaves, fused=True)
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    for leaf in leaves:
        leaf.grad = torch.ones_like(leaf)
    stepper = Stepper(optimizer)
    for _ in range(3):
        stepper.step()
    assert len(calls) == 3
