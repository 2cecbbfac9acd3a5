"""Errors of each function against float64, over all of float32."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import special as sp

from pvae.inference import special_functions as special

TRIGAMMA = partial(torch.polygamma, 1)


def softplus(x):
    return torch.logaddexp(x, torch.zeros_like(x))  # without the threshold of torch's own


def log_sigmoid(x):
    return -softplus(-x)


def positive():
    """All orders of magnitude, subnormal ones included, and evenly spaced numbers."""
    exponents = torch.linspace(-149, 127.99, 40_001, dtype=torch.float64)
    even = torch.linspace(0, 60, 60_001, dtype=torch.float64)
    values = torch.cat([exponents.exp2(), even, even.new_tensor([1e4])]).float()
    return values[values > 0].unique()


def everywhere():
    return torch.cat([-positive(), positive()])


def moderate(most=1e3):
    x = everywhere()
    return x[(x.abs() < most) & (x != x.round())]  # without poles of x < 0


# The function, its reference in float64, the relative error, what it is relative to at least, and
# the arguments.
FUNCTIONS = {
    "log": (special.log, torch.log, 2e-7, 0, everywhere),
    "log1p": (special.log1p, torch.log1p, 2e-7, 0, everywhere),
    "expm1": (special.expm1, torch.expm1, 2e-7, 0, everywhere),
    "sigmoid": (special.sigmoid, torch.sigmoid, 3e-7, 0, everywhere),
    "tanh": (special.tanh, torch.tanh, 4e-7, 0, everywhere),
    "softplus": (special.softplus, softplus, 3e-7, 0, everywhere),
    "logsigmoid": (special.logsigmoid, log_sigmoid, 3e-7, 0, everywhere),
    "lgamma": (special.lgamma, torch.lgamma, 6e-7, 0, positive),
    "lgamma, zeros of x < 0 too": (special.lgamma, torch.lgamma, 2e-6, 1, everywhere),
    "digamma": (special.digamma, torch.digamma, 6e-7, 0, positive),
    "digamma, zeros of x < 0 too": (special.digamma, torch.digamma, 2e-6, 1, moderate),
    "trigamma": (special.trigamma, TRIGAMMA, 1e-6, 0, positive),
    "trigamma, x < 0 too": (special.trigamma, TRIGAMMA, 1e-6, 0, moderate),
    "erfc": (special.erfc, torch.erfc, 1e-6, 0, everywhere),
    "erfcx": (special.erfcx, sp.erfcx, 1e-6, 0, everywhere),
    "log_ndtr": (special.log_ndtr, sp.log_ndtr, 1e-6, 0, everywhere),
}


def off(value, reference, least):
    """The largest error, relative to a reference, or absolute where the reference is subnormal."""
    assert value.dtype == torch.float32
    finite = reference.abs() < torch.finfo(torch.float32).max * (1 - 1e-6)
    difference = (value.double() - reference).abs()[finite]
    size = reference.abs()[finite]
    subnormal = 2 * 2.0**-149  # roundings of results that have few digits
    relative = (difference - subnormal).clamp_min(0) / size.clamp_min(max(least, 2.0**-149))
    return relative.max().item()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_over_the_whole_range(name):
    function, reference, error, least, arguments = FUNCTIONS[name]
    x = arguments()
    assert off(function(x), reference(x.double()), least) < error


@pytest.mark.parametrize(
    ("function", "reference"),
    [
        (special.log, torch.log),
        (special.log1p, torch.log1p),
        (special.expm1, torch.expm1),
        (special.sigmoid, torch.sigmoid),
        (special.tanh, torch.tanh),
        (special.softplus, F.softplus),
        (special.logsigmoid, F.logsigmoid),
        (special.lgamma, torch.lgamma),
        (special.digamma, torch.digamma),
        (special.erfc, torch.erfc),
        (special.erfcx, sp.erfcx),
        (special.log_ndtr, sp.log_ndtr),
    ],
)
def test_zeros_poles_and_infinities_are_those_of_torch(function, reference):
    ends = [0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, -2.0, -3.0, 1e4, -1e4]
    value, expected = function(torch.tensor(ends)), reference(torch.tensor(ends))
    for x, one, other in zip(ends, value.tolist(), expected.tolist(), strict=True):
        both = math.isfinite(one) and math.isfinite(other)
        same = math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-38) if both else one == other
        assert same or (math.isnan(one) and math.isnan(other)), x


def test_functions_of_two_tensors():
    x = moderate(1e5)[::7]
    y = torch.cat([x[1::2], x[::2].flip(0)])
    exact = x.double(), y.double()
    assert off(special.logaddexp(x, y), torch.logaddexp(*exact), 1) < 3e-7
    p = y.abs()
    assert off(special.xlogy(x, p), torch.xlogy(exact[0], p.double()), 0) < 3e-7
    coins = (torch.arange(len(x)) % 2).float()
    loss = special.binary_cross_entropy_with_logits(x, coins)
    expected = -log_sigmoid(torch.where(coins == 1, exact[0], -exact[0]))
    assert off(loss, expected, 0) < 3e-7


def test_zeros_poles_and_infinities_of_two_tensors():
    ends = torch.tensor([0.0, 1.0, math.inf, -math.inf, math.nan])
    x, y = (t.flatten() for t in torch.meshgrid(ends, ends, indexing="ij"))
    for function, reference in (
        (special.logaddexp, torch.logaddexp),
        (special.xlogy, torch.xlogy),
        (
            special.binary_cross_entropy_with_logits,
            partial(F.binary_cross_entropy_with_logits, reduction="none"),
        ),
    ):
        defined = ~reference(x, y).isnan() | x.isnan() | y.isnan()
        value, expected = function(x, y)[defined], reference(x, y)[defined]
        torch.testing.assert_close(value, expected, equal_nan=True)
