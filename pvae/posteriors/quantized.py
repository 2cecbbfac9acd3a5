"""Base class of posteriors that round the network's output to codes."""

import math
from collections.abc import Sequence

from pvae.annotations import NetworkOrFactory, Shape
from pvae.checks import check_shape, check_size
from pvae.conditional import Conditional
from pvae.distributions.codes import Codes


class Quantized(Conditional):
    """Base class of posteriors that round the network's output to codes, at positions of a grid.

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents, positions times the length of a code.
        grid: the numbers of rows and columns of positions, or the number of positions.
        network: maps event_shape to (latent_dim,), position by position.

    Attributes:
        dim: the length of a code.

    Raises:
        ValueError: if a size is below 1, the latents do not divide into the positions, or the
            network does not fit.
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        grid: Sequence[int],
        network: NetworkOrFactory | None,
    ) -> None:
        check_size("latent_dim", latent_dim)
        self.grid = check_shape("grid", grid)
        positions = math.prod(self.grid)
        if len(self.grid) > 2 or latent_dim % positions:
            raise ValueError(
                f"latent_dim is {latent_dim} and grid {self.grid}: a grid has rows and columns, or "
                "a number of positions, and the latents must divide into codes of one length."
            )
        super().__init__(event_shape, (latent_dim,), outputs=1, network=network)
        self.dim = latent_dim // positions

    @property
    def codes(self) -> Codes:
        """The space of the codes."""
        raise NotImplementedError
