"""The network of the autoregressive priors."""

from collections.abc import Sequence
from typing import cast

import torch
from pyro.nn import AutoRegressiveNN

from pvae.checks import check_shape, check_size


def masked_network(
    latent_dim: int, hidden: Sequence[int], outputs: Sequence[int]
) -> AutoRegressiveNN:
    """Make a network whose i-th outputs depend on the first i - 1 latents (Germain et al. 2015).

    Args:
        latent_dim: the number of latents, at least 2.
        hidden: sizes of the hidden layers, each at least latent_dim.
        outputs: how many for each latent, as `pyro.nn.AutoRegressiveNN` splits them.

    Raises:
        ValueError: if a size is too small.
    """
    if check_size("latent_dim", latent_dim) < 2:
        raise ValueError("latent_dim is 1: there are no earlier latents to depend on; use Mixture.")
    hidden = check_shape("hidden", hidden)
    if min(hidden) < latent_dim:
        raise ValueError(
            f"hidden is {hidden}: each layer of a masked network must have at least as many units "
            f"as there are latents, {latent_dim}."
        )
    order = cast(torch.LongTensor, torch.arange(latent_dim))
    return AutoRegressiveNN(latent_dim, list(hidden), list(outputs), permutation=order)
