"""Tensor inputs of a graph in place of Python values that change from step to step."""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pvae.inference.equality import ATOMS, equal
from pvae.inference.flattening import flatten, unflatten
from pvae.inference.guards import Watch
from pvae.inference.rollback import is_plain
from pvae.inference.scalars import Scalar
from pvae.inference.state import Change, Elements, Place

_NUMBERS = (float, int, np.float64, np.float32, np.int64)


class Spot(NamedTuple):
    """The location of a value that changes from step to step.

    Attributes:
        holder: the object that holds it; ``None`` for the arguments.
        kind: the kind of place that the holder is.
        key: by what name.
    """

    holder: Any
    kind: type[Place]
    key: Any

    def __hash__(self) -> int:
        return hash((id(self.holder), self.kind, self.key))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spot) and self.holder is other.holder and self[1:] == other[1:]


class StandIn:
    """Tensors that are inputs of a graph, in place of numbers, arrays or tensors of a value.

    The rest of the value must stay equal, but the whole may be another object at each step.

    Args:
        place: what holds the value.
        key: by what name.
        which: which parts of the value the tensors stand for.
        tensors: tensors that the value is computed with; it takes their precision and device.

    Attributes:
        tensors: the tensors, by part.
        scalars: for the tensors of single numbers, the numbers themselves.
    """

    def __init__(
        self, place: Place, key: Any, which: Collection[int], tensors: Iterable[Tensor]
    ) -> None:
        self.place = place
        self.key = key
        self.original = place.get(key)  # the watch follows what is inside
        self._parts, self._structure = flatten(self.original)
        self.tensors: dict[int, Tensor] = {}
        self.scalars: list[tuple[Tensor, Scalar]] = []
        self._numbers: dict[int, Tensor] = {}  # on the host, in double precision
        for i in which:
            value = self._parts[i]
            if isinstance(value, _NUMBERS):
                self.tensors[i] = _number(value, tensors)
                self._numbers[i] = torch.tensor(float(value), dtype=torch.float64)
                self.scalars.append((self.tensors[i], Scalar(self._numbers[i].clone)))
            else:
                self.tensors[i] = _as_tensor(value).detach().clone()

    def value(self) -> Any:
        """The value as it is now."""
        return self.place.get(self.key)

    def with_tensors(self) -> Any:
        """The value with the tensors in it."""
        parts = [self.tensors.get(i, part) for i, part in enumerate(self._parts)]
        return unflatten(self._structure, parts)

    def take(self, watch: Watch) -> bool:
        """Take over the value that is there now, if it has the same structure."""
        value = self.value()
        parts, structure = flatten(value)
        if structure != self._structure or not all(map(self._fits, range(len(parts)), parts)):
            watch.accept(self.place, self.key, self.original)
            return False
        for i, tensor in self.tensors.items():
            if i in self._numbers:
                tensor.fill_(parts[i])
                self._numbers[i].fill_(parts[i])
            else:
                tensor.copy_(_as_tensor(parts[i]))
        watch.accept(self.place, self.key, value)
        return True

    def _fits(self, i: int, part: Any) -> bool:
        before = self._parts[i]
        if i not in self.tensors or part is before:
            return _alike(part, before)
        if type(part) is not type(before) or not replaceable(part):
            return False
        return i in self._numbers or _kind(_as_tensor(part)) == _kind(self.tensors[i])


def varying_spots(
    last: Any, leaves: list, changes: Iterable[Change]
) -> tuple[dict[Spot, frozenset[int]], dict[Spot, Any]] | None:
    """Where values change, with the parts that do, and the values; ``None`` if tensors cannot.

    Args:
        last: the last `pvae.inference.program.Program` of the same kind, if there is one.
        leaves: the arguments, flattened.
        changes: what has changed since that was made.
    """
    if last is None:  # arrays and tensors within the arguments are data, which change
        values = {Spot(None, Elements, i): x for i, x in enumerate(leaves)}
        parts = {s: data_parts(x) for s, x in values.items() if not torch.is_tensor(x)}
        return {spot: which for spot, which in parts.items() if which}, values
    places = {last.spot(one.place, one.key): frozenset(one.tensors) for one in last.varying}
    values = {last.spot(one.place, one.key): one.value() for one in last.varying}
    for change in changes:
        which = varying_parts(change.before, change.now)
        if not which:
            return None
        spot = last.spot(change.place, change.key)
        places[spot] = places.get(spot, frozenset()) | which
        values[spot] = change.now
    return places, values


def varying_parts(before: Any, now: Any) -> frozenset[int] | None:
    """The parts of a value that tensors can stand in for where it changed.

    ``None`` if anything else has changed.
    """
    (old, structure), (new, other) = map(flatten, (before, now))
    if structure != other:
        return None
    changed = [i for i, (a, b) in enumerate(zip(old, new, strict=True)) if not _alike(a, b)]
    if not all(type(old[i]) is type(new[i]) and replaceable(old[i]) for i in changed):
        return None
    return frozenset(changed) if all(replaceable(new[i]) for i in changed) else None


def data_parts(value: Any) -> frozenset[int]:
    """The parts of a value that are data: arrays and tensors."""
    parts = enumerate(flatten(value)[0])
    return frozenset(i for i, part in parts if _is_data(part) and replaceable(part))


def are_tensors(value: Any, which: Collection[int]) -> bool:
    """Whether parts of a value are already tensors, so that their types stay."""
    parts, _ = flatten(value)
    return all(torch.is_tensor(parts[i]) for i in which)


def replaceable(value: Any) -> bool:
    """Whether a tensor can stand in for a value."""
    if type(value) is Tensor:
        return is_plain(value) and not value.requires_grad
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biuf" and value.dtype.isnative and value.flags.writeable
    # Guards are computed in doubles, which hold whole numbers up to this size.
    return type(value) in _NUMBERS and (
        isinstance(value, float | np.floating) or abs(int(value)) < 2**53
    )


def _alike(now: Any, before: Any) -> bool:
    return now is before or (isinstance(now, (*ATOMS, np.ndarray)) and equal(now, before))


def _is_data(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def _kind(tensor: Tensor) -> tuple:
    return tensor.shape, tensor.dtype, tensor.device


def _number(value: Any, tensors: Iterable[Tensor]) -> Tensor:
    first = next(iter(tensors), torch.empty(()))
    if isinstance(value, int | np.integer):
        return torch.tensor(int(value), device=first.device)
    double = any(t.dtype == torch.float64 for t in tensors)
    dtype = torch.float64 if double else torch.get_default_dtype()
    return torch.tensor(float(value), dtype=dtype, device=first.device)


def _as_tensor(value: np.ndarray | Tensor) -> Tensor:
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value
