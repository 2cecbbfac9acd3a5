"""The trust list of modules that a configuration may import: pvae, torch, pyro, and the user's.

A configuration names classes, and importing a class runs its module. The names in a run folder or
a YAML file are not trusted, so each is looked up in a list before anything is imported.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

PACKAGES = ("pvae", "torch", "pyro")
"""Packages that are always trusted, except names that begin with an underscore."""

_PLAIN = {"data", "labels", "root", "key", "run", "resume", "device", "binarization"}
_PLAIN |= {"study", "baseline", "cluster"}
_trusted: ContextVar[tuple[str, ...]] = ContextVar("trusted", default=())


@contextmanager
def trusting(names: str | Iterable[str] | None) -> Iterator[None]:
    """Trust more modules or classes while entered.

    Args:
        names: import paths; a module includes everything in it.

    Raises:
        TypeError: if they are not strings.
        ValueError: if one is not an import path.

    Example:
        >>> from pvae.storage import trust
        >>> with trust.trusting("my_module"):
        ...     trust.allows("my_module.MyNetwork"), trust.allows("os.system")
        (True, False)
    """
    names = (names,) if isinstance(names, str) else tuple(names or ())
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"trust holds {name!r}: it must be names of modules, as strings.")
        if not _is_path(name):
            raise ValueError(f"trust holds {name!r}, which is not the name of a module.")
    token = _trusted.set((*_trusted.get(), *names))
    try:
        yield
    finally:
        _trusted.reset(token)


def allows(path: str) -> bool:
    """Whether an import path is trusted."""
    if not _is_path(path):
        return False
    if any(path == name or path.startswith(f"{name}.") for name in _trusted.get()):
        return True
    top, *rest = path.split(".")
    return top in PACKAGES and not any(name.startswith("_") for name in rest)


def check(name: str, path: str) -> None:
    """Raise if an import path is not trusted.

    Args:
        name: the argument that it is for, for the error message.
        path: the import path, such as ``my_module.MyNetwork``.

    Raises:
        ValueError: if it is not; the message says how to trust it.
    """
    if not allows(path):
        module = path.rpartition(".")[0] or path
        raise ValueError(
            f"The {name} {path[:80]} is code from outside of pvae, torch and pyro, which runs "
            f"only if you trust it: give --trust {module[:60]}, in Python "
            f"trust=[{module[:60]!r}]."
        )


def check_configuration(config: Mapping[str, Any]) -> None:
    """Check every import path in a configuration before the command line imports any.

    Raises:
        ValueError: if one is not trusted, if a part is another file, or if the configuration sets
            what to trust.
    """
    for name, value in config.items():
        if name in ("config", "trust") and value is not None:
            raise ValueError(f"A configuration cannot set {name}: give it on the command line.")
        of_study = name == "vary" and isinstance(value, Mapping)
        for argument, inner in _varied(value) if of_study else [(name, value)]:
            if argument not in _PLAIN:
                _check_all(str(argument), inner)


def outside(config: Mapping[str, Any]) -> list[str]:
    """The modules of a configuration's parts, other than pvae, torch and pyro."""
    paths = {path for name, value in config.items() for path in _paths(value) if name not in _PLAIN}
    modules = {path.rpartition(".")[0] for path in paths if "." in path}
    return sorted(m for m in modules if m.partition(".")[0] not in PACKAGES)


def _varied(vary: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Arguments and their values in what varies in a study, as `pvae.studies.cells` reads it."""
    for key, values in vary.items():
        names = [name.strip() for name in str(key).split(",")]
        each = [*values.values()] if isinstance(values, Mapping) else values
        for value in each if isinstance(each, list | tuple) else [each]:
            if key == "variants" and isinstance(value, Mapping):
                yield from value.items()
            elif isinstance(value, list | tuple) and len(value) == len(names):
                yield from zip(names, value, strict=True)
            else:
                yield str(key), value


def _check_all(name: str, value: Any) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            plain = key in ("class_path", "init_args")
            _check_all(name if plain else f"{name}.{key}", inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_all(name, inner)
    elif isinstance(value, str):
        if _is_path(value) and "." in value:
            check(name, value)
        elif os.path.exists(value):  # the command line would read it as a configuration of its own
            raise ValueError(f"The {name} {value[:80]} is a file: a part is named by its class.")


def _paths(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("class_path"), str):
            yield value["class_path"]
        for inner in value.values():
            yield from _paths(inner)


def _is_path(path: str) -> bool:
    return all(part.isidentifier() for part in path.split("."))
