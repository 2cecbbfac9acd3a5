"""The mixture-of-Gaussians prior."""

import math

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pvae.checks import check_size
from pvae.distributions.mixture import Mixture as MixtureDistribution

FIRST_SPREAD = 0.75  # the fraction of the initial variance that is between the components


def first_components(number: int, dim: int) -> tuple[Tensor, Tensor]:
    """Initialize means apart from each other, and scales such that the mixture is like N(0, I).

    Returns:
        Means and logarithms of scales, each of shape (number, dim); those of N(0, I) for one.
    """
    loc = FIRST_SPREAD**0.5 * torch.randn(number, dim)
    variance = 1 - FIRST_SPREAD * (number - 1) / number
    return loc - loc.mean(0), torch.full((number, dim), 0.5 * math.log(variance))


class Mixture(nn.Module):
    r"""A learned mixture of K diagonal Gaussians (Dilokthanakul et al. 2016; Jiang et al. 2017).

    .. math::
        p(z) = \sum_k w_k \, N(z; \mu_k, \mathrm{diag}\, \sigma_k^2)

    Means are initialized at random: components lie apart, and have together the width of N(0, I).
    The KL from a posterior has no closed form and is estimated from its samples.

    Args:
        latent_dim: the number of latents d.
        components: the number of Gaussians K.

    Raises:
        ValueError: if a size is below 1.

    Example:
        >>> from pvae.priors import Mixture
        >>> Mixture(3, components=5)().component_distribution.batch_shape
        torch.Size([5])
    """

    def __init__(self, latent_dim: int, components: int = 10) -> None:
        super().__init__()
        check_size("latent_dim", latent_dim)
        check_size("components", components)
        self.logits = nn.Parameter(torch.zeros(components))
        loc, log_scale = first_components(components, latent_dim)
        self.loc = nn.Parameter(loc)
        self.log_scale = nn.Parameter(log_scale)

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), of event shape (latent_dim,)."""
        return MixtureDistribution(
            dist.Categorical(logits=self.logits),
            dist.Normal(self.loc, self.log_scale.exp()).to_event(1),
        )
