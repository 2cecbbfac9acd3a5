"""The point-mass posterior."""

import pyro.distributions as dist
from torch import Tensor

from pvae.annotations import NetworkOrFactory, Shape
from pvae.conditional import Conditional


class Delta(Conditional):
    r"""A point mass at the network's output z(x): the plain autoencoder.

    .. math::
        q(z|x) = \delta(z - z(x))

    The ELBO becomes log p(x, z(x)), without an entropy: not a bound of log p(x), but the objective
    of an autoencoder whose codes are regularized by the prior. With the prior's term weighted by 0
    (`pvae.objectives.BetaELBO`) it is the autoencoder of Hinton and Salakhutdinov (2006).

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents d.
        network: maps event_shape to (d,): a module, or a factory that takes the two shapes;
            ``None`` for an `MLP`.

    Shape:
        x of (\*batch, \*event_shape) to a distribution of batch shape batch, event shape (d,).

    Raises:
        ValueError: if a size is below 1, or the network does not fit.

    Example:
        >>> import torch
        >>> from pvae.posteriors import Delta
        >>> q = Delta((7,), 3)(torch.zeros(5, 7))
        >>> bool((q.sample() == q.mean).all())
        True
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        network: NetworkOrFactory | None = None,
    ) -> None:
        super().__init__(event_shape, (latent_dim,), outputs=1, network=network)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(z|x)."""
        (z,) = self.raw(x)
        return dist.Delta(z, event_dim=1)
