"""The likelihood of discretized logistic mixtures."""

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn.functional import softplus

from pvae import distributions
from pvae.annotations import NetworkOrFactory, Shape
from pvae.checks import check_size
from pvae.conditional import Conditional
from pvae.likelihoods.levels import check_levels

SMALLEST_SCALE = 1e-4
SPREAD = 0.25


class DiscretizedLogisticMixture(Conditional):
    r"""Independent levels, each a mixture of discretized logistics (Salimans et al. 2017).

    .. math::
        P(x|z) = \prod_i \sum_{m=1}^M \pi_{im}(z)
            \left[F\left(\frac{x_i + \frac12 - \mu_{im}(z)}{s_{im}(z)}\right)
                - F\left(\frac{x_i - \frac12 - \mu_{im}(z)}{s_{im}(z)}\right)\right]

    with F the logistic sigmoid, 0 below level 0 and 1 above level K - 1, as in
    `DiscretizedLogistic`. The channels of a pixel are independent given z.

    The network returns, for each element, M locations, M scales and M logits of pi, locations and
    scales in units of the range K - 1. The first location is common to all components, and the
    others are relative to it; they are initialized evenly spread, so that components differ.

    Args:
        latent_dim: the number of latents d.
        event_shape: event shape of x.
        network: maps (d,) to 3 M times event_shape along the first dimension: a module, or a
            factory that takes the two shapes; ``None`` for an `MLP`.
        components: the number of components M.
        levels: the number of levels K, at least 2.

    Shape:
        z of (\*batch, d) to a distribution of batch shape batch and event shape event_shape.

    Raises:
        ValueError: if there are fewer than 2 levels, a size is below 1, or the network does not
            fit.

    Example:
        >>> import torch
        >>> from pvae.likelihoods import DiscretizedLogisticMixture
        >>> DiscretizedLogisticMixture(2, (1, 8, 8), components=3)(torch.zeros(5, 2)).mean.shape
        torch.Size([5, 1, 8, 8])
    """

    offsets: Tensor
    domain = "bytes"

    def __init__(
        self,
        latent_dim: int,
        event_shape: Shape,
        network: NetworkOrFactory | None = None,
        components: int = 5,
        levels: int = 256,
    ) -> None:
        check_size("components", components)
        super().__init__((latent_dim,), event_shape, outputs=3 * components, network=network)
        self.levels = check_levels(levels)
        offsets = SPREAD * (2 * torch.arange(components) + 1 - components) / components
        self.register_buffer("offsets", offsets, persistent=False)

    def initialize(self, mean: Tensor) -> None:
        """Initialize the mean to that of the data, shape event_shape."""
        self.start_at(mean / (self.levels - 1))

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """Return P(x|z)."""
        raw = torch.stack(self.raw(z), dim=-1)
        loc, raw_scale, logits = raw.chunk(3, dim=-1)
        centre, others = loc[..., :1], loc[..., 1:]
        loc = torch.cat([centre, centre + others], dim=-1) + self.offsets
        scale = SMALLEST_SCALE + softplus(raw_scale)
        loc, scale = ((self.levels - 1) * part for part in (loc, scale))
        p = dist.MixtureSameFamily(
            dist.Categorical(logits=logits),
            distributions.DiscretizedLogistic(loc, scale, self.levels),
        )
        return p.to_event(len(self.event_shape))
