"""The logistic distribution rounded to integer levels."""

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from pvae.distributions.discretized import Discretized


class DiscretizedLogistic(Discretized):
    r"""A logistic distribution rounded to the levels 0 to K - 1 (Kingma et al. 2016).

    With F the logistic sigmoid, the mass between two edges is computed without cancellation:

    .. math::
        \log(F(b) - F(a)) = \log F(b) + \log F(-a) + \log(1 - e^{a - b})

    Args:
        loc: the location, in levels.
        scale: the scale, in levels; the standard deviation before rounding is pi / sqrt(3) times
            it.
        levels: the number of levels K.

    Example:
        >>> import torch
        >>> from pvae.distributions import DiscretizedLogistic
        >>> p = DiscretizedLogistic(torch.tensor(100.0), torch.tensor(3.0), levels=256)
        >>> bool((p.log_prob(torch.arange(256.0)).exp().sum() - 1).abs() < 1e-5)
        True
    """

    continuous = dist.Logistic

    @classmethod
    def _log_cdf(cls, t: Tensor) -> Tensor:
        return logsigmoid(t)

    @classmethod
    def _log_between(cls, a: Tensor, b: Tensor) -> Tensor:
        return logsigmoid(b) + logsigmoid(-a) + torch.log(-torch.expm1(a - b))
