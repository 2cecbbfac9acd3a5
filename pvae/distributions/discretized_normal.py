"""The normal distribution rounded to integer levels."""

import math

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.special import erfc, erfcx

from pvae.distributions.discretized import Discretized


class DiscretizedNormal(Discretized):
    r"""A normal distribution rounded to the levels 0 to K - 1 (Ho, Jain, Abbeel 2020).

    With F the standard normal distribution function, the mass between two edges is computed on the
    side of the mean where F is small, so that it is exact in both tails:

    .. math::
        \log(F(b) - F(a)) = \log F(b) + \log(1 - e^{\log F(a) - \log F(b)}), \qquad a + b \le 0

    Args:
        loc: the mean before rounding, in levels.
        scale: the standard deviation before rounding, in levels.
        levels: the number of levels K.

    Example:
        >>> import torch
        >>> from pvae.distributions import DiscretizedNormal
        >>> p = DiscretizedNormal(torch.tensor(100.0), torch.tensor(3.0), levels=256)
        >>> bool((p.log_prob(torch.arange(256.0)).exp().sum() - 1).abs() < 1e-5)
        True
    """

    continuous = dist.Normal

    @classmethod
    def _log_cdf(cls, t: Tensor) -> Tensor:
        # torch.special.log_ndtr is the same, but its gradient is rounded to zero in the tail.
        tail = t < -1
        far, near = torch.where(tail, t, -1.0), torch.where(tail, -1.0, t)
        log_tail = (erfcx(far / -math.sqrt(2)) / 2).log() - far**2 / 2
        return torch.where(tail, log_tail, torch.log1p(erfc(near / math.sqrt(2)) / -2))

    @classmethod
    def _log_between(cls, a: Tensor, b: Tensor) -> Tensor:
        left = a + b <= 0
        low = cls._log_cdf(torch.where(left, a, -b))
        high = cls._log_cdf(torch.where(left, b, -a))
        # Edges that are the same float would have a mass of zero.
        smallest = torch.finfo(high.dtype).eps
        return high + torch.log(-torch.expm1((low - high).clamp_max(-smallest)))
