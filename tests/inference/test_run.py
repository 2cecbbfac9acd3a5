import pyro
import pytest
import torch
from torch import nn

from pvae.inference.run import observed, watch_of
from pvae.inference.untraceable import Untraceable


def test_a_run_records_its_parameters_modules_and_checks():
    net = nn.Sequential(nn.Linear(2, 2))
    with observed() as run:
        net(torch.ones(2))
        p = pyro.param("p", torch.tensor(2.0), constraint=torch.distributions.constraints.positive)
        assert p > 0
    assert run.modules == [net, net[0]]
    assert run.named["p"] is p.unconstrained()
    assert list(run.checks.found.values()) == [{True}]


def test_hooks_on_gradients_are_refused():
    with observed() as run:
        pyro.param("p", torch.zeros(())).register_hook(lambda g: g)
    with pytest.raises(Untraceable, match="hook on its gradient"):
        watch_of(None, run, [], [])
