"""The wrapped normal posterior on the Poincaré ball."""

import pyro.distributions as dist
import torch
from torch import Tensor

from pvae import distributions
from pvae.annotations import NetworkOrFactory, Shape
from pvae.conditional import Conditional


class WrappedNormal(Conditional):
    r"""A posterior in hyperbolic space (Mathieu et al. 2019; Nagano et al. 2019).

    .. math::
        z = \exp_\mu(v / \lambda_\mu), \quad v \sim N(0, \mathrm{diag}\, \sigma(x)^2), \quad
        \mu = \exp_0(m(x) / 2)

    on the Poincaré ball of curvature -c, see `pvae.distributions.WrappedNormal`. The network
    returns m and log sigma, both in units of hyperbolic distance. Its KL to a prior has no closed
    form and is estimated from its samples.

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents d.
        network: maps event_shape to (2 d,): a module, or a factory that takes the two shapes;
            ``None`` for an `MLP`.
        curvature: c, a positive number, that of the prior.

    Shape:
        x of (\*batch, \*event_shape) to a distribution of batch shape batch, event shape (d,).

    Raises:
        ValueError: if a size is below 1, the curvature is not positive, or the network does not
            fit.

    Example:
        >>> import torch
        >>> from pvae.posteriors import WrappedNormal
        >>> q = WrappedNormal((7,), 2)(torch.randn(5, 7))
        >>> q.support.check(q.sample())
        tensor([True, True, True, True, True])
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        network: NetworkOrFactory | None = None,
        curvature: float = 1.0,
    ) -> None:
        super().__init__(event_shape, (latent_dim,), outputs=2, network=network)
        self.ball = distributions.PoincareBall(curvature)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(z|x)."""
        way, log_scale = self.raw(x)
        loc = self.ball.exp(torch.zeros_like(way), way)
        return distributions.WrappedNormal(loc, log_scale.exp(), self.ball.curvature)
