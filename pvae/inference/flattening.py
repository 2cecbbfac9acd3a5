"""Flattening and unflattening of nested values, such as batches and settings."""

import types
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from pvae.inference.equality import ATOMS
from pvae.inference.executed import is_library
from pvae.inference.state import slots

MOST_LEAVES = 300
LEAF = None  # the structure of a single value


def flatten(value: Any) -> tuple[list, Any]:
    """Flatten lists, tuples, dictionaries and plain objects to values and a structure."""
    leaves: list = []
    structure = _flatten(value, leaves, ())
    return (leaves, structure) if len(leaves) <= MOST_LEAVES else ([value], LEAF)


def unflatten(structure: Any, leaves: Sequence) -> Any:
    """Rebuild a value from a structure and its leaves."""
    return _unflatten(structure, iter(leaves))


def _flatten(value: Any, leaves: list, around: tuple[int, ...]) -> Any:
    kind = type(value)
    keys: tuple = ()
    if id(value) in around or len(leaves) > MOST_LEAVES:  # recursive, or too large
        inner = None
    elif kind in (list, tuple) or (issubclass(kind, tuple) and hasattr(kind, "_fields")):
        inner = list(value)
    elif kind in (dict, OrderedDict):
        keys, inner = tuple(value), list(value.values())
    elif _is_plain(value):
        found = {**getattr(value, "__dict__", {})}
        found |= {n: getattr(value, n) for n in slots(kind) if hasattr(value, n)}
        keys, inner = tuple(found), list(found.values())
    else:
        inner = None
    if inner is None or not all(isinstance(key, ATOMS) for key in keys):
        leaves.append(value)
        return LEAF
    return kind, keys, tuple(_flatten(v, leaves, (*around, id(value))) for v in inner)


def _is_plain(value: Any) -> bool:
    """Whether a value is an object of a user's class with attributes only."""
    kind = type(value)
    if kind in (Namespace, types.SimpleNamespace):
        return True
    others = (*ATOMS, Tensor, nn.Module, np.ndarray, type, list, dict, tuple, set, frozenset)
    return (
        all(base is object or not is_library(base.__module__) for base in kind.__mro__)
        and not isinstance(value, others)
        and not callable(value)
        and (hasattr(value, "__dict__") or bool(slots(kind)))
    )


def _unflatten(structure: Any, leaves: Any) -> Any:
    if structure is LEAF:
        return next(leaves)
    kind, keys, inner = structure
    values = [_unflatten(one, leaves) for one in inner]
    if kind in (list, tuple):
        return kind(values)
    if issubclass(kind, tuple):
        return kind._make(values)
    if issubclass(kind, dict):
        return kind(zip(keys, values, strict=True))
    made = object.__new__(kind)
    for key, value in zip(keys, values, strict=True):
        object.__setattr__(made, key, value)
    return made
