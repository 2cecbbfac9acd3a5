"""The coupling layer of rational-quadratic splines."""

import math
from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.distributions import Transform
from torch.nn.functional import pad, softplus

# Durkan et al. 2019, appendix A.1
SMALLEST_BIN, SMALLEST_SLOPE = 1e-3, 1e-3


class SplineCoupling(Transform):
    r"""The coupling layer of Durkan et al. (2019).

    The first dimensions stay unchanged, and each of the others is mapped by a monotonic spline
    that depends on them,

    .. math::
        y_{1:s} = x_{1:s}, \qquad y_i = f(x_i; \theta_i(x_{1:s})) \text{ for } i > s.

    The spline is a rational-quadratic function (Gregory and Delbourgo 1982) in each of B bins of
    [-b, b], once differentiable where bins meet, and the identity outside. With all network outputs
    zero it is the identity. Pyro's layer cannot be traced: its graph depends on the values.

    Args:
        split: s, the number of unchanged dimensions.
        network: maps (\*batch, s) to (\*batch, (d - s) * (3 B - 1)): for each of the other
            dimensions raw widths and heights of its bins and slopes between them.
        bins: B.
        bound: b.

    Shape:
        (\*batch, d) to (\*batch, d).

    Example:
        >>> import torch
        >>> from pvae.distributions import SplineCoupling
        >>> transform = SplineCoupling(1, torch.nn.Linear(1, 2 * 23))
        >>> transform(torch.randn(5, 3)).shape
        torch.Size([5, 3])
    """

    _cached_x_y: tuple[Any, Any]  # of torch, which declares what it is at first
    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(
        self, split: int, network: Callable[[Tensor], Tensor], bins: int = 8, bound: float = 5.0
    ) -> None:
        super().__init__(cache_size=1)
        self.split = split
        self.network = network
        self.bins = bins
        self.bound = bound

    def _call(self, x: Tensor) -> Tensor:
        return self._map(x, inverse=False)

    def _inverse(self, y: Tensor) -> Tensor:
        return self._map(y, inverse=True)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the log-determinant at x, shape (\\*batch,)."""
        if x is not self._cached_x_y[0] or y is not self._cached_x_y[1]:
            self(x)
        return self._log_slopes.sum(-1)

    def _map(self, value: Tensor, inverse: bool) -> Tensor:
        given, moved = value[..., : self.split], value[..., self.split :]
        raw = self.network(given).unflatten(-1, (moved.shape[-1], 3 * self.bins - 1))
        moved, log_slopes = _spline(moved, raw, self.bins, self.bound, inverse)
        self._log_slopes = -log_slopes if inverse else log_slopes
        return torch.cat([given, moved], -1)


def _spline(
    value: Tensor, raw: Tensor, bins: int, bound: float, inverse: bool
) -> tuple[Tensor, Tensor]:
    """Return the mapped values and the logarithms of the slopes there."""
    raw_widths, raw_heights, raw_slopes = raw.split([bins, bins, bins - 1], -1)
    x, width = _knots(raw_widths, bound)
    y, height = _knots(raw_heights, bound)
    slope_of_zero = math.log(math.expm1(1 - SMALLEST_SLOPE))  # so that 0 means a slope of 1
    slope = pad(SMALLEST_SLOPE + softplus(raw_slopes + slope_of_zero), (1, 1), value=1.0)

    inside = value.abs() < bound
    at = torch.where(inside, value, torch.zeros_like(value)).unsqueeze(-1)
    k = (at >= (y if inverse else x)[..., 1:-1]).sum(-1, keepdim=True)
    x, width, y, height, left, right = (
        numbers.gather(-1, k)
        for numbers in (x[..., :-1], width, y[..., :-1], height, slope[..., :-1], slope[..., 1:])
    )
    mean = height / width
    if inverse:  # the root in [0, 1] of a t^2 + b t + c, by the form without cancellation
        up = at - y
        bend = left + right - 2 * mean
        a = height * (mean - left) + up * bend
        b = height * left - up * bend
        c = -mean * up
        tiny = torch.finfo(value.dtype).tiny
        root = (b**2 - 4 * a * c).clamp_min(tiny).sqrt()
        t = torch.where(b > 0, -2 * c, root - b) / torch.where(b > 0, b + root, 2 * a)
    else:
        t = (at - x) / width
    t = t.clamp(0, 1)  # rounding may exceed this range, where slopes may be negative
    denominator = mean * (t**2 + (1 - t) ** 2) + (left + right) * t * (1 - t)
    if inverse:
        moved = x + width * t
    else:
        moved = y + height * (mean * t**2 + left * t * (1 - t)) / denominator
    slope = mean**2 * (right * t**2 + 2 * mean * t * (1 - t) + left * (1 - t) ** 2)
    log_slope = slope.log() - 2 * denominator.log()
    log_slope = (-log_slope if inverse else log_slope).squeeze(-1)
    return (
        torch.where(inside, moved.squeeze(-1), value),
        torch.where(inside, log_slope, torch.zeros_like(value)),
    )


def _knots(raw: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """The edges of the bins in [-bound, bound], and their widths."""
    bins = raw.shape[-1]
    length = 2 * bound * (SMALLEST_BIN + (1 - SMALLEST_BIN * bins) * raw.softmax(-1))
    return pad(length.cumsum(-1), (1, 0)) - bound, length
