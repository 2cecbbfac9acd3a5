"""Elementary and special functions in float32 by arithmetic that compilers vectorize.

On a CPU, Inductor computes some functions one element at a time (digamma, erfcx), and others by a
library that carries more digits than it returns. These forms use arithmetic, ``exp`` and the bits
of a float. Their coefficients are minimax fits in float64, with relative errors below 4e-8. The
errors of the functions are tested against float64 over the whole range.
"""

import math

import torch
from torch import Tensor

_SMALLEST_NORMAL = 2.0**-126
_LN2_HIGH, _LN2_LOW = 0.693138122558594, 9.05800061445160e-06  # the first times 127 is exact
_TWO_THIRDS = 0x3F2AAAAB  # its bits
_WHOLE = 2.0**23  # from here on every float32 is a whole number

_ATANH_THIRD = [0.3333331998, 0.2000381119, 0.1411756357, 0.1343024831]
_ATANH_FIFTH = [0.333333568, 0.1998948819, 0.1497831596]
_TANH = [0.9999999791, 0.1337973151, 3.494049889e-3, 2.058370277e-5, 1.331932310e-8]
_TANH_BELOW = [1.0, 0.4671304678, 2.587113356e-2, 3.283116567e-4, 7.762133928e-7]
_EXPM1 = [0.4999999955, 0.1666657729, 0.04166685302, 8.363145867e-3, 1.390133284e-3]
_LGAMMA = [2.1094544924, 16.98663298, 20.29651264, 3.929786239, 0.03717984802]
_LGAMMA_BELOW = [1.0, 16.65476081, 38.16556518, 17.82532699, 1.472832401]
_STIRLING = [0.0833333331, -2.777696881e-3, 7.884803094e-4, -4.855066599e-4]
_DIGAMMA = [622.9727344, 1443.84149, 528.8660152, 27.90963346]
_DIGAMMA_BELOW = [1.0, 903.2895653, 988.8898749, 199.4332145, 5.621157402]
_DIGAMMA_FAR = [0.0833333327, -8.332998765e-3, 3.940490626e-3, -3.401345189e-3]
_DIGAMMA_ROOT = 1.46163213253021240234375, 1.243814990e-8  # their sum
_TRIGAMMA = [80.58925874, 258.1327640, 348.9591885, 321.9216598]
_TRIGAMMA_BELOW = [1.0, -8.036995378, 110.9361848, 187.9409763, 321.9247822]
_TRIGAMMA_FAR = [0.1666666605, -0.03333017815, 0.02354584263, -0.02596422376]
_SINE_PI = [3.1415926369, -5.1677096848, 2.5500697263, -0.5982421259, 0.07756038603]
_ERFCX = [
    *(0.6265040284, -0.06781052891, -0.02378109192, 0.06482192811, -0.05963751717, 0.03415906974),
    *(-0.01188215703, 1.247638356e-3, 9.379924907e-4, -3.611994459e-4, -4.646474276e-5),
    3.788381978e-5,
]


def _polynomial(x: Tensor, coefficients: list[float]) -> Tensor:
    """Evaluate a polynomial by Horner's rule, lowest power first."""
    *rest, last = coefficients
    value = x * last + rest[-1]
    for coefficient in reversed(rest[:-1]):
        value = value * x + coefficient
    return value


def _log1p_unit(x: Tensor) -> Tensor:
    """log(1 + x) for x in [0, 1]."""
    s = x / (x + 2)
    w = s * s
    twice = s + s
    return twice + twice * (w * _polynomial(w, _ATANH_THIRD))


def _reduced(x: Tensor) -> tuple[Tensor, Tensor]:
    """The exponent k and f with x = 2^k (1 + f), 1 + f in [2/3, 4/3), for positive normal x."""
    bits = x.view(torch.int32)
    k = (bits - _TWO_THIRDS) >> 23
    return k.to(torch.float32), (bits - (k << 23)).view(torch.float32) - 1


def _log_of(k: Tensor, f: Tensor, more: Tensor | float = 0.0) -> Tensor:
    """log(2^k (1 + f)) + more, for more that is small."""
    s = f / (f + 2)
    w = s * s
    half = 0.5 * f * f
    rest = s * (half + (w + w) * _polynomial(w, _ATANH_FIFTH)) + (k * _LN2_LOW + more)
    return k * _LN2_HIGH + (f - (half - rest))


def _log_positive(x: Tensor) -> Tensor:
    """log(x) for x in [0, inf]."""
    subnormal = x < _SMALLEST_NORMAL
    k, f = _reduced(torch.where(subnormal, x * 2.0**24, x))
    value = _log_of(torch.where(subnormal, k - 24, k), f)
    value = torch.where(x > 0, value, -math.inf)
    return torch.where(x < math.inf, value, x)


def log(x: Tensor) -> Tensor:
    """The natural logarithm; relative error 2e-7."""
    return torch.where(x < 0, math.nan, _log_positive(x))


def log1p(x: Tensor) -> Tensor:
    """log(1 + x); relative error 3e-7."""
    u = x + 1
    k, f = _reduced(u)
    lost = torch.where(x < 1, x - (u - 1), 1 - (u - x))  # by rounding in u
    value = _log_of(k, f, lost / u)
    value = torch.where(x > -1, value, torch.where(x == -1, -math.inf, math.nan))
    return torch.where(x < math.inf, value, x)


def expm1(x: Tensor) -> Tensor:
    """exp(x) - 1; relative error 3e-7."""
    near = x + x * x * _polynomial(x, _EXPM1)
    return torch.where(x.abs() < 0.34657359, near, x.exp() - 1)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)); relative error 3e-7."""
    e = (-x.abs()).exp()
    return torch.where(x < 0, e, 1.0) / (e + 1)


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent; relative error 4e-7."""
    x = x.clamp(-9.02, 9.02)
    w = x * x
    return (x * _polynomial(w, _TANH) / _polynomial(w, _TANH_BELOW)).clamp(-1.0, 1.0)


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)); relative error 3e-7."""
    return x.clamp_min(0.0) + _log1p_unit((-x.abs()).exp())


def logsigmoid(x: Tensor) -> Tensor:
    """log(sigmoid(x)); relative error 3e-7."""
    return x.clamp_max(0.0) - _log1p_unit((-x.abs()).exp())


def logaddexp(x: Tensor, y: Tensor) -> Tensor:
    """log(exp(x) + exp(y)); error 3e-7 relative to the larger of the result and log 2."""
    largest = torch.maximum(x, y)
    value = largest + _log1p_unit((-(x - y).abs()).exp())
    return torch.where((x == y) & (largest.abs() == math.inf), largest, value)


def xlogy(x: Tensor, y: Tensor) -> Tensor:
    """x log(y), and 0 where x is; relative error 3e-7."""
    value = torch.where(x == 0, 0.0, x * log(y))
    return torch.where(y.isnan(), y, value)


def binary_cross_entropy_with_logits(x: Tensor, y: Tensor) -> Tensor:
    """-log p(y) of a Bernoulli with logits x; relative error 3e-7."""
    size = x.abs()
    return size * torch.where(x > 0, 1 - y, y) + _log1p_unit((-size).exp())


def _to_whole(y: Tensor) -> Tensor:
    """The signed distance of y from the nearest whole number."""
    return torch.where(y < _WHOLE, y - y.round(), 0.0)


def _sine_pi(r: Tensor) -> Tensor:
    """sin(pi r) for r in [-1/2, 1/2]."""
    return r * _polynomial(r * r, _SINE_PI)


def lgamma(x: Tensor) -> Tensor:
    """log |gamma(x)|; relative error 6e-7, for x < 0 relative to at least 1, with error 2e-6."""
    y = x.abs()
    log_y = _log_positive(y)
    t = torch.where(y < 0.5, y + 1, y)
    s = t.clamp_max(3.5)
    near = (s - 1) * (s - 2) * (_polynomial(s, _LGAMMA) / _polynomial(s, _LGAMMA_BELOW))
    z = 1 / t.clamp_min(3.5)
    rest = z * _polynomial(z * z, _STIRLING) + (0.5 * math.log(2 * math.pi) - 0.5)
    of_t = torch.where(t < 3.5, near, (y - 0.5) * (log_y - 1) + rest)
    positive = torch.where(y < 0.5, of_t - log_y, of_t)
    # |gamma(y) gamma(-y)| = pi / (y sin(pi y)); for small y, of_t and sine lack a factor of y.
    r = _to_whole(y).abs()
    sine = torch.where(y < 0.5, 1.0, r) * _polynomial(r * r, _SINE_PI)
    negative = math.log(math.pi) - log_y - of_t - _log_of(*_reduced(sine))
    negative = torch.where((r == 0) & (y > 0), math.inf, negative)
    return torch.where(x < 0, negative, positive)


def digamma(x: Tensor) -> Tensor:
    """The derivative of lgamma; errors as of lgamma."""
    y = x.abs()
    t = torch.where(y < 1, y + 1, y)
    s = t.clamp_max(4.0)
    root = (s - _DIGAMMA_ROOT[0]) - _DIGAMMA_ROOT[1]
    near = root * (_polynomial(s, _DIGAMMA) / _polynomial(s, _DIGAMMA_BELOW))
    z = 1 / t.clamp_min(4.0)
    w = z * z
    far = _log_positive(t) - (0.5 * z + w * _polynomial(w, _DIGAMMA_FAR))
    value = torch.where(t < 4, near, far)
    # psi(-y) = psi(y) + 1 / y + pi cot(pi y), where 1 / y is in the value already for y < 1.
    r = _to_whole(y)
    cotangent = math.pi * _sine_pi(0.5 - r.abs()) / _sine_pi(r)
    cotangent = torch.where(r == 0, math.nan, cotangent)
    inverse = 1 / x
    positive = torch.where(y < 1, value - inverse, value)
    negative = torch.where(y < 1, value, value - inverse) + cotangent
    return torch.where(x < 0, negative, positive)


def trigamma(x: Tensor) -> Tensor:
    """The derivative of digamma; relative error 1e-6."""
    y = x.abs()
    t = torch.where(y < 1, y + 1, y)
    s = t.clamp_max(4.0)
    near = _polynomial(s, _TRIGAMMA) / _polynomial(s, _TRIGAMMA_BELOW)
    z = 1 / t.clamp_min(4.0)
    far = z + z * z * (0.5 + z * _polynomial(z * z, _TRIGAMMA_FAR))
    value = torch.where(t < 4, near, far)
    # psi'(-y) = (pi / sin(pi y))^2 - psi'(y) + 1 / y^2, and psi'(y) = psi'(1 + y) + 1 / y^2.
    inverse = (1 / y).square()
    cosecant = (math.pi / _sine_pi(_to_whole(y))).square()
    negative = cosecant - torch.where(y < 1, value, value - inverse)
    positive = torch.where(y < 1, value + inverse, value)
    return torch.where(x < 0, negative, positive)


def _erfcx_positive(y: Tensor) -> Tensor:
    """erfcx(y) for y in [0, inf]."""
    bounded = y.clamp_max(1e10)
    return _polynomial((bounded - 3) / (bounded + 3), _ERFCX) / (y + 0.5)


def _exp_square(y: Tensor, factor: float) -> Tensor:
    """exp(factor y^2), without the error that rounding of the square would be multiplied to."""
    high = (y.view(torch.int32) & -4096).view(torch.float32)  # 12 digits: its square is exact
    return (factor * (high * high)).exp() * (factor * ((y - high) * (y + high))).exp()


def erfc(x: Tensor) -> Tensor:
    """1 - erf(x); relative error 1e-6."""
    y = x.abs().clamp_max(11.0)
    tail = _exp_square(y, -1.0) * _erfcx_positive(y)
    return torch.where(x < 0, 2 - tail, tail)


def erfcx(x: Tensor) -> Tensor:
    """exp(x^2) erfc(x); relative error 1e-6."""
    y = x.abs()
    scaled = _erfcx_positive(y)
    return torch.where(x < 0, 2 * _exp_square(y.clamp_max(10.0), 1.0) - scaled, scaled)


def log_ndtr(x: Tensor) -> Tensor:
    """log of the standard normal distribution function; relative error 1e-6."""
    y = x.abs()
    scaled = 0.5 * _erfcx_positive(y * math.sqrt(0.5))
    upper = _exp_square(y.clamp_max(15.0), -0.5) * scaled  # the probability beyond |x|
    tail = _log_positive(scaled) - 0.5 * x * x
    return torch.where(x < -1, tail, log1p(-torch.where(x < 0, 1 - upper, upper)))
