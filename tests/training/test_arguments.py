"""Wrong kinds of arguments are refused in one sentence, before anything runs."""

from functools import partial

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import nn
from torch.optim import lr_scheduler

import pvae
from pvae.inference.optimizer import Optimizer
from pvae.training.optimization import make_schedule

NETWORK = partial(pvae.networks.MLP, hidden=[8])
OWN = nn.Parameter(torch.zeros(2))


@pytest.fixture(scope="module")
def digits():
    return pvae.data.load("digits")


def refused(digits, arguments, tmp_path):
    """The sentence that `pvae.fit` refuses arguments with; nothing has been begun."""
    vae = pvae.build((1, 8, 8), 2, network=NETWORK)
    before = {name: w.clone() for name, w in vae.state_dict().items()}
    given = {"vae": vae, "data": digits, "epochs": 4, "progress": False, "run": tmp_path / "run"}
    with pytest.raises((TypeError, ValueError)) as raised:
        pvae.fit(**given | arguments)
    assert all(torch.equal(before[name], w) for name, w in vae.state_dict().items())
    assert not (tmp_path / "run").exists()
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300
    return raised


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"objective": Trace_ELBO}, TypeError, "objective is the class Trace_ELBO"),
        ({"objective": partial(Trace_ELBO)}, TypeError, "objective is an object of type partial"),
        ({"objective": "Trace_ELBO"}, TypeError, "objective is the string 'Trace_ELBO'"),
        ({"objective": np.zeros((99, 99))}, TypeError, "objective is an object of type ndarray"),
        ({"optimizer": "Adam"}, TypeError, "optimizer is the string 'Adam'"),
        ({"optimizer": None}, TypeError, "optimizer is None"),
        ({"optimizer": pyro.optim.Adam({"lr": 1e-3})}, TypeError, "optimizer is an object of type"),
        ({"optimizer": torch.optim.Adam([OWN])}, TypeError, "optimizer is an object of type Adam"),
        ({"optimizer": lambda p: "Adam"}, TypeError, "The optimizer .* makes the string 'Adam'"),
        ({"optimizer": nn.Linear}, TypeError, "The optimizer cannot be used"),
        ({"optimizer": torch.optim.Optimizer}, TypeError, "The optimizer cannot be used"),
        ({"optimizer": partial(torch.optim.Adam, rate=1)}, TypeError, "The optimizer .*'rate'"),
        ({"optimizer": partial(torch.optim.Adam, lr=-1.0)}, ValueError, "The optimizer .* -1.0"),
        (
            {"optimizer": partial(torch.optim.Adam, lr="x")},
            TypeError,
            "lr of the optimizer is .x.: it must be a number",
        ),
        ({"optimizer": torch.optim.SparseAdam}, ValueError, "The optimizer .*dense gradients"),
        ({"optimizer": torch.optim.LBFGS}, ValueError, "LBFGS evaluates the loss several times"),
        ({"scheduler": "StepLR"}, TypeError, "scheduler is the string 'StepLR'"),
        ({"scheduler": lr_scheduler.StepLR}, TypeError, "The scheduler .*step_size"),
        ({"scheduler": lambda o: 3}, TypeError, "The scheduler .* makes an object of type int"),
        (
            {"scheduler": lr_scheduler.StepLR(torch.optim.SGD([OWN], lr=1.0), 3)},
            TypeError,
            "scheduler is an object of type StepLR",
        ),
        (
            {"scheduler": partial(lr_scheduler.StepLR, step_size=0)},
            ValueError,
            "The scheduler cannot be used: ZeroDivisionError: .* at epoch 1",
        ),
        (
            {"scheduler": partial(lr_scheduler.CosineAnnealingLR, T_max=0)},
            ValueError,
            "The scheduler cannot be used: ZeroDivisionError",
        ),
        (
            {"scheduler": partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=3)},
            ValueError,
            "The scheduler cannot be used: .* at epoch 4",
        ),
        (
            {"scheduler": partial(lr_scheduler.ExponentialLR, gamma=1e200)},
            ValueError,
            "the learning rate becomes .* after epoch",
        ),
        (
            {"scheduler": partial(lr_scheduler.LambdaLR, lr_lambda=lambda e: 1 / (2 - e))},
            ValueError,
            "The scheduler cannot be used: ZeroDivisionError: .* at epoch 2",
        ),
        (
            {"scheduler": partial(lr_scheduler.MultiStepLR, milestones=3)},
            TypeError,
            "The scheduler cannot be used",
        ),
        ({"vae": pvae.VAE}, TypeError, "vae is the class VAE"),
        ({"vae": "vae"}, TypeError, "vae is the string 'vae'"),
        ({"vae": nn.Linear(2, 2)}, TypeError, "vae is an object of type Linear"),
        ({"data": ...}, TypeError, "data are a ellipsis"),
        ({"data": None}, TypeError, "data are a NoneType"),
        ({"run": 123}, TypeError, "run is an object of type int"),
        ({"device": 3}, TypeError, "device is an object of type int"),
        ({"device": None}, TypeError, "device is None"),
        ({"epochs": None}, ValueError, "epochs is None"),
        ({"epochs": "5"}, ValueError, "epochs is '5'"),
        ({"epochs": True}, ValueError, "epochs is True"),
        ({"batch_size": 1.5}, ValueError, "batch_size is 1.5"),
        ({"clip_norm": "x"}, ValueError, "clip_norm is 'x'"),
        ({"clip_norm": float("nan")}, ValueError, "clip_norm is nan"),
        ({"skip_norm": 0}, ValueError, "skip_norm is 0"),
        ({"spectral_limit": -1.0}, ValueError, "spectral_limit is -1.0"),
        ({"seed": 1.5}, ValueError, "seed is 1.5"),
        ({"seed": "a" * 500}, ValueError, "seed is the string '"),
        ({"compile": None}, ValueError, "compile is None"),
    ],
)
def test_what_is_refused(digits, arguments, error, sentence, tmp_path):
    raised = refused(digits, arguments, tmp_path)
    raised.match(sentence)
    assert raised.type is error


@pytest.mark.parametrize(
    "scheduler",
    [
        partial(lr_scheduler.StepLR, step_size=2),
        partial(lr_scheduler.CosineAnnealingLR, T_max=4),
        partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=5),
        partial(lr_scheduler.ReduceLROnPlateau, patience=1),
        # Its second has its turn after the last epoch: older versions of torch then warn of their
        # own code.
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.ConstantLR(o), lr_scheduler.ExponentialLR(o, 0.9)], milestones=[5]
        ),
    ],
)
def test_a_rehearsal_leaves_no_trace(scheduler):
    parameter = nn.Parameter(torch.ones(3))
    optimizer = Optimizer([parameter], torch.optim.Adam)
    schedule = make_schedule(optimizer, torch.optim.Adam, scheduler, epochs=4)
    assert schedule.last_epoch == 0
    assert not optimizer.torch_optimizer.state
    assert torch.equal(parameter, torch.ones(3))


def test_the_default_batch_on_few_items(tmp_path):
    data = torch.rand(40, 1, 8, 8).round()
    weights = []
    for size in (128, 32):
        vae = pvae.build((1, 8, 8), 2, network=NETWORK)
        history = pvae.fit(vae, data, epochs=2, batch_size=size, progress=False)
        assert history["step"] == [1, 2]
        weights.append(vae.state_dict())
    assert all(torch.equal(weights[0][name], w) for name, w in weights[1].items())
