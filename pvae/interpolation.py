"""Paths between two points of latent space."""

from typing import Any

import torch
from torch import Tensor

from pvae.checks import check_flag, check_size
from pvae.inputs import as_data
from pvae.messages import shown
from pvae.moments import mean
from pvae.unknown_labels import likeliest


def interpolate(
    vae: Any, x0: Tensor, x1: Tensor, steps: int, spherical: bool, y: tuple[object, object]
) -> Tensor:
    """Decode points on a path between two data, as `VAE.interpolate` documents."""
    if check_size("steps", steps) < 2:
        raise ValueError(f"steps is {steps}: a path has at least its 2 ends.")
    check_flag("spherical", spherical)
    if not isinstance(y, tuple | list) or len(y) != 2:
        raise TypeError(f"y is {shown(y)}: it must be a tuple, the labels of x0 and of x1.")
    x0, x1 = as_data(vae, x0, "x0"), as_data(vae, x1, "x1")
    if x0.shape != x1.shape:
        raise ValueError(
            f"x0 has shape {tuple(x0.shape)} and x1 {tuple(x1.shape)}: they must be equal."
        )
    with vae.evaluating():
        ends = [(x, likeliest(vae, x, label)) for x, label in zip((x0, x1), y, strict=True)]
        z0, z1 = (mean(vae.q_z(*end)).unsqueeze(-2) for end in ends)
        t = torch.linspace(0, 1, steps, dtype=z0.dtype, device=z0.device).unsqueeze(-1)
        z = great_circle(z0, z1, t) if spherical else torch.lerp(z0, z1, t)
        c = None
        if "likelihood" in vae.conditional:
            c0, c1 = (vae.labels.context(label).unsqueeze(-2) for _, label in ends)
            c = torch.lerp(c0, c1, t)
        return mean(vae.likelihood_given(z, c))


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
