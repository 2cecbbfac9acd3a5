"""The mixture-of-normals posterior."""

import pyro.distributions as dist
from torch import Tensor

from pvae.annotations import NetworkOrFactory, Shape
from pvae.checks import check_size
from pvae.distributions.normal_mixture import NormalMixture
from pvae.posteriors.split import Split


class MixtureOfNormals(Split):
    r"""A mixture of diagonal normals, which can have several modes.

    .. math::
        q(z|x) = \sum_k \pi_k(x)\, N(\mu_k(x), \mathrm{diag}\, \sigma_k(x)^2)

    Draws have pathwise gradients that reach every parameter, the weights too (see
    `pvae.distributions.NormalMixture`). The network returns logits of pi, and mu and log sigma for
    every component.

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents d.
        network: maps event_shape to (components (1 + 2 d),): a module, or a factory that takes the
            two shapes; ``None`` for an `MLP`.
        components: the number of normals.

    Shape:
        x of (\*batch, \*event_shape) to a distribution of batch shape batch, event shape (d,).

    Raises:
        ValueError: if a size is below 1, or the network does not fit.

    Example:
        >>> import torch
        >>> from pvae.posteriors import MixtureOfNormals
        >>> MixtureOfNormals((7,), 3, components=2)(torch.zeros(5, 7)).rsample().shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        network: NetworkOrFactory | None = None,
        components: int = 5,
    ) -> None:
        k = check_size("components", components)
        check_size("latent_dim", latent_dim)
        super().__init__(event_shape, latent_dim, [k, k * latent_dim, k * latent_dim], network)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(z|x)."""
        logits, *moments = self.raw(x)
        loc, log_scale = (t.unflatten(-1, (-1, *self.event_shape)) for t in moments)
        normals = dist.Normal(loc, log_scale.exp()).to_event(1)
        return NormalMixture(dist.Categorical(logits=logits), normals)
