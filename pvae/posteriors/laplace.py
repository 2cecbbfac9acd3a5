"""The Laplace posterior."""

import pyro.distributions as dist
from torch import Tensor

from pvae.annotations import NetworkOrFactory, Shape
from pvae.conditional import Conditional


class Laplace(Conditional):
    r"""Independent Laplace latents.

    .. math::
        q(z|x) = \prod_i \frac{1}{2 b_i(x)} \exp\left(-\frac{|z_i - \mu_i(x)|}{b_i(x)}\right)

    Its tails are heavier than the normal's and its peak is sharp, which suits sparse priors. The
    network returns mu and log b for each latent. The KL to independent normals or Laplaces is in
    closed form.

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
        >>> from pvae.posteriors import Laplace
        >>> Laplace((7,), 3)(torch.zeros(5, 7)).event_shape
        torch.Size([3])
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
        return dist.Laplace(loc, log_scale.exp()).to_event(1)
