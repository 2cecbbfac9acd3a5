"""Schemas of the values in a file, checked when it is read.

A schema is a type, a union of types, a set of possible values, a list ``[item]``, or a dictionary
of the schemas of entries. An entry whose name ends in ``?`` may be missing; ``*`` is the schema of
all other entries, which otherwise may be anything, since later versions may add some. The names of
entries are strings.
"""

import sys
import types
from typing import Any, get_args

from pvae.messages import brief, shown

Number = int | float


class Count:
    """A whole number from 0, as a schema."""


class Finite:
    """A number that is not infinite, as a schema."""


def check(value: Any, schema: Any, source: object, name: str = "") -> None:
    """Check a value against a schema.

    Args:
        value: the value that was read.
        schema: its schema.
        source: the file, for the error message.
        name: the name of the entry, for the error message.

    Raises:
        ValueError: if it does not match; the message names the file and the entry.

    Example:
        >>> from pvae.storage import schema
        >>> schema.check({"epochs": 3}, {"epochs": schema.Count, "stopped?": str}, "run.json")
    """
    if isinstance(schema, set):
        if not isinstance(value, str | None) or value not in schema:
            raise _damaged(value, " or ".join(sorted(map(str, schema))), source, name)
    elif isinstance(schema, list):
        _check_type(value, list, source, name)
        for item in value:
            check(item, schema[0], source, name)
    elif isinstance(schema, dict):
        _check_type(value, dict, source, name)
        missing = [e for e in schema if e != "*" and not e.endswith("?") and e not in value]
        if missing:
            where = f"{name} lacks" if name else "it lacks"
            raise ValueError(f"{source} is incomplete: {where} {', '.join(missing)}.")
        named = {entry.removesuffix("?"): inner for entry, inner in schema.items()}
        for entry, inner in value.items():
            _check_type(entry, str, source, f"a name in {name or 'it'}")
            if entry in named or "*" in named:
                where = f"{name}.{entry}" if name else str(entry)
                check(inner, named.get(entry, named.get("*")), source, where)
    else:
        _check_type(value, schema, source, name)


def _check_type(value: Any, kind: Any, source: object, name: str) -> None:
    kinds = get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if not any(_is_of(value, one) for one in kinds):
        wanted = _NAMES.get(kind) or " or ".join(_NAMES.get(k, k.__name__) for k in kinds)
        raise _damaged(value, wanted, source, name)


def _is_of(value: Any, kind: type) -> bool:
    if isinstance(value, bool):  # an int in Python, but not in a file
        return kind is bool
    if kind is Count:
        return isinstance(value, int) and 0 <= value < 2**63
    if kind is Finite:
        return isinstance(value, Number) and abs(value) <= sys.float_info.max
    return isinstance(value, kind)


def _damaged(value: Any, wanted: str, source: object, name: str) -> ValueError:
    return ValueError(
        f"{source} is damaged: {brief(name or 'it', 60)} is {shown(value)}, where {wanted} is "
        "expected."
    )


_NAMES = {
    dict: "values by name",
    list: "a list",
    int: "a whole number",
    Count: "a whole number from 0",
    float: "a number",
    Number: "a number",
    Finite: "a finite number",
    str: "a text",
    bool: "true or false",
    types.NoneType: "nothing",
}
