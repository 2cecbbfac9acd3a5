"""The log-normal likelihood."""

import pyro.distributions as dist
from torch import Tensor

from pvae.likelihoods.location_scale import LocationScale

SMALLEST_MEAN = 1e-6


class LogNormal(LocationScale):
    r"""Independent positive values whose logarithms are normal (Galton 1879).

    .. math::
        p(x|z) = \prod_i \frac{1}{x_i} N(\log x_i; \mu_i(z), \sigma_i^2)

    The median of x_i is exp(mu_i), its mean exp(mu_i + sigma_i^2 / 2).

    The scale is a number, fixed; ``"learned"``, one number shared by all elements; ``"element"``,
    one for each element; or ``"predicted"``, one for each element and each z, from the network.
    It is a standard deviation of log x, and a learned one starts at 0.3.

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
        >>> from pvae.likelihoods import LogNormal
        >>> bool((LogNormal(2, (7,))(torch.zeros(5, 2)).sample() > 0).all())
        True
    """

    domain = "positive reals"
    first_scale = 0.3

    def initialize(self, mean: Tensor) -> None:
        """Initialize the medians to the mean of the data, shape event_shape."""
        self.start_at(mean.clamp_min(SMALLEST_MEAN).log())

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """Return p(x|z)."""
        return dist.LogNormal(*self.loc_scale(z)).to_event(len(self.event_shape))
