"""The normal distribution with the variance that maximizes the likelihood of the given data."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor

SMALLEST_VARIANCE = 1e-6


class OptimalNormal(dist.Normal):
    r"""A normal distribution whose shared variance maximizes the likelihood of each batch.

    In training, `log_prob` is that of N(loc, sigma^2) at the maximum-likelihood variance of all
    elements of all its data (Rybkin, Daniilidis, Levine 2021),

    .. math::
        \sigma^2 = \frac{1}{n} \sum_{i=1}^n (x_i - \mu_i)^2,
        \qquad \sum_i \log p(x_i) = -\frac{n}{2} (\log 2 \pi \sigma^2 + 1)

    and each call moves ``variance`` in place by a fraction ``momentum`` of the way to it. The
    variance enters each log-probability as a constant: at its optimum the derivative of their sum
    by it is zero, and the gradient that of the closed form on the right.

    Samples and everything else, and with ``momentum=None`` also `log_prob`, use the running
    ``variance``, which does not depend on the values, so that this is a density.

    Args:
        loc: the mean.
        variance: the running variance, shape (): a persistent tensor, such as a buffer.
        momentum: the fraction by which it is updated at each call; ``None`` to use it unchanged.

    Example:
        >>> import torch
        >>> from pvae.distributions import OptimalNormal
        >>> variance = torch.tensor(1.0)
        >>> p = OptimalNormal(torch.zeros(1000), variance, momentum=0.1)
        >>> log_prob = p.log_prob(torch.full((1000,), 2.0))
        >>> variance
        tensor(1.3000)
    """

    def __init__(
        self,
        loc: Tensor,
        variance: Tensor,
        momentum: float | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.running = variance
        self.momentum = momentum
        super().__init__(loc, variance.sqrt(), validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "OptimalNormal":
        """Return the distribution with another batch shape."""
        new = self._get_checked_instance(OptimalNormal, _instance)
        new.running, new.momentum = self.running, self.momentum
        return super().expand(batch_shape, new)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(value), in training at the optimal variance for value."""
        if self.momentum is None:
            return super().log_prob(value)
        if self._validate_args:
            self._validate_sample(value)
        with torch.no_grad():
            variance = (value - self.loc).square().mean().clamp_min(SMALLEST_VARIANCE)
            self.running.lerp_(variance, self.momentum)
        return dist.Normal(self.loc, variance.sqrt(), validate_args=False).log_prob(value)
