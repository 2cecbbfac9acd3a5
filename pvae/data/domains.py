"""Domains of values: detect them, check values, and check that one converts to another."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from pvae.interfaces import Domain, option

Binarization = Literal["dynamic", "static", "threshold"]
"""How grey values become binary: drawn each time, drawn once, or by comparison with one half."""

_SOURCES: dict[Domain, tuple[Domain, ...]] = {
    "binary": ("binary", "unit interval", "open unit interval", "bytes"),
    "unit interval": ("binary", "unit interval", "open unit interval", "bytes"),
    "open unit interval": ("unit interval", "open unit interval", "bytes"),
    "bytes": ("bytes",),
    "counts": ("binary", "bytes", "counts"),
    "positive reals": ("unit interval", "open unit interval", "bytes", "positive reals"),
    "reals": get_args(Domain),
}

_NAMES: dict[Domain, str] = {
    "binary": "binary values",
    "unit interval": "values in [0, 1]",
    "open unit interval": "values in (0, 1)",
    "bytes": "bytes",
    "counts": "counts",
    "positive reals": "positive real numbers",
    "reals": "real numbers",
}

_REMEDIES: dict[Domain, str] = {
    "binary": "rescale them to [0, 1], or store grey levels from 0 to 255 as uint8",
    "unit interval": "rescale them to [0, 1], or store grey levels from 0 to 255 as uint8",
    "open unit interval": "rescale them to (0, 1), or store grey levels from 0 to 255 as uint8",
    "bytes": "store levels from 0 to 255 as uint8",
    "counts": "store them as whole numbers from 0, of an integer dtype",
    "positive reals": "shift or rescale them to be above 0, of a floating-point dtype",
}

BYTE_LEVELS = 256

# Domains of densities for which bytes are dequantized; for the unit interval they are not.
DEQUANTIZED: tuple[Domain, ...] = ("open unit interval", "positive reals", "reals")


def describe(domain: Domain, value_range: tuple[float, float]) -> str:
    """Describe a domain and its range in words.

    Args:
        domain: the domain of the values.
        value_range: the lowest and highest value.

    Example:
        >>> from pvae.data.domains import describe
        >>> describe("bytes", (0, 16))
        'bytes from 0 to 16'
    """
    if domain in ("binary", "unit interval", "open unit interval"):
        return _NAMES[domain]
    low, high = value_range
    return f"{_NAMES[domain]} from {low:g} to {high:g}"


def domain_of(likelihood: object) -> Domain:
    """Return the domain that a likelihood declares.

    Raises:
        ValueError: if it declares none.
    """
    domain = option(likelihood, "domain")
    if domain not in get_args(Domain):
        raise ValueError(
            f"The likelihood {type(likelihood).__name__} must say what values it is over, by an "
            f"attribute domain of {', '.join(map(repr, get_args(Domain)))}, but has {domain!r}."
        )
    return domain


def detect(x: Tensor) -> tuple[Domain, tuple[float, float]]:
    """Detect the domain of a tensor from its dtype and its extremes.

    Booleans, and zeros and ones of any dtype, are binary; ``uint8`` is bytes of 256 levels; other
    whole numbers from 0 are counts; floating-point numbers within [0, 1] are the unit interval;
    others above 0 are positive reals; all else is reals.

    Args:
        x: real values of any shape.

    Returns:
        The domain and its lowest and highest value for such data; for the unit interval, those of
        the data.

    Raises:
        ValueError: if there are no values, or if some are NaN or infinite.

    Example:
        >>> import torch
        >>> from pvae.data.domains import detect
        >>> detect(torch.tensor([0.25, 0.5]))
        ('unit interval', (0.25, 0.5))
    """
    if x.numel() == 0:
        raise ValueError(f"The data of shape {tuple(x.shape)} hold no values; give at least one.")
    if x.dtype == torch.bool:
        return "binary", (0.0, 1.0)
    if x.is_floating_point():
        finite = torch.isfinite(x)
        if not finite.all():
            bad = (~finite).nonzero()
            raise ValueError(
                f"The data hold {len(bad):,} NaN or infinite value(s), the first at index "
                f"{tuple(bad[0].tolist())}; remove or replace them."
            )
    low, high = x.min().item(), x.max().item()
    if low >= 0 and high <= 1 and bool(((x == 0) | (x == 1)).all()):
        return "binary", (0.0, 1.0)
    if x.dtype == torch.uint8:
        return "bytes", (0.0, 255.0)
    if x.is_floating_point():
        if low >= 0 and high <= 1:
            return "unit interval", (float(low), float(high))
        if low > 0:
            return "positive reals", (float(low), float(high))
    elif low >= 0:
        return "counts", (0.0, float(high))
    return "reals", (float(low), float(high))


def within(x: Tensor, domain: Domain, levels: int = BYTE_LEVELS) -> Tensor:
    """Return which values lie in a domain, for any dtype.

    Args:
        x: values of any shape.
        domain: the domain.
        levels: the number of levels of bytes.

    Returns:
        Booleans of the shape of ``x``; false where it is NaN or infinite.

    Example:
        >>> import torch
        >>> from pvae.data.domains import within
        >>> within(torch.tensor([0.0, 0.5, 1.0]), "binary")
        tensor([ True, False,  True])
    """
    if domain == "binary":
        return (x == 0) | (x == 1)
    if domain == "unit interval":
        return (x >= 0) & (x <= 1)
    if domain == "open unit interval":
        return (x > 0) & (x < 1)
    finite = torch.isfinite(x)
    if domain == "reals":
        return finite
    if domain == "positive reals":
        return finite & (x > 0)
    whole = finite & (x >= 0) & (x == x.round() if x.is_floating_point() else True)
    return whole & (x < levels) if domain == "bytes" else whole


def all_within(x: Tensor, domain: Domain, levels: int = BYTE_LEVELS) -> bool:
    """Return whether all values lie in a domain, by arithmetic that is faster than comparisons.

    Args:
        x: floating-point values of any shape.
        domain: the domain.
        levels: the number of levels of bytes.

    Example:
        >>> import torch
        >>> from pvae.data.domains import all_within
        >>> all_within(torch.tensor([0.0, 0.5, 1.0]), "binary")
        False
    """
    if domain in ("open unit interval", "positive reals"):
        return bool(within(x, domain, levels).all())
    nearest = x
    if domain != "reals":
        ends = {"bytes": levels - 1, "counts": None}
        nearest = x.clamp(0, ends.get(domain, 1))
        if domain != "unit interval":
            nearest = nearest.round_()
    return bool((x - nearest).abs_().sum() == 0)  # NaN for NaN and infinite values


def check(domain_from: Domain, value_range: tuple[float, float], domain_to: Domain) -> None:
    """Raise if `convert` cannot convert such data, without the data themselves.

    Args:
        domain_from: the domain of the data.
        value_range: the lowest and highest value.
        domain_to: the domain of the likelihood.

    Raises:
        ValueError: if the data have no valid conversion to ``domain_to``, for example if data in
            the unit interval hold zeros and ``domain_to`` is the open one.

    Example:
        >>> from pvae.data.domains import check
        >>> check("bytes", (0, 255), "binary")
    """
    if domain_to not in _SOURCES:
        raise ValueError(
            f"The domain {domain_to!r} is not one of {', '.join(map(repr, get_args(Domain)))}."
        )
    if domain_from not in _SOURCES[domain_to]:
        raise ValueError(
            f"The data are {describe(domain_from, value_range)} but the likelihood needs "
            f"{_NAMES[domain_to]}; {_REMEDIES[domain_to]}, or choose a likelihood of "
            f"{_NAMES[domain_from]}."
        )
    low, high = value_range
    ends = ["zeros"] if low <= 0 and domain_to in ("open unit interval", "positive reals") else []
    ends += ["ones"] if high >= 1 and domain_to == "open unit interval" else []
    if domain_from == "unit interval" and ends:
        raise ValueError(
            f"The data hold exact {' and '.join(ends)} but the likelihood needs "
            f"{_NAMES[domain_to]}; store grey levels as uint8, which are dequantized, or choose a "
            f"likelihood of {_NAMES[domain_from]}."
        )


def picture_range(
    likelihood: nn.Module, given: Domain, value_range: tuple[float, float]
) -> tuple[float, float]:
    """The values of a likelihood that pictures show as black and white.

    Args:
        likelihood: the likelihood.
        given: the domain of the data.
        value_range: the lowest and highest value of the data.
    """
    modelled = likelihood.domain
    if modelled in ("binary", "unit interval", "open unit interval"):
        return (0.0, 1.0)
    if modelled in DEQUANTIZED and given in ("binary", "unit interval", "bytes"):
        return (0.0, 1.0)
    low, high = value_range  # a list where it comes from a run folder
    return low, high
