"""The wrapped normal prior on the Poincaré ball."""

import pyro.distributions as dist
import torch

from pvae import distributions
from pvae.priors.location_scale import LocationScale


class WrappedNormal(LocationScale):
    r"""A wrapped normal in hyperbolic space (Mathieu et al. 2019; Nagano et al. 2019).

    .. math::
        z = \exp_\mu(v / \lambda_\mu), \quad v \sim N(0, \mathrm{diag}\, \sigma^2)

    around the origin, on the Poincaré ball of curvature -c, see
    `pvae.distributions.WrappedNormal`. Hyperbolic space has room for trees: the volume within a
    distance grows exponentially, as the number of nodes within a depth does. Use it with a
    posterior on the same ball.

    Args:
        latent_dim: the number of latents d.
        curvature: c, a positive number.
        learned: whether mu and sigma are learned; otherwise they are 0 and 1.

    Raises:
        ValueError: if latent_dim is below 1, or the curvature is not positive.

    Example:
        >>> from pvae.priors import WrappedNormal
        >>> WrappedNormal(2, curvature=0.5)().support
        PoincareBall(curvature=0.5)
    """

    def __init__(self, latent_dim: int, curvature: float = 1.0, learned: bool = False) -> None:
        super().__init__(latent_dim, learned)
        self.ball = distributions.PoincareBall(curvature)

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), of event shape (latent_dim,)."""
        # What is learned is the way from the origin, so that the location stays in the ball.
        loc = self.ball.exp(torch.zeros_like(self.loc), self.loc)
        return distributions.WrappedNormal(loc, self.scale, self.ball.curvature)
