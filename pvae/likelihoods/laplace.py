"""The Laplace likelihood."""

import pyro.distributions as dist
from torch import Tensor

from pvae.likelihoods.location_scale import LocationScale


class Laplace(LocationScale):
    r"""Independent real values with tails heavier than a Gaussian's.

    .. math::
        p(x|z) = \prod_i \frac{1}{2 b_i} \exp\left(-\frac{|x_i - \mu_i(z)|}{b_i}\right)

    The maximum-likelihood location is the median: with ``scale=1.0`` the negative log-likelihood
    is the absolute error plus a constant (Laplace 1774).

    The scale is a number, fixed; ``"learned"``, one number shared by all elements; ``"element"``,
    one for each element; or ``"predicted"``, one for each element and each z, from the network.

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
        >>> from pvae.likelihoods import Laplace
        >>> Laplace(2, (7,), scale=0.1)(torch.zeros(5, 2)).event_shape
        torch.Size([7])
    """

    domain = "reals"

    def initialize(self, mean: Tensor) -> None:
        """Initialize the mean to that of the data, shape event_shape."""
        self.start_at(mean)

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """Return p(x|z)."""
        return dist.Laplace(*self.loc_scale(z)).to_event(len(self.event_shape))
