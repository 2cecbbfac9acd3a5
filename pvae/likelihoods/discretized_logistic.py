"""The discretized logistic likelihood."""

from collections.abc import Callable
from typing import Literal

import pyro.distributions as dist
from torch import Tensor

from pvae import distributions
from pvae.kinds import Network
from pvae.likelihoods.levels import check_levels
from pvae.likelihoods.location_scale import LocationScale
from pvae.networks.shapes import Shape


class DiscretizedLogistic(LocationScale):
    r"""Independent levels, each a logistic rounded to 0 to K - 1 (Kingma et al. 2016).

    .. math::
        P(x|z) = \prod_i \left[F\left(\frac{x_i + \frac12 - \mu_i(z)}{s_i}\right)
                             - F\left(\frac{x_i - \frac12 - \mu_i(z)}{s_i}\right)\right]

    with F the logistic sigmoid, 0 below level 0 and 1 above level K - 1: a probability mass, whose
    bound is comparable in bits per dimension with those of other models of bytes.

    The network returns mu in units of the range K - 1, so that its outputs lie about [0, 1].

    The scale is a number, fixed; ``"learned"``, one number shared by all elements; ``"element"``,
    one for each element; or ``"predicted"``, one for each element and each z, from the network.
    It is in units of the range too; one that is not fixed is kept above 0.0001.

    Args:
        latent_dim: the number of latents d.
        event_shape: event shape of x.
        network: maps (d,) to event_shape, or for a predicted scale to twice as many numbers along
            the first dimension: a module, or what makes one from the two shapes; ``None`` for an
            `MLP`.
        scale: a positive number, ``"learned"``, ``"element"`` or ``"predicted"``.
        levels: the number of levels K, at least 2.

    Shape:
        z of (\*batch, d) to a distribution of batch shape batch and event shape event_shape.

    Raises:
        ValueError: if the scale is none of the four, there are fewer than 2 levels, a
            size is below 1, or the network does not fit.

    Example:
        >>> import torch
        >>> from pvae.likelihoods import DiscretizedLogistic
        >>> DiscretizedLogistic(2, (1, 8, 8), levels=17)(torch.zeros(5, 2)).mean.shape
        torch.Size([5, 1, 8, 8])
    """

    domain = "bytes"
    smallest_scale = 1e-4  # a mass is bounded, but its gradient grows as the scale shrinks

    def __init__(
        self,
        latent_dim: int,
        event_shape: Shape,
        network: Network | Callable[[Shape, Shape], Network] | None = None,
        scale: float | Literal["learned", "element", "predicted"] = "learned",
        levels: int = 256,
    ) -> None:
        super().__init__(latent_dim, event_shape, network, scale)
        self.levels = check_levels(levels)

    def initialize(self, mean: Tensor) -> None:
        """Begin at the mean of the data, shape event_shape."""
        self.start_at(mean / (self.levels - 1))

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """Return p(x|z)."""
        loc, scale = ((self.levels - 1) * part for part in self.loc_scale(z))
        p = distributions.DiscretizedLogistic(loc, scale, self.levels)
        return p.to_event(len(self.event_shape))
