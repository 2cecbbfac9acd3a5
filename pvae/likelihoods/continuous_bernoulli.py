"""The continuous Bernoulli likelihood."""

import pyro.distributions as dist
import torch
from torch import Tensor

from pvae import distributions
from pvae.annotations import NetworkOrFactory, Shape
from pvae.conditional import Conditional

SMALLEST_MEAN = 1e-2


class ContinuousBernoulli(Conditional):
    r"""Independent grey values in [0, 1] (Loaiza-Ganem and Cunningham 2019).

    .. math::
        p(x|z) = \prod_i C(p_i(z))\, p_i(z)^{x_i} (1 - p_i(z))^{1 - x_i}, \qquad
        C(p) = \frac{\operatorname{logit} p}{2 p - 1}

    It is the relaxed `Bernoulli`, normalized to a density by C. The network returns the
    logit of p for each element; the mean is not p, but lies nearer to one half.

    Args:
        latent_dim: the number of latents d.
        event_shape: event shape of x.
        network: maps (d,) to event_shape: a module, or a factory that takes the two shapes;
            ``None`` for an `MLP`.

    Shape:
        z of (\*batch, d) to a distribution of batch shape batch and event shape event_shape.

    Raises:
        ValueError: if a size is below 1, or the network does not fit.

    Example:
        >>> import torch
        >>> from pvae.likelihoods import ContinuousBernoulli
        >>> ContinuousBernoulli(2, (1, 8, 8))(torch.zeros(5, 2)).event_shape
        torch.Size([1, 8, 8])
    """

    domain = "unit interval"

    def __init__(
        self,
        latent_dim: int,
        event_shape: Shape,
        network: NetworkOrFactory | None = None,
    ) -> None:
        super().__init__((latent_dim,), event_shape, outputs=1, network=network)

    def initialize(self, mean: Tensor) -> None:
        """Initialize the mean to that of the data, shape event_shape."""
        mean = mean.double().clamp(SMALLEST_MEAN, 1 - SMALLEST_MEAN)
        # Newton's method, from an initial value that is exact at both ends; the slope of the mean
        # is the variance.
        logits = 1 / (1 - mean) - 1 / mean
        for _ in range(10):
            p = distributions.ContinuousBernoulli(logits)
            logits = logits - (p.mean - mean) / p.variance
        self.start_at(logits.to(torch.get_default_dtype()))

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """Return p(x|z)."""
        (logits,) = self.raw(z)
        return distributions.ContinuousBernoulli(logits).to_event(len(self.event_shape))
