"""Scalars that a program computes from varying numbers, and guards on decisions by them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch.utils import _pytree as pytree

# Functions whose results are not the same at every call.
_RANDOM = re.compile(r"rand|bernoulli|normal|multinomial|poisson|dropout|exponential|geometric")


@dataclass(frozen=True)
class Scalar:
    """A number as a function of others, recomputed when they change.

    Args:
        function: from numbers to a number.
        args: scalars and constants that it is given.
        kwargs: more of them, by name.
    """

    function: Callable
    args: tuple = ()
    kwargs: Any = None

    def value(self) -> Any:
        """The number now."""
        args, kwargs = pytree.tree_map_only(Scalar, Scalar.value, (self.args, self.kwargs or {}))
        return self.function(*args, **kwargs)


@dataclass(frozen=True)
class Guard:
    """A decision that a graph assumes.

    Args:
        scalar: what is decided by.
        answer: whether it is taken to be true.
        raises: whether the program raises an error where it is not.
    """

    scalar: Scalar
    answer: bool
    raises: bool = False

    def holds(self) -> bool:
        """Whether it would be decided so now."""
        return bool(self.scalar.value()) is self.answer


def is_random(function: Callable) -> bool:
    """Whether a function of torch draws random numbers."""
    return _RANDOM.search(getattr(function, "__name__", "")) is not None
