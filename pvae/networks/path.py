"""The top-down path of a hierarchy: from the latents above to the normal of each level."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from pvae.annotations import Shape
from pvae.checks import check_levels, check_size
from pvae.networks.activations import activation as make_activation
from pvae.networks.resnet import Resize, residual_blocks

Choose = Callable[[int, Tensor | None, Tensor, Tensor], Tensor]
"""Called with a level, the state there, and loc and log scale of p(z_l | z_<l); returns z_l."""


class Path(nn.Module):
    r"""A network that goes down the levels of a hierarchy, from z_1 at the top to z_L.

    .. math::
        h_l = g_l(h_{l-1} + V_l z_{l-1}), \qquad
        (\mu_l, \log \sigma_l) = A_l h_l + a_l, \qquad l = 2, \ldots, L

    with residual blocks g_l, that for a map also repeat its pixels to the height and width of the
    next level (Child 2021). The first level has mean 0 and scale 1.

    Args:
        levels: shapes of the levels from the top down, (d,) or (C, H, W); an int is (d,).
        hidden: size of the state h at levels that are vectors, and of its blocks.
        channels: channels of the state at levels that are maps.
        blocks: residual blocks for each level.
        activation: the name of the activation.

    Raises:
        ValueError: if levels are not as `check_levels` wants them, a size is below 1, or the
            activation unknown.
    """

    def __init__(
        self,
        levels: Sequence[int | Sequence[int]],
        hidden: int,
        channels: int,
        blocks: int,
        activation: str,
    ) -> None:
        super().__init__()
        self.levels = check_levels(levels)
        self.sizes = [math.prod(level) for level in self.levels]
        self.widths = check_size("hidden", hidden), check_size("channels", channels)
        total = check_size("blocks", blocks) * max(1, len(self.levels) - 1)
        self.steps = nn.ModuleList(
            _Step(above, below, self._state(above), self._state(below), blocks, total, activation)
            for above, below in pairwise(self.levels)
        )

    def _state(self, level: Shape) -> Shape:
        """The shape of the state at a level."""
        hidden, channels = self.widths
        return (hidden,) if len(level) == 1 else (channels, *level[1:])

    def head(self, level: int) -> nn.Module:
        """Return a linear layer from the state at a level to two numbers for each latent of it."""
        return linear(self._state(self.levels[level]), 2 * self.levels[level][0])

    def descend(self, start: Tensor, choose: Choose) -> None:
        """Go down the levels.

        Args:
            start: any values of shape (n, d), for n, the dtype and the device.
            choose: called at each level with its number from 0, the state, and loc and log scale of
                its latents, each of shape (n, d_l); returns these latents.
        """
        zeros = torch.zeros_like(start[:, : self.sizes[0]])
        z, state = choose(0, None, zeros, zeros), None
        for i, step in enumerate(self.steps, 1):
            state, loc, log_scale = step(state, z)
            z = choose(i, state, loc, log_scale)


class _Step(nn.Module):
    """From the state and the latents of a level to the state and the normal of the next one."""

    def __init__(
        self,
        above: Shape,
        below: Shape,
        state: Shape,
        next_state: Shape,
        blocks: int,
        total: int,
        activation: str,
    ) -> None:
        super().__init__()
        self.above = above
        self.join = linear(above, state[0])
        self.move: nn.Module = nn.Identity()
        if len(state) == 1:
            made = (_Block(state[0], total, activation) for _ in range(blocks))
            self.body = nn.Sequential(*made)
            if len(next_state) == 3:
                flat = nn.Linear(state[0], math.prod(next_state))
                self.move = nn.Sequential(flat, nn.Unflatten(1, next_state))
        else:
            self.body = residual_blocks(state[0], blocks, total, None, activation)
            self.move = Resize(*next_state[1:])
        self.head = linear(next_state, 2 * below[0])

    def forward(self, state: Tensor | None, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.join(z.unflatten(1, self.above))
        h = self.move(self.body(h if state is None else state + h))
        loc, log_scale = self.head(h).flatten(1).chunk(2, 1)
        return h, loc, log_scale


class _Block(nn.Module):
    """A residual block of a vector, its last layer scaled as that of a `ResidualBlock`."""

    def __init__(self, width: int, total: int, activation: str) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, width), make_activation(activation), nn.Linear(width, width)
        )
        with torch.no_grad():
            self.layers[-1].get_parameter("weight").mul_(total**-0.5)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.layers(h)


def linear(shape: Shape, out: int) -> nn.Module:
    """A linear layer of a vector, or of the channels of a map."""
    return nn.Linear(shape[0], out) if len(shape) == 1 else nn.Conv2d(shape[0], out, 1)
