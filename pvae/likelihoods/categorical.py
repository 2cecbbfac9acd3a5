"""The categorical likelihood of levels."""

import pyro.distributions as dist
from torch import Tensor

from pvae.annotations import NetworkOrFactory, Shape
from pvae.conditional import Conditional
from pvae.distributions.ordinal_categorical import OrdinalCategorical
from pvae.likelihoods.levels import check_levels
from pvae.networks.shapes import batched


class Categorical(Conditional):
    r"""Independent levels, each of any distribution on 0 to K - 1 (van den Oord et al. 2016).

    .. math::
        P(x|z) = \prod_i \operatorname{softmax}(\ell_i(z))_{x_i}

    The network returns a logit for each level of each element, K times as many outputs as x has
    elements: the most flexible likelihood of bytes, and the most costly.

    Args:
        latent_dim: the number of latents d.
        event_shape: event shape of x.
        network: maps (d,) to K times event_shape along the first dimension: a module, or a
            factory that takes the two shapes; ``None`` for an `MLP`.
        levels: the number of levels K, at least 2.

    Shape:
        z of (\*batch, d) to a distribution of batch shape batch and event shape event_shape.

    Raises:
        ValueError: if there are fewer than 2 levels, a size is below 1, or the network does not
            fit.

    Example:
        >>> import torch
        >>> from pvae.likelihoods import Categorical
        >>> Categorical(2, (1, 8, 8), levels=17)(torch.zeros(5, 2)).mean.shape
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
        levels = check_levels(levels)
        super().__init__((latent_dim,), event_shape, outputs=levels, network=network)
        self.levels = levels

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """Return P(x|z)."""
        dim = self.channel_dim - len(self.event_shape)
        logits = batched(self.network, z, 1).unflatten(dim, (self.levels, -1)).movedim(dim - 1, -1)
        return OrdinalCategorical(logits).to_event(len(self.event_shape))
