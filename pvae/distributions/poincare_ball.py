"""The Poincaré ball: hyperbolic space of any curvature, as the support of distributions."""

import math

import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.distributions import Transform, biject_to

from pvae.checks import check_number


class PoincareBall(constraints.Constraint):
    r"""The Poincaré ball of curvature -c: the vectors shorter than 1 / sqrt(c).

    Lengths at z are those of the coordinates times :math:`\lambda_z = 2 / (1 - c \|z\|^2)`, so that
    the border is infinitely far away. As c goes to 0 the distance of x and y goes to
    :math:`2 \|x - y\|`.

    Vectors v at a point are here in units of distance: `exp` goes the way :math:`\|v\|` from the
    point in the direction of v, the exponential map at :math:`v / \lambda` of Nickel and Kiela
    (2017) and Ganea et al. (2018), and `log` is its inverse. Values are kept a few units of
    rounding away from the border.

    Args:
        curvature: c, a positive number.

    Raises:
        ValueError: if the curvature is not positive and finite.

    Example:
        >>> import torch
        >>> from pvae.distributions import PoincareBall
        >>> ball = PoincareBall(curvature=1.0)
        >>> z = ball.exp(torch.zeros(2), torch.tensor([3.0, 4.0]))
        >>> ball.check(z), ball.distance(torch.zeros(2), z)
        (tensor(True), tensor(5.0000))
    """

    event_dim = 1

    def __init__(self, curvature: float = 1.0) -> None:
        if not 0 < check_number("curvature", curvature) < float("inf"):
            raise ValueError(
                f"curvature is {curvature}: it must be a positive number, that of the hyperbolic "
                "space being its negative; for flat space use a normal."
            )
        self.curvature = float(curvature)

    @property
    def radius(self) -> float:
        """The radius of the ball, 1 / sqrt(c)."""
        return self.curvature**-0.5

    def check(self, value: Tensor) -> Tensor:
        """Return for which elements of the batch the value is inside."""
        return self.curvature * value.square().sum(-1) < 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PoincareBall) and self.curvature == other.curvature

    def __hash__(self) -> int:
        return hash((PoincareBall, self.curvature))

    def __repr__(self) -> str:
        return f"PoincareBall(curvature={self.curvature:g})"

    def project(self, z: Tensor) -> Tensor:
        """Move vectors at the border, or outside the ball, inside."""
        limit = self.radius * (1 - 8 * torch.finfo(z.dtype).eps)
        return z * (limit / z.square().sum(-1, keepdim=True).clamp_min(limit**2).sqrt())

    def exp(self, x: Tensor, v: Tensor) -> Tensor:
        r"""Go from x the way v, both of shape (\*batch, d)."""
        square = self.curvature * v.square().sum(-1, keepdim=True) / 4
        # From the origin, then by Möbius addition to x, in terms that do not cancel.
        both = x + v / 2 * _tanh_ratio(square)
        sum_square = self.curvature * both.square().sum(-1, keepdim=True)
        gap = self._gap(x)
        moved = sum_square * x + gap * both
        return self.project(moved / (sum_square + gap * _sech_square(square)))

    def log(self, x: Tensor, z: Tensor) -> Tensor:
        r"""The way v from x to z, so that exp(x, v) = z; all of shape (\*batch, d)."""
        gap, square = self._gap(x), self.half_sinh_square(x, z).unsqueeze(-1)
        gaps = gap * self._gap(z)
        ahead = gap * (z - x) - square * gaps * x
        return 2 * asinh_ratio(square) * ahead / (gaps * (1 + square).sqrt())

    def distance(self, x: Tensor, z: Tensor) -> Tensor:
        r"""The length of the shortest way from x to z, shape batch.

        .. math::
            \frac{2}{\sqrt c} \operatorname{arsinh}
            \sqrt{\frac{c \|x - z\|^2}{(1 - c \|x\|^2) (1 - c \|z\|^2)}}
        """
        ratio = asinh_ratio(self.half_sinh_square(x, z))
        # The norm has a gradient at 0, the root of the square has none.
        apart = (z - x).norm(dim=-1) / (self._gap(x) * self._gap(z)).squeeze(-1).sqrt()
        return 2 * ratio * apart

    def half_sinh_square(self, x: Tensor, z: Tensor) -> Tensor:
        """The square of sinh(sqrt(c) distance / 2), shape batch."""
        square = self.curvature * (z - x).square().sum(-1)
        return square / (self._gap(x) * self._gap(z)).squeeze(-1)

    def log_volume(self, z: Tensor) -> Tensor:
        r"""The logarithm of hyperbolic volume per volume of the coordinates, d log lambda_z."""
        return z.shape[-1] * (math.log(2) - self._gap(z).squeeze(-1).log())

    def _gap(self, z: Tensor) -> Tensor:
        r"""1 - c |z|^2, above 0, shape (\*batch, 1)."""
        gap = 1 - self.curvature * z.square().sum(-1, keepdim=True)
        return gap.clamp_min(torch.finfo(z.dtype).eps)


class ExponentialMap(Transform):
    """The bijection of real vectors to the ball: from the origin the way v.

    Args:
        ball: the ball.
    """

    bijective = True
    domain = constraints.real_vector

    def __init__(self, ball: PoincareBall) -> None:
        super().__init__()
        self.ball = self.codomain = ball

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExponentialMap) and self.ball == other.ball

    def __hash__(self) -> int:
        return hash((ExponentialMap, self.ball))

    def _call(self, x: Tensor) -> Tensor:
        return self.ball.exp(torch.zeros_like(x), x)

    def _inverse(self, y: Tensor) -> Tensor:
        return self.ball.log(torch.zeros_like(y), y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Hyperbolic volume grows by (sinh(r) / r)^(d - 1), with r = sqrt(c) |x|."""
        square = self.ball.half_sinh_square(torch.zeros_like(y), y)
        return (x.shape[-1] - 1) * log_spread(square) - self.ball.log_volume(y)


@biject_to.register(PoincareBall)
def _to_ball(ball: PoincareBall) -> ExponentialMap:
    return ExponentialMap(ball)


def log_spread(square: Tensor) -> Tensor:
    """log(sinh(r) / r) for the square of sinh(r / 2)."""
    return 0.5 * square.log1p() - asinh_ratio(square).log()


SERIES = 1e-2  # squares below which ratios are sums of powers, whose derivatives do not cancel


def asinh_ratio(square: Tensor) -> Tensor:
    """asinh(x) / x for the square of x."""
    powers = 1 + square * (
        -1 / 6 + square * (3 / 40 + square * (-15 / 336 + square * (105 / 3456)))
    )
    root = square.clamp_min(SERIES).sqrt()
    return torch.where(square < SERIES, powers, root.asinh() / root)


def _tanh_ratio(square: Tensor) -> Tensor:
    """tanh(x) / x for the square of x."""
    powers = 1 + square * (-1 / 3 + square * (2 / 15 + square * (-17 / 315 + square * (62 / 2835))))
    root = square.clamp_min(SERIES).sqrt()
    return torch.where(square < SERIES, powers, root.tanh() / root)


def _sech_square(square: Tensor) -> Tensor:
    """1 - tanh(x)^2 for the square of x."""
    powers = _tanh_ratio(square)
    small = 1 - square * powers.square()
    decay = (-2 * square.clamp_min(SERIES).sqrt()).exp()
    return torch.where(square < SERIES, small, 4 * decay / (1 + decay).square())
