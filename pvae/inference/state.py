"""Snapshots of places where Python keeps values, for comparing and restoring them."""

import types
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import is_, itemgetter
from typing import Any, NamedTuple

ABSENT = type("Absent", (), {"__repr__": lambda self: "nothing"})()

_IGNORED = {  # in a class
    *("__doc__", "__annotations__", "__annotate__", "__annotations_cache__", "__module__"),
    *("__dict__", "__weakref__", "__abstractmethods__", "_abc_impl"),
}


class Change(NamedTuple):
    """A name whose value has changed."""

    place: "Place"
    key: Any
    before: Any
    now: Any

    def __str__(self) -> str:
        if self.key is None or isinstance(self.place, Elements):
            return self.place.owner
        return f"{self.key if isinstance(self.key, str) else repr(self.key)} of {self.place.owner}"


class Place:
    """An object that holds values by name or position, with a snapshot of them.

    Args:
        holder: the object.
        owner: its name in messages.
        named: whether only code that names a value reads it, as with a user's own attributes.
        library: whether the code of a library may change it for its own purposes.
    """

    def __init__(self, holder: Any, owner: str, named: bool = False, library: bool = False) -> None:
        self.holder = holder
        self.owner = owner
        self.named = named
        self.library = library
        self.remember()

    def remember(self) -> None:
        """Take a new snapshot."""
        self.keys, self.values = self.read()

    def read(self) -> tuple[Sequence, list]:
        """The current keys and values."""
        raise NotImplementedError

    def get(self, key: Any) -> Any:
        """The current value of a key."""
        return dict(zip(*self.read(), strict=True)).get(key, ABSENT)

    def write(self, key: Any, value: Any) -> None:
        """Set a value, or remove it if it was absent."""
        raise NotImplementedError

    def same(self) -> bool:
        """Whether nothing has changed, by identity."""
        keys, values = self.read()
        return (
            len(keys) == len(self.keys)
            and all(map(is_, values, self.values))
            and all(map(is_, keys, self.keys))
        )

    def changes(self) -> Iterator[Change]:
        """The changes, by identity."""
        before = dict(zip(self.keys, self.values, strict=True))
        now = dict(zip(*self.read(), strict=True))
        for key in {**before, **now}:
            old, new = before.get(key, ABSENT), now.get(key, ABSENT)
            if old is not new:
                yield Change(self, key, old, new)

    def restore(self) -> None:
        """Restore the snapshot."""
        for change in list(self.changes()):
            self.write(change.key, change.before)


class Entries(Place):
    """The entries of a dictionary, such as that of an object's attributes."""

    def read(self) -> tuple[Sequence, list]:
        """The current keys and values."""
        kind = OrderedDict if isinstance(self.holder, OrderedDict) else dict
        return list(kind.keys(self.holder)), list(kind.values(self.holder))

    def get(self, key: Any) -> Any:
        """The current value of a key."""
        return dict.get(self.holder, key, ABSENT)

    def write(self, key: Any, value: Any) -> None:
        """Set a value, or remove it if it was absent."""
        dict.pop(self.holder, key) if value is ABSENT else dict.__setitem__(self.holder, key, value)

    def restore(self) -> None:
        """Restore the snapshot."""
        if not self.same():  # restores the order
            kind = OrderedDict if isinstance(self.holder, OrderedDict) else dict
            kind.clear(self.holder)
            kind.update(self.holder, zip(self.keys, self.values, strict=True))

    def changes(self) -> Iterator[Change]:
        """The changes."""
        yield from super().changes()
        keys, _ = self.read()
        now, before = list(map(id, keys)), list(map(id, self.keys))
        if now != before and set(now) == set(before):
            yield Change(self, "the order", None, tuple(keys))


class Elements(Place):
    """The elements of a list, a deque or a set."""

    def read(self) -> tuple[Sequence, list]:
        """The current keys and values."""
        values = list(self.holder)
        return range(len(values)), values

    def write(self, key: Any, value: Any) -> None:
        """Set a value, or remove it if it was absent."""
        self.holder[key] = value

    def same(self) -> bool:
        """Whether nothing has changed."""
        return len(self.holder) == len(self.values) and all(map(is_, self.holder, self.values))

    def restore(self) -> None:
        """Restore the snapshot."""
        if not self.same():
            self.holder.clear()
            add = self.holder.update if isinstance(self.holder, set) else self.holder.extend
            add(self.values)


class Names(Place):
    """Some names in a dictionary, such as the globals that code loads, absent ones included."""

    def __init__(self, holder: dict, names: Iterable[str], owner: str) -> None:
        self.names = set(names)
        super().__init__(holder, owner)

    def remember(self) -> None:
        """Take a new snapshot."""
        super().remember()
        self._absent = self.names.difference(self.keys)
        self._get = itemgetter(*self.keys) if self.keys else None

    def read(self) -> tuple[Sequence, list]:
        """The current keys and values."""
        keys = [name for name in self.names if name in self.holder]
        return keys, [self.holder[key] for key in keys]

    def write(self, key: Any, value: Any) -> None:
        """Set a value, or remove it if it was absent."""
        self.holder.pop(key, None) if value is ABSENT else self.holder.__setitem__(key, value)

    def same(self) -> bool:
        """Whether nothing has changed."""
        try:
            values = self._get(self.holder) if self._get else ()
        except KeyError:
            return False
        values = (values,) if len(self.keys) == 1 else values
        return all(map(is_, values, self.values)) and self._absent.isdisjoint(self.holder)


class OfClass(Place):
    """The attributes of a class."""

    def read(self) -> tuple[Sequence, list]:
        """The current keys and values."""
        found = {k: v for k, v in vars(self.holder).items() if k not in _IGNORED}
        return list(found), list(found.values())

    def remember(self) -> None:
        """Take a new snapshot."""
        super().remember()
        self._all = list(vars(self.holder).values())

    def same(self) -> bool:
        """Whether nothing has changed."""
        now = vars(self.holder).values()
        same = len(now) == len(self._all) and all(map(is_, now, self._all))
        return same or super().same()

    def write(self, key: Any, value: Any) -> None:
        """Set a value, or remove it if it was absent."""
        delattr(self.holder, key) if value is ABSENT else setattr(self.holder, key, value)


class Slots(Place):
    """The attributes of an object that has slots for them."""

    def __init__(self, holder: Any, names: Iterable[str], owner: str, named: bool) -> None:
        self.names = tuple(names)
        super().__init__(holder, owner, named)

    def read(self) -> tuple[Sequence, list]:
        """The current keys and values."""
        found = {n: getattr(self.holder, n, ABSENT) for n in self.names}
        return list(found), list(found.values())

    def same(self) -> bool:
        """Whether nothing has changed."""
        return all(map(is_, self.read()[1], self.values))

    def write(self, key: Any, value: Any) -> None:
        """Set a value, or remove it if it was absent."""
        if value is ABSENT:
            object.__delattr__(self.holder, key)
        else:
            object.__setattr__(self.holder, key, value)


class Cells(Place):
    """The names that a function closes over."""

    def read(self) -> tuple[Sequence, list]:
        """The current keys and values."""
        found = {}
        for name, cell in zip(
            self.holder.__code__.co_freevars, self.holder.__closure__, strict=True
        ):
            try:
                found[name] = cell.cell_contents
            except ValueError:  # not bound yet
                found[name] = ABSENT
        return list(found), list(found.values())

    def same(self) -> bool:
        """Whether nothing has changed."""
        return all(map(is_, self.read()[1], self.values))

    def write(self, key: Any, value: Any) -> None:
        """Set a value, or remove it if it was absent."""
        cell = self.holder.__closure__[self.holder.__code__.co_freevars.index(key)]
        if value is ABSENT:
            del cell.cell_contents
        else:
            cell.cell_contents = value


class Readable(Place):
    """Entries that are read here and written elsewhere, as of a read-only view."""

    def read(self) -> tuple[Sequence, list]:
        """The current keys and values."""
        return list(self.holder), [self.holder[key] for key in self.holder]

    def write(self, key: Any, value: Any) -> None:
        """Leave that to the dictionary itself, which is a place of its own."""


class Content(Place):
    """A state that can be copied, such as the numbers of an array or the state of a generator.

    Args:
        holder: what has it.
        owner: its name in messages.
        copy: from the holder to a copy of its state.
        put: from the holder and such a copy to nothing.
        equal: whether two copies are equal.
    """

    def __init__(
        self,
        holder: Any,
        owner: str,
        copy: Callable[[Any], Any],
        put: Callable[[Any, Any], None],
        equal: Callable[[Any, Any], bool],
    ) -> None:
        self._copy, self._put, self._equal = copy, put, equal
        super().__init__(holder, owner)

    def read(self) -> tuple[Sequence, list]:
        """The current keys and values."""
        return (None,), [self._copy(self.holder)]

    def same(self) -> bool:
        """Whether nothing has changed."""
        return self._equal(self._copy(self.holder), self.values[0])

    def changes(self) -> Iterator[Change]:
        """The changes."""
        if not self.same():
            yield Change(self, None, self.values[0], self._copy(self.holder))

    def write(self, key: Any, value: Any) -> None:
        """Set a value, or remove it if it was absent."""
        self._put(self.holder, value)


def slots(cls: type) -> list[str]:
    """The names of the slots of a class and its bases."""
    found = []
    for base in cls.__mro__:
        names = vars(base).get("__slots__", ())
        for name in [names] if isinstance(names, str) else names:
            private = name.startswith("__") and not name.endswith("__")
            found.append(f"_{base.__name__.lstrip('_')}{name}" if private else name)
    members = types.MemberDescriptorType
    return [n for n in found if isinstance(getattr(cls, n, None), members)]
