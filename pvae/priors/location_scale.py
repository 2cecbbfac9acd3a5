"""A prior that is moved and stretched, in each latent alone."""

import torch
from torch import Tensor, nn

from pvae.checks import check_size


class LocationScale(nn.Module):
    """What priors of independent latents have in common: a location and a scale for each.

    They are 0 and 1, where they stay unless learned. The scale is kept as its logarithm.

    Args:
        latent_dim: the number of latents d.
        learned: whether location and scale are learned.

    Raises:
        ValueError: if latent_dim is below 1.
    """

    loc: Tensor
    log_scale: Tensor

    def __init__(self, latent_dim: int, learned: bool) -> None:
        super().__init__()
        check_size("latent_dim", latent_dim)
        for name in ("loc", "log_scale"):
            zeros = torch.zeros(latent_dim)
            if learned:
                self.register_parameter(name, nn.Parameter(zeros))
            else:
                self.register_buffer(name, zeros, persistent=False)

    @property
    def scale(self) -> Tensor:
        """The scale of each latent, shape (latent_dim,)."""
        return self.log_scale.exp()
