"""Paths between two points of latent space."""

import torch
from torch import Tensor


def great_circle(z0: Tensor, z1: Tensor, t: Tensor) -> Tensor:
    r"""Return points along the great circle from z0 to z1, with the norm changing linearly.

    Args:
        z0: the point at t = 0, shape (\*batch, d).
        z1: the point at t = 1, of the same shape.
        t: of a shape that broadcasts to theirs.

    Example:
        >>> import torch
        >>> from pvae.interpolation import great_circle
        >>> z0, z1 = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0])
        >>> great_circle(z0, z1, torch.tensor(0.5))  # of length 2, halfway between the directions
        tensor([1.4142, 1.4142])
    """
    r0, r1 = (z.norm(dim=-1, keepdim=True) for z in (z0, z1))
    tiny = torch.finfo(z0.dtype).tiny
    u0, u1 = z0 / r0.clamp_min(tiny), z1 / r1.clamp_min(tiny)
    angle = torch.acos((u0 * u1).sum(-1, keepdim=True).clamp(-1, 1))
    sin = angle.sin()
    arc = (torch.sin((1 - t) * angle) * u0 + torch.sin(t * angle) * u1) / sin
    # Parallel directions have no great circle of their own: the straight line is the limit.
    direction = torch.where(sin.abs() < 1e-4, torch.lerp(u0, u1, t), arc)
    return torch.lerp(r0, r1, t) * direction
