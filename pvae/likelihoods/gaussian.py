"""The Gaussian likelihood."""

from collections.abc import Callable
from typing import Literal

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pvae.conditional import Conditional
from pvae.kinds import Network
from pvae.networks.shapes import Shape

SMALLEST_SCALE = 1e-3
FIRST_SCALE = 0.1


class Gaussian(Conditional):
    r"""Independent real values: p(x|z) = prod_i N(x_i; mu_i(z), sigma_i^2).

    The scale sigma is one of three:

    - a number: fixed and shared by all elements. With ``scale=1.0`` the negative log-likelihood
      is half the squared error plus a constant;
    - ``"learned"``: one number shared by all elements, learned with the networks (Rybkin,
      Daniilidis, Levine 2021). It is kept as its logarithm and
      starts at 0.1, small for images in [0, 1]: a scale that starts too large hides the data
      behind noise, and the posterior collapses to the prior before the scale has come down;
    - ``"predicted"``: one for each element and each z, from the network.

    A learned or predicted scale is kept above 0.001, below which a density on data that repeat
    themselves would grow without bound.

    Args:
        latent_dim: the number of latents d.
        event_shape: event shape of x.
        network: maps (d,) to event_shape, or for a predicted scale to twice as many numbers along
            the first dimension: a module, or what makes one from the two shapes; ``None`` for an
            `MLP`.
        scale: a positive number, ``"learned"`` or ``"predicted"``.

    Shape:
        z of (\*batch, d) to a distribution of batch shape batch and event shape event_shape.

    Raises:
        ValueError: if the scale is not one of the three, a size is below 1, or the network does
            not fit.

    Example:
        >>> import torch
        >>> from pvae.likelihoods import Gaussian
        >>> Gaussian(2, (7,), scale=0.1)(torch.zeros(5, 2)).stddev[0, 0]
        tensor(0.1000)
    """

    domain = "reals"

    def __init__(
        self,
        latent_dim: int,
        event_shape: Shape,
        network: Network | Callable[[Shape, Shape], Network] | None = None,
        scale: float | Literal["learned", "predicted"] = "learned",
    ) -> None:
        fixed = isinstance(scale, int | float) and not isinstance(scale, bool)
        if (fixed and not 0 < scale < float("inf")) or (
            not fixed and scale not in ("learned", "predicted")
        ):
            raise ValueError(
                f"scale is {scale!r}: it must be a positive number, 'learned' or 'predicted'."
            )
        numbers = 2 if scale == "predicted" else 1
        super().__init__((latent_dim,), event_shape, numbers=numbers, network=network)
        self.scale = scale
        if scale == "learned":
            self.log_scale = nn.Parameter(torch.tensor(FIRST_SCALE).log())

    def initialize(self, mean: Tensor) -> None:
        """Begin at the mean of the data, shape event_shape."""
        self.start_at(mean)

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """Return p(x|z)."""
        loc, *raw_scale = self.raw(z)
        if self.scale == "predicted":
            scale = SMALLEST_SCALE + softplus(raw_scale[0])
        elif self.scale == "learned":
            scale = SMALLEST_SCALE + self.log_scale.exp()
        else:
            scale = loc.new_tensor(self.scale)
        return dist.Normal(loc, scale).to_event(len(self.event_shape))
