import math

import torch

from pvae.interpolation import great_circle


def test_great_circle():
    z0 = torch.tensor([[2.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    z1 = torch.tensor([[0.0, 1.0], [2.0, 2.0], [-1.0, 0.0], [0.0, 3.0]])
    t = torch.linspace(0, 1, 5)[:, None]
    path = great_circle(z0[:, None], z1[:, None], t)
    assert path.isfinite().all()
    torch.testing.assert_close(path[0].norm(dim=-1), torch.linspace(2, 1, 5))
    angle = torch.atan2(path[0, :, 1], path[0, :, 0])
    torch.testing.assert_close(angle, torch.linspace(0, math.pi / 2, 5))
    torch.testing.assert_close(path[1], torch.lerp(z0[1], z1[1], t))
