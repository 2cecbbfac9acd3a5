"""The binomial likelihood of levels."""

import pyro.distributions as dist
from torch import Tensor

from pvae.annotations import NetworkOrFactory, Shape
from pvae.conditional import Conditional
from pvae.likelihoods.levels import check_levels

SMALLEST_MEAN = 1e-3


class Binomial(Conditional):
    r"""Independent levels, each the sum of K - 1 Bernoulli trials (McCullagh and Nelder 1989).

    .. math::
        P(x|z) = \prod_i \binom{K - 1}{x_i} p_i(z)^{x_i} (1 - p_i(z))^{K - 1 - x_i}

    The network returns the logit of p for each element. The standard deviation follows from the
    mean and is at most sqrt(K - 1) / 2 levels.

    Args:
        latent_dim: the number of latents d.
        event_shape: event shape of x.
        network: maps (d,) to event_shape: a module, or a factory that takes the two shapes;
            ``None`` for an `MLP`.
        levels: the number of levels K, at least 2.

    Shape:
        z of (\*batch, d) to a distribution of batch shape batch and event shape event_shape.

    Raises:
        ValueError: if there are fewer than 2 levels, a size is below 1, or the network does not
            fit.

    Example:
        >>> import torch
        >>> from pvae.likelihoods import Binomial
        >>> Binomial(2, (1, 8, 8), levels=17)(torch.zeros(5, 2)).mean.shape
        torch.Size([5, 1, 8, 8])
    """

    domain = "bytes"

    def __init__(
        self,
        latent_dim: int,
        event_shape: Shape,
        network: NetworkOrFactory | None = None,
        levels: int = 256,
    ) -> None:
        super().__init__((latent_dim,), event_shape, outputs=1, network=network)
        self.levels = check_levels(levels)

    def initialize(self, mean: Tensor) -> None:
        """Initialize the mean to that of the data, shape event_shape."""
        p = mean / (self.levels - 1)
        self.start_at(p.clamp(SMALLEST_MEAN, 1 - SMALLEST_MEAN).logit())

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """Return P(x|z)."""
        (logits,) = self.raw(z)
        return dist.Binomial(self.levels - 1, logits=logits).to_event(len(self.event_shape))
