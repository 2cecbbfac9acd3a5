"""The arguments of a run in a study: those of `pvae train`, in the form of a configuration."""

import difflib
import inspect
import math
import pydoc
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pyro.infer import ELBO

from pvae import factories
from pvae.annotations import KINDS
from pvae.builder import build
from pvae.data.loading import load
from pvae.messages import choices, shown
from pvae.training.fit import fit

# They belong to each run, which the study gives its own.
RESERVED = {"run", "resume", "progress", "pause", "seed", "vae", "classes", "label_dim"}
# Parts that `fit` makes, and what it gives them.
GIVEN = {"objective": "", "optimizer": "params", "scheduler": "optimizer"}
_ANY = inspect.Parameter.VAR_KEYWORD
FIRST = {"data": "digits", "latent_dim": 10, "objective": "Trace_ELBO"}


@cache
def _parameters() -> dict[str, Any]:
    """The arguments of a run and their defaults in Python."""
    found: dict[str, Any] = {}
    for function in (load, build, fit):
        for name, parameter in inspect.signature(function).parameters.items():
            if name not in RESERVED:
                found.setdefault(name, parameter.default)
    return found | FIRST


@cache
def defaults() -> dict[str, Any]:
    """Every argument of a run with its default, as `pvae train` has it."""
    return {name: described(name, value) for name, value in _parameters().items()}


def described(name: str, value: Any) -> Any:
    """The value of an argument in the form of a configuration.

    Args:
        name: the argument.
        value: for a part its name, a class, a `functools.partial` of one, an objective, or a
            mapping of ``class_path`` and ``init_args``; for other arguments a plain value.

    Raises:
        ValueError: if it is no argument of a run, or the value cannot be written down.
    """
    check_name(name)
    if name in KINDS and value is not None:
        return _part(name, value)
    if name in KINDS and _parameters()[name] is not None:
        raise ValueError(f"{name} is None: each run needs one, so leave it out for the default.")
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [described(name, each) for each in value]
    if hasattr(value, "item") and not isinstance(value, str) and getattr(value, "ndim", 1) == 0:
        value = value.item()  # a number of NumPy or torch
    plain = value is None or isinstance(value, bool | int | float | str)
    if not plain or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(
            f"{name} is {shown(value)}: a study needs what a file can hold, a finite number, a "
            "name, a list, or for data a path."
        )
    return value


def essence(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration says beyond defaults, those of parts included.

    Two configurations with the same essence make the same runs: one from the command line, which
    writes defaults down, and one from Python; or one from before an argument was added.
    """
    usual = _essential_defaults()
    found = {name: _essence(value) for name, value in config.items()}
    return {k: v for k, v in found.items() if k not in usual or v != usual[k]}


@cache
def _essential_defaults() -> dict[str, Any]:
    return {name: _essence(value) for name, value in defaults().items()}


def _essence(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_essence(each) for each in value]
    if not isinstance(value, Mapping) or "class_path" not in value:
        return value
    path = value["class_path"]
    usual = {p.name: _essence(p.default) for p in _arguments(path)}
    given = {name: _essence(each) for name, each in (value.get("init_args") or {}).items()}
    beyond = {k: v for k, v in given.items() if k not in usual or v != usual[k]}
    return {"class_path": path, "init_args": beyond}


@cache
def _arguments(path: str) -> tuple[inspect.Parameter, ...]:
    """The arguments of a class, none if it is of a package that is not imported here."""
    known = path.partition(".")[0] in ("pvae", "torch", "pyro")
    cls = pydoc.locate(path) if known else None
    return tuple(inspect.signature(cls).parameters.values()) if callable(cls) else ()


def changed(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with changes, of which those of a part's argument are within that part."""
    found = {**base, **{name: value for name, value in changes.items() if "." not in name}}
    for path in [path for path in changes if "." in path]:
        name, _, argument = path.partition(".")
        part = found[name] or {}
        given = {**(part.get("init_args") or {}), argument: changes[path]}
        found[name] = {**part, "init_args": given}
    return found


def check_arguments(config: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    """Raise if parts lack arguments that are given, as far as their classes are known here.

    Raises:
        ValueError: with the nearest one.
    """
    given = [path.partition(".")[::2] for path in changes if "." in path]
    parts = {name: value for name, value in changes.items() if isinstance(value, Mapping)}
    given += [(name, each) for name, part in parts.items() for each in part["init_args"]]
    for name, argument in given:
        path = config[name].get("class_path")
        if path is None:
            raise ValueError(f"There is no {name} whose {argument} could be set: give one.")
        known = {p.name for p in _arguments(path)}
        if known and argument not in known and not any(p.kind is _ANY for p in _arguments(path)):
            raise ValueError(
                f"The {name} {path.rpartition('.')[2]} has no argument {shown(argument)}: "
                f"{choices(argument, sorted(known))}"
            )


def check_complete(config: Mapping[str, Any]) -> None:
    """Raise if a part that `fit` makes lacks an argument without a default.

    Raises:
        ValueError: with the argument.
    """
    for name, made_of in GIVEN.items():
        path = (config[name] or {}).get("class_path", "")
        for p in _arguments(path):
            needed = p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
            if needed and p.name not in (made_of, *(config[name].get("init_args") or {})):
                raise ValueError(
                    f"The {name} {path.rpartition('.')[2]} needs {p.name} as well: give it with "
                    "class_path and init_args."
                )


def check_name(name: str) -> None:
    """Raise if there is no such argument of a run, or no such part of which one is meant.

    Raises:
        ValueError: with the nearest one.
    """
    known = _parameters()
    part, dot, argument = str(name).partition(".")
    if dot and part in KINDS and argument.isidentifier():
        return
    if name == "seed":
        raise ValueError("seed is not varied by itself: give the number of seeds, seeds=3.")
    if name not in known:
        hint = choices(str(name), sorted(known))
        raise ValueError(f"{shown(name)} is no argument of a run: {hint}")


def _part(name: str, value: Any) -> dict[str, Any]:
    kind = KINDS[name]
    if isinstance(value, str):
        value = {"class_path": value}
    if isinstance(value, ELBO):
        return factories.describe_instance(name, value)
    if callable(value):
        return factories.describe(name, value)
    if not isinstance(value, Mapping) or not isinstance(value.get("class_path"), str):
        raise ValueError(
            f"The {name} is {shown(value)}: give a name, a class, a functools.partial of one, or "
            "class_path and init_args."
        )
    extra = set(value) - {"class_path", "init_args"}
    if extra:
        raise ValueError(
            f"The {name} has an entry {shown(min(map(str, extra)))}: its arguments are entries of "
            "init_args."
        )
    path, arguments = value["class_path"], dict(value.get("init_args") or {})
    if "." not in path:
        known = {c.__name__: c for c in kind.__subclasses__()}
        if path not in known:
            near = difflib.get_close_matches(path, known, 1, 0.4)
            hint = f": did you mean {near[0]}?" if near else ": give its import path."
            raise ValueError(f"There is no {name} {shown(path)}{hint}")
        path = factories.describe(name, known[path])["class_path"]
    return {"class_path": path, "init_args": arguments}


def label(value: Any) -> str:
    """A short name of a value, for tables: a part by its class and arguments."""
    if isinstance(value, Mapping) and "class_path" in value:
        given = value.get("init_args") or {}
        inner = ", ".join(f"{k}={label(v)}" for k, v in given.items())
        return value["class_path"].rpartition(".")[2] + (f"({inner})" if inner else "")
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={label(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(label, value)) + "]"
    return "none" if value is None else str(value)
