"""The diagonal normal posterior."""

import pyro.distributions as dist
from torch import Tensor

from pvae.annotations import NetworkOrFactory, Shape
from pvae.conditional import Conditional


class DiagonalNormal(Conditional):
    r"""The diagonal normal posterior of Kingma and Welling (2014).

    .. math::
        q(z|x) = N(z; \mu(x), \mathrm{diag}\, \sigma(x)^2)

    The network returns mu and log sigma for each latent.

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents d.
        network: maps event_shape to (2 d,): a module, or a factory that takes the two shapes;
            ``None`` for an `MLP`.

    Shape:
        x of (\*batch, \*event_shape) to a distribution of batch shape batch, event shape (d,).

    Raises:
        ValueError: if a size is below 1, or the network does not fit.

    Example:
        >>> import torch
        >>> from pvae.posteriors import DiagonalNormal
        >>> DiagonalNormal((1, 8, 8), 2)(torch.zeros(5, 1, 8, 8)).event_shape
        torch.Size([2])
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        network: NetworkOrFactory | None = None,
    ) -> None:
        super().__init__(event_shape, (latent_dim,), outputs=2, network=network)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(z|x)."""
        loc, log_scale = self.raw(x)
        return dist.Normal(loc, log_scale.exp()).to_event(1)
