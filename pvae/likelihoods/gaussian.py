"""The Gaussian likelihood."""

from typing import Literal

import pyro.distributions as dist
import torch
from torch import Tensor

from pvae.annotations import NetworkOrFactory, Shape
from pvae.distributions.optimal_normal import OptimalNormal
from pvae.likelihoods.location_scale import LocationScale

MOMENTUM = 0.1


class Gaussian(LocationScale):
    r"""Independent real values.

    .. math::
        p(x|z) = \prod_i N(x_i; \mu_i(z), \sigma_i^2)

    The scale sigma is one of five:

    - a number: fixed and shared by all elements. With ``scale=1.0`` the negative log-likelihood
      is half the squared error plus a constant;
    - ``"learned"``: one number shared by all elements, learned with the networks (Rybkin,
      Daniilidis, Levine 2021). It is kept as its logarithm and
      starts at 0.1, small for images in [0, 1]: a scale that starts too large hides the data
      behind noise, and the posterior collapses to the prior before the scale has come down;
    - ``"element"``: one number for each element, learned in the same way;
    - ``"predicted"``: one for each element and each z, from the network;
    - ``"optimal"``: one number shared by all elements, in each minibatch the optimal one for
      it, sigma^2 = mean squared error (the optimal sigma-VAE of Rybkin et al. 2021), so that the
      loss is half the logarithm of the error, per element, and there is no scale to be learned.
      The optimum depends on x. So in evaluation mode, which metrics use, and for samples, sigma^2
      is a running mean over the minibatches seen in training mode, and p(x|z) is a density. A loss
      in training mode uses the optimal scale for its minibatch, and so is slightly lower.

    A scale that is not fixed is kept above 0.001; otherwise the density of repeated values could
    grow without bound.

    Args:
        latent_dim: the number of latents d.
        event_shape: event shape of x.
        network: maps (d,) to event_shape, or for a predicted scale to twice as many outputs along
            the first dimension: a module, or a factory that takes the two shapes; ``None`` for an
            `MLP`.
        scale: a positive number, ``"learned"``, ``"element"``, ``"predicted"`` or ``"optimal"``.

    Shape:
        z of (\*batch, d) to a distribution of batch shape batch and event shape event_shape.

    Raises:
        ValueError: if the scale is not one of the five, a size is below 1, or the network does not
            fit.

    Example:
        >>> import torch
        >>> from pvae.likelihoods import Gaussian
        >>> Gaussian(2, (7,), scale=0.1)(torch.zeros(5, 2)).stddev[0, 0]
        tensor(0.1000)
    """

    variance: Tensor
    domain = "reals"
    scales = ("learned", "element", "predicted", "optimal")

    def __init__(
        self,
        latent_dim: int,
        event_shape: Shape,
        network: NetworkOrFactory | None = None,
        scale: float | Literal["learned", "element", "predicted", "optimal"] = "learned",
    ) -> None:
        super().__init__(latent_dim, event_shape, network, scale)  # type: ignore[arg-type]  # `scales`
        if scale == "optimal":
            self.register_buffer("variance", torch.tensor(self.first_scale**2))

    def initialize(self, mean: Tensor) -> None:
        """Initialize the mean to that of the data, shape event_shape."""
        self.start_at(mean)

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """Return p(x|z)."""
        if self.scale == "optimal":
            (loc,) = self.raw(z)
            p = OptimalNormal(loc, self.variance, MOMENTUM if self.training else None)
        else:
            p = dist.Normal(*self.loc_scale(z))
        return p.to_event(len(self.event_shape))
