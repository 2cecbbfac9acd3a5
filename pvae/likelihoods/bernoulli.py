"""The Bernoulli likelihood."""

import pyro.distributions as dist
from torch import Tensor

from pvae.annotations import NetworkOrFactory, Shape
from pvae.conditional import Conditional

SMALLEST_MEAN = 1e-3


class Bernoulli(Conditional):
    r"""Independent binary pixels.

    .. math::
        \log p(x|z) = \sum_i x_i \log p_i(z) + (1 - x_i) \log (1 - p_i(z))

    The network returns the logit of p for each element. Values are 0 or 1; grey images are first
    binarized (see `pvae.data`).

    With ``relaxed=True`` the same formula is applied to values anywhere in [0, 1], as many
    published scripts do. It is then a reconstruction loss (the cross-entropy between two
    Bernoullis, at best the entropy of the grey values), **not the log of a density**: it does not
    normalize over [0, 1], its "ELBO" bounds no likelihood, and its values compare only with
    those of the same loss (Loaiza-Ganem and Cunningham 2019).

    Args:
        latent_dim: the number of latents d.
        event_shape: event shape of x.
        network: maps (d,) to event_shape: a module, or a factory that takes the two shapes;
            ``None`` for an `MLP`.
        relaxed: whether grey values in [0, 1] are used without binarization.

    Shape:
        z of (\*batch, d) to a distribution of batch shape batch and event shape event_shape.

    Raises:
        ValueError: if a size is below 1, or the network does not fit.

    Example:
        >>> import torch
        >>> from pvae.likelihoods import Bernoulli
        >>> Bernoulli(2, (1, 8, 8))(torch.zeros(5, 2)).event_shape
        torch.Size([1, 8, 8])
    """

    def __init__(
        self,
        latent_dim: int,
        event_shape: Shape,
        network: NetworkOrFactory | None = None,
        relaxed: bool = False,
    ) -> None:
        super().__init__((latent_dim,), event_shape, outputs=1, network=network)
        self.relaxed = relaxed
        self.domain = "unit interval" if relaxed else "binary"

    def initialize(self, mean: Tensor) -> None:
        """Initialize p to the mean of the data, shape event_shape (Burda et al. 2016)."""
        self.start_at(mean.clamp(SMALLEST_MEAN, 1 - SMALLEST_MEAN).logit())

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """Return p(x|z)."""
        (logits,) = self.raw(z)
        # Relaxed values lie outside the support by design; all others are still checked.
        validate = False if self.relaxed else None
        return dist.Bernoulli(logits=logits, validate_args=validate).to_event(len(self.event_shape))
