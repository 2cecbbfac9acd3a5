"""The Laplace prior."""

import pyro.distributions as dist

from pvae.priors.location_scale import LocationScale


class Laplace(LocationScale):
    r"""Independent Laplace latents, with heavy tails and a sharp peak.

    .. math::
        \log p(z) = -\sum_i \left( \frac{|z_i - \mu_i|}{b_i} + \log 2 b_i \right)

    With mu = 0 and b = 1 it is the prior of sparse coding (Olshausen and Field 1997), in VAEs used
    by Barello, Charles and Pillow (2018); unlike N(0, I) it is not invariant to rotation, so
    it prefers axes of its own.

    Args:
        latent_dim: the number of latents d.
        learned: whether mu and b are learned.

    Raises:
        ValueError: if latent_dim is below 1.

    Example:
        >>> from pvae.priors import Laplace
        >>> Laplace(3)().event_shape
        torch.Size([3])
    """

    def __init__(self, latent_dim: int, learned: bool = False) -> None:
        super().__init__(latent_dim, learned)

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), of event shape (latent_dim,)."""
        return dist.Laplace(self.loc, self.scale).to_event(1)
