"""What a traced program took for constant, and whether it still is."""

import functools
import sysconfig
import types
from collections.abc import Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor, nn

PLAIN = (bool, int, float, complex, str, bytes, type(None))
_CALLED = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, functools.partial)
_INTERNAL = set(vars(nn.Module())) - {"training"}
_DEEPEST = 4  # objects in objects, of which more are hardly a program's own settings
_LIBRARIES = tuple(
    str(path)
    for path in (
        Path(torch.__file__).parent,
        Path(pyro.__file__).parent,
        sysconfig.get_path("stdlib"),
    )
)


class Watch:
    """Names that must go on meaning what they meant.

    A graph holds Python's numbers as constants, and tensors by identity: a number that is changed,
    or a name that is given another tensor, module or function, makes it the graph of another
    program. Attributes, closures and globals are followed into containers, objects and functions
    of the user's own.

    Attributes:
        entries: namespaces, names in them, and what these meant.
        containers: lists and dictionaries, and copies of them.
        tensors: tensors, and how they lay in memory.
        versions: tensors whose values must stay, and their versions.
    """

    def __init__(self) -> None:
        self.entries: list[tuple[MutableMapping[str, Any], str, Any, str]] = []
        self.containers: list[tuple[list | dict, list | dict, str]] = []
        self.tensors: list[tuple[Tensor, tuple]] = []
        self.versions: list[tuple[Tensor, int]] = []
        self._seen: dict[int, object] = {}

    def add(
        self, namespace: MutableMapping[str, Any], names: Iterable[str], owner: str, depth: int = 0
    ) -> None:
        """Watch names, of which it matters what they mean."""
        for name in names:
            value = namespace.get(name)
            if isinstance(value, (*PLAIN, Tensor, nn.Module, *_CALLED)):
                self.entries.append((namespace, name, value, owner))
            self.follow(value, f"{name} of {owner}", depth + 1)

    def follow(self, value: object, owner: str, depth: int = 0) -> None:
        """Watch what is in a container, an object or a function, of the user's own."""
        if isinstance(value, (*PLAIN, Tensor, type, types.ModuleType)) or id(value) in self._seen:
            return
        self._seen[id(value)] = value
        if depth > _DEEPEST:
            return
        if isinstance(value, list | dict):
            self.containers.append((value, value.copy(), owner))
            for one in value.values() if isinstance(value, dict) else value:
                self.follow(one, owner, depth + 1)
        elif isinstance(value, tuple | set | frozenset):
            for one in value:
                self.follow(one, owner, depth + 1)
        elif isinstance(value, functools.partial):
            for one in (value.func, *value.args, *value.keywords.values()):
                self.follow(one, owner, depth + 1)
        elif isinstance(value, types.MethodType):
            self.follow(value.__self__, owner, depth + 1)
            self.follow(value.__func__, owner, depth + 1)
        elif isinstance(value, types.FunctionType):
            self._add_function(value, depth)
        else:
            self._add_object(value, depth)

    def _add_object(self, thing: object, depth: int) -> None:
        owner = type(thing).__name__
        if isinstance(thing, nn.Module):
            for namespace in (thing._parameters, thing._buffers, thing._modules):
                self.add(namespace, list(namespace), owner, depth)
        names = getattr(thing, "__dict__", {})
        self.add(names, [n for n in names if n not in _INTERNAL], owner, depth)
        classes = [c for c in type(thing).__mro__ if not _in_library(c)]
        shadowed = {n for c in classes for n, v in vars(c).items() if isinstance(v, PLAIN)}
        own = [n for n in shadowed - names.keys() if not n.startswith("__")]
        self.add(_Attributes(thing), own, owner, depth)
        for c in classes:
            for function in (vars(c).get("forward"), vars(c).get("__call__")):
                if isinstance(function, types.FunctionType):
                    self.follow(function, owner, depth + 1)

    def _add_function(self, function: Callable, depth: int) -> None:
        code = function.__code__
        if code.co_filename.startswith(_LIBRARIES):
            return
        owner = getattr(function, "__qualname__", "the program")
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self.add(_Cell(cell), [name], owner, depth)
        used = [n for n in _names(code) if n in function.__globals__ and n != "__name__"]
        self.add(function.__globals__, used, owner, depth)

    def add_tensor(self, tensor: Tensor) -> None:
        """Watch where a tensor lies, and whether it is learned."""
        self.tensors.append((tensor, _layout(tensor)))

    def changed(self) -> str | None:
        """Say what is not as it was, or nothing."""
        for namespace, name, value, owner in self.entries:
            now = namespace.get(name)
            if now is not value and not _equal(now, value):
                return f"{name} of {owner}"
        for container, before, owner in self.containers:
            if not _same(container, before):
                return owner
        for tensor, layout in self.tensors:
            if _layout(tensor) != layout:
                return "the memory of a parameter"
        for tensor, version in self.versions:
            if tensor._version != version:
                return "a tensor whose value Python reads"
        return None

    def settle(self, read: Iterable[Tensor]) -> str | None:
        """Put names back after a run, and say which of them the run gave another meaning.

        A tensor that a run keeps under a name, and has not read before, is a cache: it is put back,
        and not watched from then on.

        Args:
            read: the tensors that the run has read.
        """
        seen = {id(tensor) for tensor in read}
        told, kept = None, []
        for entry in self.entries:
            namespace, name, value, owner = entry
            now = namespace.get(name)
            if now is value or _equal(now, value):
                kept.append(entry)
                continue
            namespace[name] = value
            if not torch.is_tensor(value) or id(value) in seen:
                told = f"{name} of {owner}"
        self.entries = kept
        for container, before, owner in self.containers:
            if not _same(container, before):
                container.clear()
                container.update(before) if isinstance(container, dict) else container.extend(
                    before
                )
                told = owner
        return told


def _names(code: types.CodeType) -> set[str]:
    """The names that code uses, with those of the functions and expressions inside it."""
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _in_library(cls: type) -> bool:
    return cls.__module__.split(".")[0] in ("torch", "pyro", "builtins", "abc")


def _layout(tensor: Tensor) -> tuple:
    return (
        tensor.data_ptr(),
        tensor.dtype,
        tensor.requires_grad,
        tensor.shape,
        tensor.stride(),
        bool(tensor._backward_hooks),
    )


def _same(now: list | dict, before: list | dict) -> bool:
    if len(now) != len(before):
        return False
    pairs = (
        ((now.get(key), value) for key, value in before.items())
        if isinstance(before, dict)
        else zip(now, before, strict=True)
    )
    return all(a is b or _equal(a, b) for a, b in pairs)


def _equal(now: Any, value: Any) -> bool:
    if isinstance(now, types.MethodType):  # made anew whenever it is asked for
        return now == value
    return type(now) is type(value) and isinstance(now, PLAIN) and now == value


class _Attributes:
    """The namespace of the attributes that an object has from its class."""

    def __init__(self, thing: object) -> None:
        self.thing = thing

    def get(self, name: str) -> Any:
        return getattr(self.thing, name, None)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self.thing, name, value)


class _Cell:
    """The namespace of one closed-over name."""

    def __init__(self, cell: types.CellType) -> None:
        self.cell = cell

    def get(self, name: str) -> Any:
        try:
            return self.cell.cell_contents
        except ValueError:  # not bound yet
            return None

    def __setitem__(self, name: str, value: Any) -> None:
        self.cell.cell_contents = value
