"""Means and standard deviations, estimated from samples if there is no closed form."""

import pyro.distributions as dist
from torch import Tensor

SAMPLES = 100


def mean(p: dist.TorchDistribution) -> Tensor:
    r"""Return the mean, or the average of 100 samples if it has no closed form.

    Args:
        p: a distribution.

    Returns:
        A tensor of shape (\*batch_shape, \*event_shape).

    Example:
        >>> import pyro.distributions as dist
        >>> from pvae.moments import mean
        >>> mean(dist.Normal(1.0, 2.0))
        tensor(1.)
    """
    try:
        return p.mean
    except NotImplementedError:
        return p.sample((SAMPLES,)).mean(0)


def stddev(p: dist.TorchDistribution) -> Tensor:
    r"""Return the standard deviation, or that of 100 samples if it has no closed form.

    Args:
        p: a distribution.

    Returns:
        A tensor of shape (\*batch_shape, \*event_shape).
    """
    try:
        return p.stddev
    except NotImplementedError:
        return p.sample((SAMPLES,)).std(0)
