"""Checks of sizes, numbers, flags and shapes that a user passes."""

import itertools
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import TypeGuard

from pvae.annotations import Shape
from pvae.messages import shown


def check_size(name: str, size: object) -> int:
    """Return a size that is a whole number of at least 1.

    Raises:
        ValueError: if it is not.
    """
    if not _is_size(size):
        raise ValueError(f"{name} is {shown(size)}: it must be a whole number of at least 1.")
    return size


def check_count(name: str, count: object) -> int:
    """Return a count that is a whole number of at least 0.

    Raises:
        ValueError: if it is not.
    """
    if not (is_whole(count) and 0 <= count < 2**31):
        raise ValueError(f"{name} is {shown(count)}: it must be a whole number of at least 0.")
    return count


def check_number(name: str, value: object) -> float:
    """Return a real number; the caller checks its range.

    Raises:
        TypeError: if it is not a number.
    """
    if not is_real(value):
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


def check_shape(name: str, shape: int | Sequence[int]) -> Shape:
    """Return a shape as a tuple of sizes, each a whole number of at least 1.

    Raises:
        ValueError: if it is empty, or a size is not such a number.
    """
    sizes = tuple(shape) if isinstance(shape, Iterable) else (shape,)
    if not sizes or not all(map(_is_size, sizes)):
        raise ValueError(f"{name} is {shown(sizes)}: it must be whole numbers, each at least 1.")
    return tuple(map(int, sizes))


def check_levels(levels: object) -> tuple[Shape, ...]:
    """Return the shapes of the levels of a hierarchy, (d,) or (C, H, W), from the top down.

    Raises:
        ValueError: if there are none, one is of another form, a vector stands below a map, or a map
            is coarser than one above it.
    """
    if isinstance(levels, str) or not isinstance(levels, Sequence) or not levels:
        raise ValueError(
            f"levels is {shown(levels)}: give sizes or shapes, such as [8, (4, 7, 7)]."
        )
    shapes = tuple(check_shape("a level", n) for n in levels)
    for above, below in itertools.pairwise(((1,), *shapes)):
        if len(below) not in (1, 3) or len(below) < len(above):
            raise ValueError(
                f"levels is {shown(levels)}: vectors (d,) come first, then maps (C, H, W)."
            )
        if any(a > b for a, b in zip(above[1:], below[1:], strict=False)):
            raise ValueError(
                f"levels is {shown(levels)}: a map is at least as fine as those above."
            )
    return shapes


def check_states(latent_dim: int, state_dim: int) -> int:
    """Return how many states of a state space the latents are.

    Raises:
        ValueError: if a size is below 1, or the latents do not divide into states.
    """
    check_size("latent_dim", latent_dim)
    if latent_dim % check_size("state_dim", state_dim):
        raise ValueError(
            f"latent_dim is {latent_dim} and state_dim {state_dim}: the latents are those of all "
            "steps together, and must divide into states."
        )
    return latent_dim // state_dim


def is_whole(n: object) -> TypeGuard[int]:
    """Whether this is a whole number, of any type that is one."""
    return isinstance(n, Integral) and not isinstance(n, bool)


def is_real(n: object) -> TypeGuard[float]:
    """Whether this is a real number, of any type that is one."""
    return isinstance(n, Real) and not isinstance(n, bool)


def _is_size(n: object) -> TypeGuard[int]:
    return is_whole(n) and 1 <= n < 2**31
