"""Base class of likelihoods of levels by a rounded density."""

from collections.abc import Callable
from typing import Literal

import pyro.distributions as dist
from torch import Tensor

from pvae.annotations import NetworkOrFactory, Shape
from pvae.likelihoods.levels import check_levels
from pvae.likelihoods.location_scale import LocationScale


class Discretized(LocationScale):
    """Base class of likelihoods of levels 0 to K - 1, by a rounded density with location and scale.

    Location and scale from the network are in units of the range K - 1.

    Args:
        latent_dim: the number of latents d.
        event_shape: event shape of x.
        network: as of `LocationScale`.
        scale: as of `LocationScale`.
        levels: the number of levels K, at least 2.

    Raises:
        ValueError: if there are fewer than 2 levels, or as `LocationScale` raises it.
    """

    domain = "bytes"
    smallest_scale = 1e-4  # a mass is bounded, but its gradient grows as the scale shrinks
    distribution: Callable[[Tensor, Tensor, int], dist.TorchDistribution]  # of a subclass

    def __init__(
        self,
        latent_dim: int,
        event_shape: Shape,
        network: NetworkOrFactory | None = None,
        scale: float | Literal["learned", "element", "predicted"] = "learned",
        levels: int = 256,
    ) -> None:
        super().__init__(latent_dim, event_shape, network, scale)
        self.levels = check_levels(levels)

    def initialize(self, mean: Tensor) -> None:
        """Initialize the mean to that of the data, shape event_shape."""
        self.start_at(mean / (self.levels - 1))

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """Return p(x|z)."""
        loc, scale = ((self.levels - 1) * part for part in self.loc_scale(z))
        return self.distribution(loc, scale, self.levels).to_event(len(self.event_shape))
