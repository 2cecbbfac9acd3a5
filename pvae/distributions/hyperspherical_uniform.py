"""The uniform distribution on a sphere."""

import math
from collections.abc import Sequence

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor


class HypersphericalUniform(TorchDistribution):
    r"""The uniform distribution on the unit sphere in d dimensions.

    Its density is one over the area of the sphere,

    .. math::
        \log p(z) = -\log \frac{2 \pi^{d/2}}{\Gamma(d/2)}

    Args:
        dim: d, at least 2.
        dtype: the floating-point dtype of its draws; ``None`` for torch's default.
        device: the device of its draws; ``None`` for torch's default.

    Shape:
        values of (\*batch, d), of length 1.

    Raises:
        ValueError: if dim is below 2, or values off the sphere are scored.

    Example:
        >>> from pvae.distributions import HypersphericalUniform
        >>> HypersphericalUniform(3).entropy()  # log 4 pi
        tensor(2.5310)
    """

    arg_constraints = {}  # noqa: RUF012
    support = constraints.sphere
    has_rsample = True

    def __init__(
        self,
        dim: int,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if dim < 2:
            raise ValueError(f"dim is {dim}: a sphere needs at least 2 dimensions.")
        self._mean = torch.zeros(dim, dtype=dtype, device=device)
        super().__init__(torch.Size(), torch.Size((dim,)), validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        """The centre, which is not on the sphere."""
        return self._mean

    @property
    def variance(self) -> Tensor:
        """1 / d in each dimension."""
        return torch.full_like(self._mean, 1 / self.event_shape[0])

    def entropy(self) -> Tensor:
        """The logarithm of the area of the sphere."""
        half = self.event_shape[0] / 2
        area = math.log(2) + half * math.log(math.pi) - math.lgamma(half)
        return self._mean.new_full(self.batch_shape, area)

    def log_prob(self, value: Tensor) -> Tensor:
        """Minus the logarithm of the area, everywhere on the sphere."""
        if self._validate_args:
            self._validate_sample(value)
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        return -self.entropy().expand(shape)

    def rsample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Draw directions of standard normal vectors."""
        z = torch.randn(
            self._extended_shape(torch.Size(sample_shape)),
            dtype=self._mean.dtype,
            device=self._mean.device,
        )
        return z / z.norm(dim=-1, keepdim=True)

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "HypersphericalUniform":
        """Return the distribution with a larger batch shape."""
        new = self._get_checked_instance(HypersphericalUniform, _instance)
        batch_shape = torch.Size(batch_shape)
        new._mean = self._mean.expand(batch_shape + self.event_shape)
        super(HypersphericalUniform, new).__init__(
            batch_shape, self.event_shape, validate_args=False
        )
        new._validate_args = self._validate_args
        return new
