"""What a traced program took for constant, and whether it still is."""

import types
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

import torch
from torch import Tensor, nn

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_INTERNAL = set(vars(nn.Module())) - {"training"}


class Watch:
    """Names that must go on meaning what they meant.

    A graph holds Python's numbers as constants, and tensors by identity: a number that is changed,
    or a name that is given another tensor or module, makes it the graph of another program.

    Attributes:
        entries: namespaces, names in them, and what these meant.
        tensors: tensors and the memory they lay in.
        versions: tensors whose values must stay, and their versions.
    """

    def __init__(self) -> None:
        self.entries: list[tuple[MutableMapping[str, Any], str, Any, str]] = []
        self.tensors: list[tuple[Tensor, int, torch.dtype]] = []
        self.versions: list[tuple[Tensor, int]] = []

    def add(self, namespace: MutableMapping[str, Any], names: Iterable[str], owner: str) -> None:
        """Watch names, of which it matters what they mean."""
        for name in names:
            value = namespace.get(name)
            if isinstance(value, (*_PLAIN, Tensor, nn.Module)):
                self.entries.append((namespace, name, value, owner))

    def add_object(self, thing: object) -> None:
        """Watch the attributes of an object, such as a loss or a module."""
        owner = type(thing).__name__
        if isinstance(thing, nn.Module):
            for namespace in (thing._parameters, thing._buffers, thing._modules):
                self.add(namespace, list(namespace), owner)
        names = getattr(thing, "__dict__", {})
        self.add(names, [n for n in names if n not in _INTERNAL], owner)

    def add_function(self, function: Callable) -> None:
        """Watch what a function closes over, and the globals that it names."""
        code = getattr(function, "__code__", None)
        if not isinstance(code, types.CodeType):
            return
        owner = getattr(function, "__qualname__", "the program")
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self.add(_Cell(cell), [name], owner)
        self.add(function.__globals__, [n for n in code.co_names if n != "__name__"], owner)

    def add_tensor(self, tensor: Tensor) -> None:
        """Watch where a tensor lies."""
        self.tensors.append((tensor, tensor.data_ptr(), tensor.dtype))

    def changed(self) -> str | None:
        """Say what is not as it was, or nothing."""
        for namespace, name, value, owner in self.entries:
            now = namespace.get(name)
            if now is not value and not _equal(now, value):
                return f"{name} of {owner}"
        for tensor, place, dtype in self.tensors:
            if tensor.data_ptr() != place or tensor.dtype != dtype:
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
        return told


def _equal(now: Any, value: Any) -> bool:
    return type(now) is type(value) and isinstance(now, _PLAIN) and now == value


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
