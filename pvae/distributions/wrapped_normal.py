"""The wrapped normal distribution on the Poincaré ball."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor

from pvae.distributions.poincare_ball import PoincareBall, log_spread


class WrappedNormal(TorchDistribution):
    r"""A normal wrapped around a point of the Poincaré ball (Nagano et al. 2019).

    .. math::
        z = \exp_\mu(v / \lambda_\mu), \quad v \sim N(0, \mathrm{diag}\, \sigma^2)

    in the notation of Mathieu et al. (2019, eq. 3): v is a normal vector in units of hyperbolic
    distance, and z the point that is reached from mu in its direction. The density

    .. math::
        \log p(z) = \log N(v; 0, \mathrm{diag}\, \sigma^2)
            + (d - 1) \log \frac{r}{\sinh r} + d \log \lambda_z, \quad r = \sqrt c\, \|v\|

    is one of the coordinates z, as of any other distribution over vectors; without the last term
    it is that of hyperbolic volume, as in the papers. The ratio of two is the same in both. As c
    goes to 0 it goes to the normal around mu with standard deviation sigma / 2, since distances are
    then twice those of the coordinates.

    The mean is the Fréchet mean mu, the point with the least expected square of the distance, as
    torch's `VonMises` has its circular mean; it is not the average of coordinates.

    Args:
        loc: mu, inside the ball, shape (\*batch, d).
        scale: sigma, positive, shape (\*batch, d).
        curvature: c, a positive number; the curvature of the space is -c.

    Shape:
        values of (\*batch, d), inside the ball of radius 1 / sqrt(c).

    Raises:
        ValueError: if the curvature or a scale is not positive, or mu or a scored value is outside
            the ball.

    Example:
        >>> import torch
        >>> from pvae.distributions import WrappedNormal
        >>> p = WrappedNormal(torch.zeros(2), torch.ones(2), curvature=1.0)
        >>> p.support.check(p.sample((5,))).all()
        tensor(True)
    """

    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        scale: Tensor,
        curvature: float = 1.0,
        validate_args: bool | None = None,
    ) -> None:
        self.ball = PoincareBall(curvature)
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        super().__init__(self.loc.shape[:-1], self.loc.shape[-1:], validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> PoincareBall:
        """The ball."""
        return self.ball

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """The location is in the ball, the scale positive."""
        positive = constraints.independent(constraints.positive, 1)
        return {"loc": self.ball, "scale": positive}

    @property
    def mean(self) -> Tensor:
        """The Fréchet mean."""
        return self.loc

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density of the coordinates."""
        if self._validate_args:
            self._validate_sample(value)
        way = self.ball.log(self.loc, value)
        normal = dist.Normal(torch.zeros_like(self.scale), self.scale, validate_args=False)
        spread = log_spread(self.ball.half_sinh_square(self.loc, value))
        volume = self.ball.log_volume(value)
        return normal.log_prob(way).sum(-1) - (value.shape[-1] - 1) * spread + volume

    def rsample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Go from the location the way of a normal vector."""
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.ball.exp(self.loc, self.scale * noise)

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "WrappedNormal":
        """Return the distribution with a larger batch shape."""
        new = self._get_checked_instance(WrappedNormal, _instance)
        shape = torch.Size(batch_shape) + self.event_shape
        new.ball = self.ball
        new.loc, new.scale = self.loc.expand(shape), self.scale.expand(shape)
        super(WrappedNormal, new).__init__(shape[:-1], self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new
