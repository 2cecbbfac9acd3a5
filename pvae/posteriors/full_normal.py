"""The normal posterior with any covariance."""

import pyro.distributions as dist
import torch
from torch import Tensor

import pvae.distributions.divergences  # noqa: F401  (its KL to independent normals)
from pvae.annotations import NetworkOrFactory, Shape
from pvae.checks import check_size
from pvae.posteriors.split import Split


class FullNormal(Split):
    r"""A normal posterior with any covariance (Kingma and Welling 2019, section 2.5.1).

    .. math::
        q(z|x) = N(\mu(x), L(x) L(x)^T), \qquad
        L(x) = \mathrm{diag}\, \sigma(x) \, \left(I + \tfrac{1}{d} B(x)\right)

    The network returns mu, log sigma and the entries of the strictly lower triangular B, which are
    relative to the scales and divided by d. If they were the entries of L itself, their initial
    noise would exceed the small scales of a trained posterior, and training would not recover. The
    KL to independent normals is in closed form.

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents d.
        network: maps event_shape to (2 d + d (d - 1) / 2,): a module, or a factory that takes the
            two shapes; ``None`` for an `MLP`.

    Shape:
        x of (\*batch, \*event_shape) to a distribution of batch shape batch, event shape (d,).

    Raises:
        ValueError: if a size is below 1, or the network does not fit.

    Example:
        >>> import torch
        >>> from pvae.posteriors import FullNormal
        >>> FullNormal((7,), 3)(torch.zeros(5, 7)).covariance_matrix.shape
        torch.Size([5, 3, 3])
    """

    below: Tensor

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        network: NetworkOrFactory | None = None,
    ) -> None:
        d = check_size("latent_dim", latent_dim)
        super().__init__(event_shape, d, [d, d, d * (d - 1) // 2], network)
        self.register_buffer("below", torch.tril_indices(d, d, -1), persistent=False)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(z|x)."""
        loc, log_scale, below = self.raw(x)
        correlation = torch.ones_like(loc).diag_embed()
        correlation[..., self.below[0], self.below[1]] = below / loc.shape[-1]
        scale_tril = log_scale.exp().unsqueeze(-1) * correlation
        return dist.MultivariateNormal(loc, scale_tril=scale_tril)
