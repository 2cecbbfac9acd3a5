"""The standard normal prior."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pvae.checks import check_size


class StandardNormal(nn.Module):
    r"""The standard normal prior of Kingma and Welling (2014).

    .. math::
        p(z) = N(z; 0, I)

    Args:
        latent_dim: the number of latents d.

    Raises:
        ValueError: if latent_dim is below 1.

    Example:
        >>> from pvae.priors import StandardNormal
        >>> StandardNormal(3)().event_shape
        torch.Size([3])
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        check_size("latent_dim", latent_dim)
        # Buffers follow the module to its device and dtype; they are not saved.
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), of event shape (latent_dim,)."""
        return dist.Normal(self.loc, self.scale).to_event(1)
