"""Base class of priors with a location and a scale for each latent."""

import torch
from torch import Tensor, nn

from pvae.checks import check_size


class LocationScale(nn.Module):
    """Base class of priors of independent latents, with a location and a scale for each.

    They are initialized to 0 and 1, and fixed unless learned. The scale is stored as its logarithm.

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
