"""The normal posterior with a covariance of low rank."""

import pyro.distributions as dist
import torch
from torch import Tensor

import pvae.distributions.divergences  # noqa: F401  (its KL to independent normals)
from pvae.annotations import NetworkOrFactory, Shape
from pvae.checks import check_size
from pvae.conditional import Conditional


class LowRankNormal(Conditional):
    r"""A normal posterior whose covariance is diagonal plus low rank (Ong et al. 2018).

    .. math::
        q(z|x) = N(\mu(x),\ W(x) W(x)^T + \mathrm{diag}\, \sigma(x)^2)

    with W of d rows and ``rank`` columns: correlations at a cost linear in d.
    The network returns mu, log sigma and the columns of W. The KL to independent normals is in
    closed form.

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents d.
        network: maps event_shape to ((2 + rank) d,): a module, or a factory that takes the two
            shapes; ``None`` for an `MLP`.
        rank: the number of columns of W.

    Shape:
        x of (\*batch, \*event_shape) to a distribution of batch shape batch, event shape (d,).

    Raises:
        ValueError: if a size is below 1, or the network does not fit.

    Example:
        >>> import torch
        >>> from pvae.posteriors import LowRankNormal
        >>> LowRankNormal((7,), 3, rank=2)(torch.zeros(5, 7)).covariance_matrix.shape
        torch.Size([5, 3, 3])
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        network: NetworkOrFactory | None = None,
        rank: int = 2,
    ) -> None:
        outputs = 2 + check_size("rank", rank)
        super().__init__(event_shape, (latent_dim,), outputs=outputs, network=network)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(z|x)."""
        loc, log_scale, *columns = self.raw(x)
        return dist.LowRankMultivariateNormal(loc, torch.stack(columns, -1), (2 * log_scale).exp())
