"""Checks of sizes, numbers, flags and shapes that a user passes."""

from collections.abc import Iterable
from numbers import Integral, Real

from pvae.annotations import Shape
from pvae.messages import shown


def check_size(name: str, size: int) -> int:
    """Return a size that is a whole number of at least 1.

    Raises:
        ValueError: if it is not.
    """
    if not _is_size(size):
        raise ValueError(f"{name} is {shown(size)}: it must be a whole number of at least 1.")
    return size


def check_number(name: str, value: float) -> float:
    """Return a real number; the caller checks its range.

    Raises:
        TypeError: if it is not a number.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} is {shown(value)}: it must be a number.")
    return value


def check_flag(name: str, value: bool) -> bool:
    """Return True or False.

    Raises:
        TypeError: if it is neither.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {shown(value)}: it must be True or False.")
    return value


def check_shape(name: str, shape: Shape) -> Shape:
    """Return a shape as a tuple of sizes, each a whole number of at least 1.

    Raises:
        ValueError: if it is empty, or a size is not such a number.
    """
    sizes = tuple(shape) if isinstance(shape, Iterable) else (shape,)
    if not sizes or not all(map(_is_size, sizes)):
        raise ValueError(f"{name} is {shown(sizes)}: it must be whole numbers, each at least 1.")
    return tuple(map(int, sizes))


def _is_size(n: object) -> bool:
    return isinstance(n, Integral) and not isinstance(n, bool) and 1 <= n < 2**31
