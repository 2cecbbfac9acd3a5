"""The uniform prior of one-hot latents."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pvae.checks import check_size
from pvae.distributions.relaxed_one_hot import RelaxedOneHot


class OneHot(nn.Module):
    r"""Uniform one-hot latents, in G groups of K categories.

    .. math::
        p(z) = K^{-G} \quad \text{at each of the } K^G \text{ vertices}

    The d latents are G = ``groups`` one-hot variables of K = d / groups categories each, flattened
    (Jang et al. 2017). Use it with a posterior over the same groups; see
    `pvae.distributions.RelaxedOneHot` for its density at relaxed values between the vertices.

    Args:
        latent_dim: the number of latents d.
        groups: the number of one-hot variables.

    Raises:
        ValueError: if a size is below 1, or groups do not divide the latents into at least 2
            categories each.

    Example:
        >>> from pvae.priors import OneHot
        >>> OneHot(20, groups=2)().entropy()  # 2 log 10
        tensor(4.6052)
    """

    logits: Tensor

    def __init__(self, latent_dim: int, groups: int = 1) -> None:
        super().__init__()
        check_size("latent_dim", latent_dim)
        check_size("groups", groups)
        categories, rest = divmod(latent_dim, groups)
        if rest or categories < 2:
            raise ValueError(
                f"{latent_dim} latents do not make {groups} one-hot variables of the same number "
                "of categories, at least 2: latent_dim must be a multiple of groups, and at least "
                "twice as large."
            )
        self.register_buffer("logits", torch.zeros(groups, categories), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), of event shape (latent_dim,)."""
        return RelaxedOneHot(self.logits)
