"""Snapshots of arrays, random generators, tables and context variables."""

import array
import contextvars
import operator
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from pvae.inference.equality import equal
from pvae.inference.state import ABSENT, Content


def of_array(values: np.ndarray | bytearray | array.array, owner: str) -> Content:
    """The numbers of an array."""
    copy = np.copy if isinstance(values, np.ndarray) else operator.itemgetter(slice(None))
    return Content(values, owner, copy, _put_array, equal)


def of_generator(generator: Any, owner: str) -> Content:
    """The state of a random generator of Python's or NumPy's."""
    owner = f"the random state of {owner}"
    if isinstance(generator, random.Random):  # has more numbers than `equal` compares
        return Content(generator, owner, _state_of, random.Random.setstate, operator.eq)
    put: Callable[[Any, Any], None] = _put_state
    if isinstance(generator, np.random.RandomState):
        put = type(generator).set_state
    return Content(generator, owner, _state_of, put, equal)


def of_table(table: Any, owner: str) -> Content:
    """The numbers of a table of pandas."""
    return Content(table, owner, np.array, _leave, equal)


def of_variable(variable: contextvars.ContextVar, owner: str) -> Content:
    """The value of a context variable."""
    return Content(variable, owner, _value_of, _set_value, operator.is_)


def _state_of(generator: Any) -> Any:
    if isinstance(generator, random.Random):
        return generator.getstate()
    if isinstance(generator, np.random.RandomState):
        return generator.get_state(legacy=False)
    return generator.bit_generator.state


def _put_state(generator: np.random.Generator, state: Any) -> None:
    generator.bit_generator.state = state


def _put_array(values: Any, copy: Any) -> None:
    values[... if isinstance(values, np.ndarray) else slice(None)] = copy


def _leave(thing: Any, copy: Any) -> None:
    """Tables are not restored: programs do not write to them."""


def _value_of(variable: contextvars.ContextVar) -> Any:
    try:
        return variable.get()  # or its default, which an unset variable is restored to
    except LookupError:
        return ABSENT


def _set_value(variable: contextvars.ContextVar, value: Any) -> None:
    if value is not ABSENT:
        variable.set(value)
