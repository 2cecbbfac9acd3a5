"""Base class of distributions rounded to integer levels."""

from collections.abc import Sequence
from functools import reduce
from operator import add

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints


class Discretized(dist.TorchDistribution):
    r"""A symmetric distribution of real numbers rounded to the levels 0 to K - 1.

    .. math::
        P(x) = F\left(\frac{x + \frac12 - \mu}{s}\right) - F\left(\frac{x - \frac12 - \mu}{s}\right)

    with F = 0 below level 0 and F = 1 above level K - 1: the mass beyond the ends is added to them,
    so that the masses sum to one.

    A subclass defines the rounded distribution, ``continuous``, log F and log(F(b) - F(a)).

    Args:
        loc: the location mu, in levels.
        scale: the scale s, in levels.
        levels: the number of levels K.
    """

    arg_constraints = {  # noqa: RUF012  (torch's convention)
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    continuous: type[dist.TorchDistribution]

    def __init__(
        self, loc: Tensor, scale: Tensor, levels: int, validate_args: bool | None = None
    ) -> None:
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        self.levels = levels
        super().__init__(self.loc.shape, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "Discretized":
        """Return the distribution with another batch shape."""
        new = self._get_checked_instance(type(self), _instance)
        new.loc, new.scale = self.loc.expand(batch_shape), self.scale.expand(batch_shape)
        new.levels = self.levels
        super(Discretized, new).__init__(new.loc.shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> constraints.Constraint:
        """The levels."""
        return constraints.integer_interval(0, self.levels - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log P(value)."""
        if self._validate_args:
            self._validate_sample(value)
        # Neighbours share the float of their edge, so that rounding loses no mass.
        below = (value - 0.5 - self.loc) / self.scale
        above = (value + 0.5 - self.loc) / self.scale
        highest = self._log_cdf(-below)
        inner = torch.where(value > self.levels - 1.5, highest, self._log_between(below, above))
        return torch.where(value < 0.5, self._log_cdf(above), inner)

    def sample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Sample levels: a draw of the continuous distribution, rounded."""
        with torch.no_grad():
            real = self.continuous(self.loc, self.scale, validate_args=False).sample(
                torch.Size(sample_shape)
            )
            return real.round().clamp(0, self.levels - 1)

    @property
    def mean(self) -> Tensor:
        """The mean level, the sum over k of P(x >= k)."""
        return reduce(add, (self._at_least(level) for level in range(1, self.levels)))

    @property
    def variance(self) -> Tensor:
        """The variance of the level."""
        mean = self.mean
        masses = (self.log_prob(torch.full_like(mean, k)).exp() for k in range(self.levels))
        return reduce(add, (mass * (level - mean) ** 2 for level, mass in enumerate(masses)))

    def _at_least(self, level: int) -> Tensor:
        return self._log_cdf((self.loc - (level - 0.5)) / self.scale).exp()

    @classmethod
    def _log_cdf(cls, t: Tensor) -> Tensor:
        """log F(t); by symmetry log(1 - F(t)) is log F(-t)."""
        raise NotImplementedError

    @classmethod
    def _log_between(cls, a: Tensor, b: Tensor) -> Tensor:
        """log(F(b) - F(a)) for a < b."""
        raise NotImplementedError
