"""The beta likelihood."""

import pyro.distributions as dist
import torch
from torch import Tensor

from pvae.likelihoods.location_scale import LocationScale

SMALLEST_MEAN = 1e-3
TINY = 1e-6  # keeps alpha and beta above zero where the sigmoid is not


class Beta(LocationScale):
    r"""Independent values in (0, 1) (Ferrari and Cribari-Neto 2004).

    .. math::
        p(x|z) = \prod_i \frac{x_i^{\alpha_i - 1} (1 - x_i)^{\beta_i - 1}}{B(\alpha_i, \beta_i)},
        \qquad \alpha_i = \frac{\mu_i(z)}{s_i^2}, \quad \beta_i = \frac{1 - \mu_i(z)}{s_i^2}

    The network returns the logit of the mean mu for each element; the variance is
    mu (1 - mu) / (1 + 1 / s^2). Bytes are first dequantized (see `pvae.data`).

    The scale is a number, fixed; ``"learned"``, one number shared by all elements; ``"element"``,
    one for each element; or ``"predicted"``, one for each element and each z, from the network.
    It is s, about the standard deviation relative to that of a Bernoulli of the same mean; a scale
    that is not fixed is kept above 0.03, below which float32 is not precise enough, and a learned
    one is initialized to 0.3.

    Args:
        latent_dim: the number of latents d.
        event_shape: event shape of x.
        network: maps (d,) to event_shape, or for a predicted scale to twice as many outputs along
            the first dimension: a module, or a factory that takes the two shapes; ``None`` for an
            `MLP`.
        scale: a positive number, ``"learned"``, ``"element"`` or ``"predicted"``.

    Shape:
        z of (\*batch, d) to a distribution of batch shape batch and event shape event_shape.

    Raises:
        ValueError: if the scale is not one of the four, a size is below 1, or the network does
            not fit.

    Example:
        >>> import torch
        >>> from pvae.likelihoods import Beta
        >>> Beta(2, (7,))(torch.zeros(5, 2)).event_shape
        torch.Size([7])
    """

    domain = "open unit interval"
    first_scale = 0.3
    smallest_scale = 0.03

    def initialize(self, mean: Tensor) -> None:
        """Initialize the mean to that of the data, shape event_shape."""
        self.start_at(mean.clamp(SMALLEST_MEAN, 1 - SMALLEST_MEAN).logit())

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """Return p(x|z)."""
        logit_mean, scale = self.loc_scale(z)
        alpha, beta = (torch.sigmoid(x).add(TINY) / scale**2 for x in (logit_mean, -logit_mean))
        return dist.Beta(alpha, beta).to_event(len(self.event_shape))
