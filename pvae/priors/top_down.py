"""The top-down hierarchical prior."""

import math
from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pvae.checks import check_levels, check_size
from pvae.distributions.top_down import TopDown as TopDownDistribution
from pvae.messages import shown
from pvae.networks.path import Path

MOST_LEVELS = 3  # by default


class TopDown(nn.Module):
    r"""A prior over L levels of latents, each a normal given all levels above it.

    .. math::
        p(z) = N(z_1; 0, I) \prod_{l=2}^L
        N\bigl(z_l; \mu_l(z_{<l}), \mathrm{diag}\, \sigma_l(z_{<l})^2\bigr)

    with z_1 at the top. A residual path goes down the levels (see `pvae.networks.path.Path`). With
    `pvae.posteriors.TopDown`, which shares this path, it is the ladder VAE of Sønderby et al.
    (2016), and with levels that are maps the hierarchy of Child (2021); with any other posterior
    over real numbers it is a prior of dependent latents. z is one vector, the levels from the top
    down one after the other; the decoder is given all of them.

    ::

        levels = [8, (4, 7, 7), (1, 14, 14)]  # 400 latents
        vae = pvae.build(
            (1, 28, 28),
            400,
            prior=partial(pvae.priors.TopDown, levels=levels),
            posterior=pvae.posteriors.TopDown,
            network=partial(pvae.networks.ResNet, levels=levels),
        )

    `pvae.distributions.TopDown.redraw` draws lower levels with the upper ones held.

    Args:
        latent_dim: the number of latents d of all levels together.
        levels: shapes of the levels from the top down: sizes, and below them maps (C, H, W);
            ``None`` for up to three, of a quarter, a quarter and a half of the latents.
        hidden: size of the path at levels that are vectors.
        channels: channels of the path at levels that are maps.
        blocks: residual blocks of the path for each level.
        activation: relu, leaky_relu, elu, gelu, silu, softplus, tanh or sigmoid.

    Raises:
        ValueError: if the levels have another number of latents than latent_dim, a vector is below
            a map, a map coarser than one above it, a size below 1, or the activation unknown.

    Example:
        >>> from pvae.priors import TopDown
        >>> p = TopDown(6, levels=[2, 4])()
        >>> z = p.sample()
        >>> p.redraw(z.expand(5, 6), 1).shape  # five draws with the same first level
        torch.Size([5, 6])
    """

    start: Tensor

    def __init__(
        self,
        latent_dim: int,
        levels: Sequence[int | Sequence[int]] | None = None,
        hidden: int = 128,
        channels: int = 32,
        blocks: int = 1,
        activation: str = "gelu",
    ) -> None:
        super().__init__()
        check_size("latent_dim", latent_dim)
        shapes = halved(latent_dim) if levels is None else check_levels(levels)
        total = sum(map(math.prod, shapes))
        if total != latent_dim:
            raise ValueError(
                f"The levels {shown(levels)} have {total} latents in all, and latent_dim is "
                f"{latent_dim}: they must be equal."
            )
        self.path = Path(shapes, hidden, channels, blocks, activation)
        self.register_buffer("start", torch.zeros(latent_dim), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), of event shape (latent_dim,)."""
        return TopDownDistribution(self.path, self.start)


def halved(latent_dim: int) -> tuple[tuple[int], ...]:
    """Levels each of which has half of the latents that those below it leave."""
    sizes: list[int] = []
    left = latent_dim
    while left > 1 and len(sizes) < MOST_LEVELS - 1:
        sizes.append(left - left // 2)
        left //= 2
    return tuple((size,) for size in (left, *reversed(sizes)))
