"""Conversion of factories of parts to and from configurations.

A factory is a class, or a `functools.partial` of one. In a configuration it is its import path and
its arguments, the form that the command line reads and prints::

    prior:
      class_path: pvae.priors.StandardNormal
      init_args: {}
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pyro.infer import ELBO
from torch import nn

from pvae.messages import brief
from pvae.storage import trust

# Pyro infers it from the programs and overwrites the argument; and its old name.
FOUND_OUT = {"max_plate_nesting", "max_iarange_nesting"}


def describe(name: str, factory: Callable[..., Any]) -> dict[str, Any]:
    """Describe a factory by its import path and arguments.

    Args:
        name: what it makes, for the error message.
        factory: a class, or a `functools.partial` of one with keyword arguments.

    Raises:
        ValueError: if it cannot be imported by its path, or an argument cannot be written as YAML.

    Example:
        >>> from functools import partial
        >>> from pvae.factories import describe
        >>> from pvae.networks import MLP
        >>> describe("network", partial(MLP, hidden=[500]))
        {'class_path': 'pvae.networks.MLP', 'init_args': {'hidden': [500]}}
    """
    cls, arguments = factory, {}
    if isinstance(factory, partial) and not factory.args:
        cls, arguments = factory.func, factory.keywords
    if not isinstance(cls, type) or "." in cls.__qualname__ or cls.__module__ == "__main__":
        raise ValueError(
            f"The {name} {factory!r} cannot be written down: a run folder needs an importable "
            "class, or a functools.partial of one with keyword arguments."
        )
    return {
        "class_path": _public_path(cls),
        "init_args": {k: _plain(f"{name}.{k}", v) for k, v in arguments.items()},
    }


def describe_instance(name: str, instance: object) -> dict[str, Any]:
    """Describe an object that keeps its constructor arguments as attributes.

    Args:
        name: what it is, for the error message.
        instance: such as a Pyro ELBO.

    Raises:
        ValueError: if its class cannot be imported, or an argument is not kept or
            cannot be written as YAML.

    Example:
        >>> from pvae.factories import describe_instance
        >>> from pvae.objectives import BetaELBO
        >>> describe_instance("objective", BetaELBO(beta=4.0))["init_args"]["beta"]
        4.0
    """
    cls = type(instance)
    arguments: dict[str, Any] = {}
    for base in cls.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(base).parameters.values()
            named = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
            unknown = [p.name for p in named if not hasattr(instance, p.name)]
            if set(unknown) - FOUND_OUT:
                raise ValueError(
                    f"The {name} {cls.__name__} cannot be written down: it does not keep "
                    f"{', '.join(unknown)} as an attribute of that name."
                )
            arguments = {
                p.name: getattr(instance, p.name)
                for p in named
                if p.name not in (*unknown, *FOUND_OUT)
            } | arguments
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break  # it passes no further arguments to its bases
    return describe(name, partial(cls, **arguments))


def restore(name: str, description: Any, *bases: type) -> partial:
    """Make a factory from the description that `describe` returned.

    Importing the module of the class runs it, so only `pvae.storage.trust.PACKAGES` and other
    trusted modules are imported. An argument that is itself a description must be of a torch
    module, or for an objective also of another objective.

    Args:
        name: what it makes, for the error message.
        description: ``class_path`` and, if there are any, ``init_args``.
        bases: the classes of which it must derive from one.

    Raises:
        ValueError: if the path is not trusted, cannot be imported, or is not such a
            class.
    """
    if description is None:
        raise ValueError(
            f"The {name} of this run was made by code that a configuration cannot name: continue "
            "it from Python, where it was started."
        )
    path = description.get("class_path") if isinstance(description, Mapping) else None
    if not isinstance(path, str) or "." not in path:
        raise ValueError(
            f"The {name} {brief(repr(description), 60)} has no class_path such as "
            "my_module.MyClass."
        )
    trust.check(name, path)
    module, _, qualname = path.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), qualname)
    except (ImportError, AttributeError) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]
        where = (
            f"; go to the folder that holds {module}, or put it on PYTHONPATH" if missing else ""
        )
        raise ValueError(f"The {name} {path} cannot be imported: {brief(error)}{where}.") from error
    # A configuration names parts; it must not be able to call arbitrary code.
    if not isinstance(cls, type) or not issubclass(cls, bases):
        names = " or ".join(each.__name__ for each in bases)
        raise ValueError(f"The {name} {path} is not a class derived from {names}.")
    arguments = description.get("init_args") or {}
    if not isinstance(arguments, Mapping):
        raise ValueError(f"The init_args of the {name} {path} are not arguments by name.")
    return partial(
        cls,
        **{
            k: _restore_nested(f"{name}.{k}", v, bases) if _is_description(v) else v
            for k, v in arguments.items()
        },
    )


def _restore_nested(name: str, description: Mapping[str, Any], bases: tuple[type, ...]) -> Any:
    """An argument of a part: a factory of a module, or the objective that another one wraps."""
    if ELBO not in bases:
        return restore(name, description, nn.Module)
    made = restore(name, description, ELBO, nn.Module)
    wrapped = isinstance(made.func, type) and issubclass(made.func, ELBO)
    return made() if wrapped else made


def _is_description(value: Any) -> bool:
    return isinstance(value, Mapping) and "class_path" in value


def _public_path(cls: type) -> str:
    """The shortest path by which a class can be imported, as in torch.optim.Adam."""
    module = cls.__module__
    while "." in module:
        parent = module.rpartition(".")[0]
        if getattr(importlib.import_module(parent), cls.__qualname__, None) is not cls:
            break
        module = parent
    return f"{module}.{cls.__qualname__}"


def _plain(name: str, value: Any) -> Any:
    """Convert a value to one that YAML can represent."""
    if hasattr(value, "item"):  # a number of NumPy or torch
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(name, v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): _plain(name, v) for k, v in value.items()}
    if isinstance(value, ELBO):
        return describe_instance(name, value)
    return describe(name, value)
