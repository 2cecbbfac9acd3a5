"""The Student t likelihood."""

from typing import Literal

import pyro.distributions as dist
from torch import Tensor

from pvae.annotations import NetworkOrFactory, Shape
from pvae.checks import check_number
from pvae.likelihoods.location_scale import LocationScale


class StudentT(LocationScale):
    r"""Independent real values with outliers (Lange, Little, Taylor 1989; Takahashi et al. 2018).

    .. math::
        p(x|z) = \prod_i \frac{1}{\sigma_i}\, t_\nu\left(\frac{x_i - \mu_i(z)}{\sigma_i}\right)

    with t the density of Student's distribution with nu degrees of freedom: the fewer, the heavier
    its tails; it tends to a Gaussian as nu grows.

    The scale is a number, fixed; ``"learned"``, one number shared by all elements; ``"element"``,
    one for each element; or ``"predicted"``, one for each element and each z, from the network.

    Args:
        latent_dim: the number of latents d.
        event_shape: event shape of x.
        network: maps (d,) to event_shape, or for a predicted scale to twice as many outputs along
            the first dimension: a module, or a factory that takes the two shapes; ``None`` for an
            `MLP`.
        scale: a positive number, ``"learned"``, ``"element"`` or ``"predicted"``.
        degrees_of_freedom: nu, above 1, so that there is a mean.

    Shape:
        z of (\*batch, d) to a distribution of batch shape batch and event shape event_shape.

    Raises:
        ValueError: if the scale is not one of the four, the degrees of freedom are not above 1, a
            size is below 1, or the network does not fit.

    Example:
        >>> import torch
        >>> from pvae.likelihoods import StudentT
        >>> StudentT(2, (7,), degrees_of_freedom=3)(torch.zeros(5, 2)).event_shape
        torch.Size([7])
    """

    domain = "reals"

    def __init__(
        self,
        latent_dim: int,
        event_shape: Shape,
        network: NetworkOrFactory | None = None,
        scale: float | Literal["learned", "element", "predicted"] = "learned",
        degrees_of_freedom: float = 4.0,
    ) -> None:
        if not 1 < check_number("degrees_of_freedom", degrees_of_freedom) < float("inf"):
            raise ValueError(
                f"degrees_of_freedom is {degrees_of_freedom}: it must be a number above 1, from "
                "which on Student's distribution has a mean."
            )
        super().__init__(latent_dim, event_shape, network, scale)
        self.degrees_of_freedom = degrees_of_freedom

    def initialize(self, mean: Tensor) -> None:
        """Initialize the mean to that of the data, shape event_shape."""
        self.start_at(mean)

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """Return p(x|z)."""
        loc, scale = self.loc_scale(z)
        return dist.StudentT(self.degrees_of_freedom, loc, scale).to_event(len(self.event_shape))
