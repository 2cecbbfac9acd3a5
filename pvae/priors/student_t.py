"""The Student-t prior."""

import pyro.distributions as dist
import torch
from torch import Tensor

from pvae.checks import check_number
from pvae.priors.location_scale import LocationScale


class StudentT(LocationScale):
    r"""Independent Student-t latents, whose tails fall as a power.

    .. math::
        p(z) \propto \prod_i \left( 1 + \frac{(z_i - \mu_i)^2}{\nu \sigma_i^2} \right)^{-(\nu+1)/2}

    Outliers may lie far from the origin at little cost (Abiri and Ohlsson 2020). As the degrees of
    freedom nu grow it approaches the normal; its mean is finite for nu > 1, its variance for
    nu > 2.

    Args:
        latent_dim: the number of latents d.
        degrees_of_freedom: nu, a positive number.
        learned: whether mu and sigma are learned; otherwise they are 0 and 1.

    Raises:
        ValueError: if latent_dim is below 1, or degrees_of_freedom is not a positive number.

    Example:
        >>> from pvae.priors import StudentT
        >>> StudentT(2, degrees_of_freedom=4.0)().variance
        tensor([2., 2.])
    """

    degrees_of_freedom: Tensor

    def __init__(
        self, latent_dim: int, degrees_of_freedom: float = 5.0, learned: bool = False
    ) -> None:
        super().__init__(latent_dim, learned)
        if not 0 < check_number("degrees_of_freedom", degrees_of_freedom) < float("inf"):
            raise ValueError(
                f"degrees_of_freedom is {degrees_of_freedom}: it must be a positive number."
            )
        # A buffer follows the module to its device and dtype; it is not saved.
        df = torch.tensor(float(degrees_of_freedom))
        self.register_buffer("degrees_of_freedom", df, persistent=False)

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), of event shape (latent_dim,)."""
        return dist.StudentT(self.degrees_of_freedom, self.loc, self.scale).to_event(1)
