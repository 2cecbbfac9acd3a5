import math

import pyro
import pyro.distributions as dist
import torch

from pvae.inference.patches import traceable
from pvae.inference.symbolic import Symbolic


def test_patches_are_in_place_only_while_tracing():
    things = torch, torch.Tensor, math, dist.Distribution, pyro.poutine.scale_messenger
    before = [dict(vars(thing)) for thing in things]
    mode = Symbolic([], [], [], [], None)
    with traceable(mode):
        assert math.exp(torch.zeros(2)).shape == (2,)
        assert torch.tensor(torch.ones(2)).shape == (2,)
        dist.Normal(0.0, torch.tensor(-1.0), validate_args=True)  # its values must not be read
    assert [dict(vars(thing)) for thing in things] == before
