"""The elements of what is independent element by element."""

from typing import Any, TypeVar

from pyro.distributions import Independent
from torch.distributions import Distribution
from torch.distributions.constraints import independent

P = TypeVar("P", bound=Distribution)


def elements(p: P) -> P:
    """The distribution of the elements of a product of independent ones; others as they are."""
    while isinstance(p, Independent):
        p = p.base_dist
    return p


def element_support(support: Any) -> Any:
    """The constraint on each element of a support; other supports as they are."""
    while isinstance(support, independent):
        support = support.base_constraint
    return support
