"""The gamma likelihood."""

import pyro.distributions as dist
import torch
from torch import Tensor

from pvae.likelihoods.location_scale import LocationScale

SMALLEST_MEAN = 1e-6


class Gamma(LocationScale):
    r"""Independent positive values of a certain relative spread (McCullagh and Nelder 1989).

    .. math::
        p(x|z) = \prod_i \frac{\beta_i^{\alpha_i}}{\Gamma(\alpha_i)}
                        x_i^{\alpha_i - 1} e^{-\beta_i x_i},
        \qquad \alpha_i = \frac{1}{s_i^2}, \quad \beta_i = \frac{\alpha_i}{\mu_i(z)}

    The network returns the logarithm of the mean mu for each element; the standard deviation is
    s mu. With s = 1 this is the exponential distribution, above it is unbounded at 0.

    The scale is a number, fixed; ``"learned"``, one number shared by all elements; ``"element"``,
    one for each element; or ``"predicted"``, one for each element and each z, from the network.
    It is s, the relative standard deviation; a scale that is not fixed is kept above 0.03, below
    which float32 is not precise enough, and a learned one is initialized to 0.3.

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
        >>> from pvae.likelihoods import Gamma
        >>> bool((Gamma(2, (7,))(torch.zeros(5, 2)).sample() > 0).all())
        True
    """

    domain = "positive reals"
    first_scale = 0.3
    smallest_scale = 0.03

    def initialize(self, mean: Tensor) -> None:
        """Initialize the mean to that of the data, shape event_shape."""
        self.start_at(mean.clamp_min(SMALLEST_MEAN).log())

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """Return p(x|z)."""
        log_mean, scale = self.loc_scale(z)
        alpha = scale**-2
        return dist.Gamma(alpha, alpha * torch.exp(-log_mean)).to_event(len(self.event_shape))
