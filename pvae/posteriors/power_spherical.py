"""The power spherical posterior."""

import pyro.distributions as dist
from torch import Tensor
from torch.nn.functional import normalize, softplus

from pvae import distributions
from pvae.annotations import NetworkOrFactory, Shape
from pvae.checks import check_size
from pvae.posteriors.split import Split

SMALLEST_CONCENTRATION = 1.0


class PowerSpherical(Split):
    r"""A posterior on the unit sphere (De Cao and Aziz 2020).

    .. math::
        q(z|x) \propto (1 + \mu(x)^T z)^{\kappa(x)}, \quad \|z\| = 1

    It replaces the von Mises-Fisher of hyperspherical VAEs (Davidson et al. 2018): draws need no
    rejection, and the KL to the uniform prior is in closed form. The network returns a vector with
    direction mu, and a scalar a with kappa = 1 + softplus(a).

    Args:
        event_shape: event shape of x.
        latent_dim: the number of coordinates d, at least 2; the sphere has d - 1 dimensions.
        network: maps event_shape to (d + 1,): a module, or a factory that takes the two shapes;
            ``None`` for an `MLP`.

    Shape:
        x of (\*batch, \*event_shape) to a distribution of batch shape batch, event shape (d,).

    Raises:
        ValueError: if latent_dim is below 2, another size below 1, or the network does not fit.

    Example:
        >>> import torch
        >>> from pvae.posteriors import PowerSpherical
        >>> z = PowerSpherical((7,), 3)(torch.randn(5, 7)).sample()
        >>> torch.allclose(z.norm(dim=-1), torch.ones(5))
        True
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        network: NetworkOrFactory | None = None,
    ) -> None:
        if check_size("latent_dim", latent_dim) < 2:
            raise ValueError("latent_dim is 1: a sphere to vary on needs at least 2 coordinates.")
        super().__init__(event_shape, latent_dim, [latent_dim, 1], network)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(z|x)."""
        direction, concentration = self.raw(x)
        return distributions.PowerSpherical(
            normalize(direction, dim=-1),
            SMALLEST_CONCENTRATION + softplus(concentration.squeeze(-1)),
        )
