"""Equality of Python values, as far as programs can tell."""

import array
import enum
import types
import weakref
from collections import deque
from collections.abc import Sequence
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pvae.inference.state import slots

MOST_COMPARED = 300  # maximum number of nested values within one that was replaced

# Values that do not change in place: the same if they are equal.
ATOMS = (
    *(bool, int, float, complex, str, bytes, type(None), type(...), range, slice, enum.Enum),
    *(np.generic, np.dtype, Decimal, Fraction, PurePath, date, time, timedelta, tzinfo),
    *(torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size),
)


def equal(now: Any, before: Any, pairs: set[tuple[int, int]] | None = None) -> bool:
    """Whether two values are equivalent to a program."""
    pairs = set() if pairs is None else pairs
    if now is before or (id(now), id(before)) in pairs:
        return True
    if type(now) is not type(before) or len(pairs) > MOST_COMPARED:
        return False
    pairs.add((id(now), id(before)))

    def all_equal(*both: Sequence) -> bool:
        return len(both[0]) == len(both[1]) and all(
            equal(a, b, pairs) for a, b in zip(*both, strict=True)
        )

    if isinstance(now, ATOMS):
        same = bool(now == before) and str(now) == str(before)  # unlike 0.0 and -0.0
        return same or (now != now and before != before)
    if isinstance(now, np.ndarray):
        return now.dtype == before.dtype and np.array_equal(now, before, equal_nan=_real(now))
    if isinstance(now, dict):
        made = getattr(now, "default_factory", None), getattr(before, "default_factory", None)
        return (
            all_equal(list(now), list(before))
            and made[0] is made[1]
            and all_equal(list(now.values()), list(before.values()))
        )
    if isinstance(now, tuple | list | deque):
        return all_equal(now, before)
    if isinstance(now, set | frozenset | bytearray | array.array):
        return now == before
    if isinstance(now, types.MethodType):
        return now.__self__ is before.__self__ and equal(now.__func__, before.__func__, pairs)
    if isinstance(now, types.FunctionType):
        if now.__code__ is not before.__code__ or now.__globals__ is not before.__globals__:
            return False
        parts = [(f.__closure__ or (), f.__defaults__, f.__kwdefaults__) for f in (now, before)]
        return all_equal(*parts) and equal(vars(now), vars(before), pairs)
    if isinstance(now, types.CellType):
        try:
            return equal(now.cell_contents, before.cell_contents, pairs)
        except ValueError:  # not bound yet
            return False
    if isinstance(now, weakref.ref):
        return equal(now(), before(), pairs)
    if isinstance(now, partial):
        return all_equal(*((p.func, p.args, p.keywords) for p in (now, before)))
    if isinstance(now, Tensor | type | types.ModuleType) or not (
        hasattr(now, "__dict__") or slots(type(now))
    ):
        return False
    names = slots(type(now))
    return equal(getattr(now, "__dict__", None), getattr(before, "__dict__", None), pairs) and (
        all_equal(*([getattr(t, n, None) for n in names] for t in (now, before)))
    )


def _real(array: np.ndarray) -> bool:
    return array.dtype.kind in "fc"
