"""The logit-normal likelihood."""

import pyro.distributions as dist
from pyro.distributions.transforms import SigmoidTransform
from torch import Tensor

from pvae.likelihoods.location_scale import LocationScale

SMALLEST_MEAN = 1e-3


class LogitNormal(LocationScale):
    r"""Independent values in (0, 1) whose logits are normal (Atchison and Shen 1980).

    .. math::
        p(x|z) = \prod_i \frac{1}{x_i (1 - x_i)} N(\operatorname{logit} x_i; \mu_i(z), \sigma_i^2)

    It has no mean in closed form; the median of x_i is the sigmoid of mu_i. For a large scale it
    has a mode at each end. Bytes are first dequantized (see `pvae.data`).

    The scale is a number, fixed; ``"learned"``, one number shared by all elements; ``"element"``,
    one for each element; or ``"predicted"``, one for each element and each z, from the network.
    It is a standard deviation of logit x, and a learned one starts at 1.

    Args:
        latent_dim: the number of latents d.
        event_shape: event shape of x.
        network: maps (d,) to event_shape, or for a predicted scale to twice as many outputs along
            the first dimension: a module, or a factory that takes the two shapes; ``None`` for an
            `MLP`.
        scale: a positive number, ``"learned"``, ``"element"`` or ``"predicted"``.

    Shape:
        z of (\*batch, d) to a distribution of batch shape batch and event shape event_shape.

    Raises:
        ValueError: if the scale is not one of the four, a size is below 1, or the network does
            not fit.

    Example:
        >>> import torch
        >>> from pvae.likelihoods import LogitNormal
        >>> LogitNormal(2, (7,))(torch.zeros(5, 2)).event_shape
        torch.Size([7])
    """

    domain = "open unit interval"
    first_scale = 1.0

    def initialize(self, mean: Tensor) -> None:
        """Initialize the medians to the mean of the data, shape event_shape."""
        self.start_at(mean.clamp(SMALLEST_MEAN, 1 - SMALLEST_MEAN).logit())

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """Return p(x|z)."""
        normal = dist.Normal(*self.loc_scale(z))
        p = dist.TransformedDistribution(normal, [SigmoidTransform()])
        return p.to_event(len(self.event_shape))
