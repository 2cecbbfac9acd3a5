"""The prior of binary latents."""

import math

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pvae.checks import check_number, check_size
from pvae.distributions.relaxed_bernoulli import RelaxedBernoulli


class Bernoulli(nn.Module):
    r"""Independent binary latents.

    .. math::
        p(z) = \prod_i p^{z_i} (1 - p)^{1 - z_i}

    Use it with a posterior over binary latents, such as those of Maddison et al. (2017); see
    `pvae.distributions.RelaxedBernoulli` for its density at relaxed values between 0 and 1.

    Args:
        latent_dim: the number of latents d.
        probability: the probability p that a latent is 1, between 0 and 1.

    Raises:
        ValueError: if latent_dim is below 1, or probability is not between 0 and 1.

    Example:
        >>> from pvae.priors import Bernoulli
        >>> Bernoulli(3, probability=0.25)().mean
        tensor([0.2500, 0.2500, 0.2500])
    """

    logits: Tensor

    def __init__(self, latent_dim: int, probability: float = 0.5) -> None:
        super().__init__()
        check_size("latent_dim", latent_dim)
        if not 0 < check_number("probability", probability) < 1:
            raise ValueError(f"probability is {probability}: it must be above 0 and below 1.")
        logit = math.log(probability) - math.log1p(-probability)
        self.register_buffer("logits", torch.full((latent_dim,), logit), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), of event shape (latent_dim,)."""
        return RelaxedBernoulli(self.logits)
