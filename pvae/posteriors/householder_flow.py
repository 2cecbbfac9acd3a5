"""The Householder flow."""

import pyro.distributions as dist
from pyro.distributions.transforms.householder import ConditionedHouseholder
from torch import Tensor

import pvae.distributions.divergences  # noqa: F401  (its KL to independent normals)
from pvae.annotations import NetworkOrFactory, Shape
from pvae.checks import check_size
from pvae.distributions.rotated_normal import RotatedNormal
from pvae.posteriors.split import Split


class HouseholderFlow(Split):
    r"""A diagonal normal through reflections (Tomczak and Welling 2016).

    .. math::
        z = U z_0, \quad U = H_T \cdots H_1, \quad H_t = I - 2\, v_t v_t^T / \|v_t\|^2

    U is orthogonal, so the flow keeps volumes, and q(z|x) is the normal
    N(U mu, U diag(sigma^2) U^T): for ``layers`` = d - 1 of any covariance, for fewer of those
    whose axes are rotated by that many reflections. The network returns mu, log sigma, and the
    vectors v.

    Mean, variance, entropy and the KL to independent normals are in closed form, and so is the
    inverse.

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents d.
        network: maps event_shape to (2 d + layers d,): a module, or a factory that takes the two
            shapes; ``None`` for an `MLP`.
        layers: the number of reflections T.

    Shape:
        x of (\*batch, \*event_shape) to a distribution of batch shape batch, event shape (d,).

    Raises:
        ValueError: if a size is below 1, or the network does not fit.

    Example:
        >>> import torch
        >>> from pvae.posteriors import HouseholderFlow
        >>> HouseholderFlow((1, 8, 8), 2, layers=4)(torch.zeros(5, 1, 8, 8)).mean.shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        network: NetworkOrFactory | None = None,
        layers: int = 4,
    ) -> None:
        check_size("latent_dim", latent_dim)
        sizes = [latent_dim, latent_dim, check_size("layers", layers) * latent_dim]
        super().__init__(event_shape, latent_dim, sizes, network)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(z|x)."""
        loc, log_scale, v = self.raw(x)
        base = dist.Normal(loc, log_scale.exp()).to_event(1)
        reflections = ConditionedHouseholder(v.unflatten(-1, (-1, *self.event_shape)))
        return RotatedNormal(base, [reflections])
