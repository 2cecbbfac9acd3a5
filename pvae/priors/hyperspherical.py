"""The uniform prior on the unit sphere."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pvae.checks import check_size
from pvae.distributions.hyperspherical_uniform import HypersphericalUniform


class Hyperspherical(nn.Module):
    r"""The uniform prior on the unit sphere in d dimensions (Davidson et al. 2018).

    .. math::
        p(z) = \frac{\Gamma(d / 2)}{2 \pi^{d/2}}, \qquad \|z\| = 1

    Use it with a posterior on the sphere. It prefers no direction and, unlike N(0, I) in few
    dimensions, has no centre to which data are drawn.

    Args:
        latent_dim: the number of latents d, at least 2; the sphere has d - 1 dimensions.

    Raises:
        ValueError: if latent_dim is below 2.

    Example:
        >>> from pvae.priors import Hyperspherical
        >>> Hyperspherical(3)().sample((5,)).shape
        torch.Size([5, 3])
    """

    centre: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        if check_size("latent_dim", latent_dim) < 2:
            raise ValueError(f"latent_dim is {latent_dim}: a sphere needs at least 2 dimensions.")
        # A buffer follows the module to its device and dtype.
        self.register_buffer("centre", torch.zeros(latent_dim), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), of event shape (latent_dim,)."""
        return HypersphericalUniform(len(self.centre), self.centre.dtype, self.centre.device)
