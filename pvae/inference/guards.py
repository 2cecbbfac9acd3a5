"""Guards: detection of changes in the Python state that programs read."""

import array
import builtins
import contextvars
import operator
import os
import random
import sys
import threading
import types
import weakref
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache, partial
from itertools import chain
from operator import is_
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pvae.inference import contents
from pvae.inference.equality import ATOMS, equal
from pvae.inference.executed import THREADED, Executed, is_library
from pvae.inference.state import (
    Cells,
    Change,
    Elements,
    Entries,
    Names,
    OfClass,
    Place,
    Readable,
    Slots,
    slots,
)
from pvae.inference.untraceable import Untraceable

MOST_VALUES = 20_000  # maximum number of values that are compared at every step
MOST_BYTES = 2**20  # maximum size of arrays that are compared at every step

_VALUES = (*ATOMS, list, dict, tuple, set)
# Modules of the standard library whose objects hold what their user puts there.
_CONTAINERS = {"argparse", "types", "collections", "functools", "os"}
# Modules whose objects hold their state in attributes, and those whose objects hold it elsewhere.
_FOLLOWED = {*_CONTAINERS, "torch", "pyro", "pvae", "scipy", "sklearn", "configparser"}
_FOLLOWED |= {"weakref", "_weakrefset", "numpy", "statistics", "string"}
_OPAQUE = {"ctypes", "_ctypes", "mmap", "sqlite3", "_io", "io", "shelve", "dbm"}
# Threads share these objects: to restore them would take them from the threads that wait.
_OPAQUE |= {"threading", *THREADED}
# Classes that read only attributes that they define themselves.
_GENERIC = {"object", "Module", "PyroModule", "ABC", "Generic", "Protocol", "Namespace"}
_GENERIC |= {"SimpleNamespace", "PyroOptim"}
_EXTENDED = (*ATOMS, list, dict, tuple, set, frozenset, deque, np.ndarray, partial)
_CACHED = type(lru_cache(lambda: None))
_VIEWS: tuple[Any, ...] = type({}.keys()), type({}.values()), type({}.items())
_READ_BY_LIBRARIES = {*vars(nn.Module()), "forward", "model", "guide"}


class Watch:
    """A snapshot of the Python state that programs read.

    A graph holds Python's values as constants, and tensors by identity: once a name means another
    value, tensor, module or function, the graph is no longer that of the program. Attributes,
    elements, closures, defaults, classes and globals are followed, starting at the programs. In the
    user's objects and modules, only what executed code names matters.

    Args:
        roots: the objects that programs start from, such as themselves, by their names in messages.
        executed: the code that a run has executed.
        ignored: objects to ignore.

    Attributes:
        tensors: the reachable tensors.
        replaced: the places and names of objects last found to be replaced by equal ones.

    Raises:
        Untraceable: if there is more than can be compared at every step.
    """

    def __init__(
        self, roots: Mapping[str, Any], executed: Executed, ignored: Iterable[Any] = ()
    ) -> None:
        if executed.unknown:
            raise Untraceable("a profiler is running, which hides what code is executed")
        if executed.reads_clock:
            raise Untraceable("it may read a clock, by the module time or datetime")
        if executed.threads:
            raise Untraceable("it hands work to other threads, whose code cannot be followed")
        self.roots = dict(roots)
        self.executed = executed
        self.ignored = list(ignored)
        self._layouts: list[tuple[Tensor, tuple]] = []
        self._read: list[tuple[Tensor, int, Tensor]] = []
        self.replaced: list[tuple[Place, Any]] = []
        self._find()

    # Tensors -----------------------------------------------------------------------------------

    def watch_memory(self, tensors: Iterable[Tensor]) -> None:
        """Watch the memory of tensors, and whether they require gradients."""
        self._layouts = [(tensor, _layout(tensor)) for tensor in tensors]

    def watch_values(self, tensors: Iterable[Tensor]) -> None:
        """Watch the values of tensors that Python has read."""
        self._read = [(tensor, tensor._version, tensor.clone()) for tensor in tensors]

    # Comparing ---------------------------------------------------------------------------------

    def same(self) -> bool:
        """Whether nothing has changed, by a fast comparison of identities."""
        return (
            not any(self._empty)
            and list(map(len, self._filled)) == self._sizes
            and all(map(is_, self._flat(), self._expected))
            and all(place.same() for place in self._others)
            and self._changed_tensor() is None
        )

    def changed(self) -> str | None:
        """Name a change, or return ``None``. Equal objects are accepted for the old ones."""
        found = self._changed_tensor()
        if found is not None:
            return found
        stale = [place for place in self.places if not place.same()]
        changes = [change for place in stale for change in place.changes()]
        for change in changes:
            if self._matters(change) and not equal(change.now, change.before):
                return str(change)
        changes = [c for c in changes if self._matters(c) and not isinstance(c.now, ATOMS)]
        if not changes:
            for place in stale:
                place.remember()
            self._arrange()
        else:  # equal but different objects, which are watched from now on
            self._find()
        places = [(self._where.get(_key(c.place)), c.key) for c in changes]
        self.replaced = [(found[0], key) for found, key in places if found]
        return None

    def changes(self) -> list[Change]:
        """All changes that matter, if no tensor has changed."""
        changes = [c for p in self.places if not p.same() for c in p.changes()]
        return [c for c in changes if self._matters(c) and not equal(c.now, c.before)]

    def place(self, holder: Any, kind: type[Place]) -> Place:
        """The place where an object holds its values."""
        return self._where[id(holder), kind][0]

    def accept(self, place: Place, key: Any, value: Any) -> None:
        """Accept the value that is there now as unchanged."""
        place, start = self._where[_key(place)]
        index = list(place.keys).index(key)
        place.values[index] = value
        if start is not None:
            self._expected[start + index] = value

    def restore(self) -> list[Change]:
        """Restore everything after a run, and return what the run has changed.

        The internal state of libraries is restored as well, but is not a change.
        """
        found = []
        for place in self.places:
            if not place.same():
                if not place.library:
                    changes = list(place.changes())
                    found += [c for c in changes if self._matters(c) and not equal(*c[2:])]
                place.restore()
        return found

    def _changed_tensor(self) -> str | None:
        for tensor, layout in self._layouts:
            if _layout(tensor) != layout:
                return "the memory of a tensor"
        for tensor, version, value in self._read:
            # Some ways to write a tensor leave its version as it is.
            if tensor._version != version or not torch.equal(tensor, value):
                return "a tensor whose value Python reads"
        return None

    def _matters(self, change: Change) -> bool:
        key, executed = change.key, self.executed
        if not change.place.named or executed.reflection or key in executed.names:
            return True
        # Attributes that are read without being named.
        return not isinstance(key, str) or (
            key in _READ_BY_LIBRARIES or key.startswith(("__", "_pyro", "the order"))
        )

    def _flat(self) -> Iterator[Any]:
        values = chain.from_iterable(map(dict.values, self._dicts))
        return chain(chain.from_iterable(self._listed), values)

    # Finding -----------------------------------------------------------------------------------

    def _find(self) -> None:
        """Find all places that are reachable from the roots."""
        known = -1
        while known < (count := len(self.executed.names) + len(self.executed.reads)):
            known = count  # the search adds to them
            self._find_by_names()
        self._arrange()

    def _arrange(self) -> None:
        """Arrange the comparison: dictionaries and lists, which most places are, all at once."""
        quick = [p for p in self.places if type(p) in (Entries, Elements)]
        self._others = [p for p in self.places if type(p) not in (Entries, Elements)]
        self._empty = [p.holder for p in quick if not p.values]
        filled = [p for p in quick if p.values]
        self._filled = [p.holder for p in filled]
        self._sizes = list(map(len, self._filled))
        # The names of the attributes of a library's objects do not change.
        listed = [p for p in filled if type(p) is Elements or not p.library]
        entries = [p for p in filled if type(p) is Entries]
        self._listed = [p.holder for p in listed]
        self._dicts = [p.holder for p in entries]
        self._expected = list(self._flat())
        # The position of each place's values among those expected.
        self._where: dict[tuple[int, type], tuple[Place, int | None]]
        self._where = {_key(place): (place, None) for place in self.places}
        start = 0
        for place in (*listed, *entries):
            self._where[_key(place)] = place, start
            start += len(place.values)

    def _find_by_names(self) -> None:
        self.places: list[Place] = []
        self.tensors: list[Tensor] = []
        # It keeps the objects alive, so that no other object gets their identity.
        self._seen: dict[int, Any] = {id(thing): thing for thing in self.ignored}
        self._globals: dict[int, tuple[dict, set[str], str]] = {}
        self._modules: dict[int, types.ModuleType] = {}
        self._count = self._bytes = 0
        self._queue: list[tuple[Any, str, bool]] = [(r, n, False) for n, r in self.roots.items()]
        executed = self.executed
        for code, (namespace, names) in executed.reads.items():
            self._add_names(namespace, names, code.co_name)
            builtin = vars(builtins).keys() & names - namespace.keys()
            self._add_names(vars(builtins), builtin, "the builtins")
        self._follow((sys.modules.get(name) for name in executed.modules), "an import", False)
        if not executed.names.isdisjoint(("environ", "getenv")):
            self._follow((os.environ,), "os.environ", False)
        self._visit_all()
        for module in self._modules.values():
            values = [n for n, v in vars(module).items() if isinstance(v, _VALUES)]
            names = executed.names.union(values if executed.reflection else ())
            self._add_names(vars(module), names, module.__name__)
        self._visit_all()
        self.places += [Names(*entry) for entry in self._globals.values()]
        del self._queue, self._globals, self._modules

    def _visit_all(self) -> None:
        while self._queue:
            thing, owner, library = self._queue.pop()
            own = not is_library(type(thing).__module__)
            if id(thing) in self._seen or (isinstance(thing, ATOMS) and not own):
                continue
            self._seen[id(thing)] = thing
            if isinstance(thing, _EXTENDED):
                if own:  # which may have attributes as well
                    self._visit_object(thing, owner)
                if isinstance(thing, ATOMS):
                    continue
            self._visit(thing, owner, library)

    def _visit(self, thing: Any, owner: str, library: bool) -> None:
        if isinstance(thing, Tensor):
            self.tensors.append(thing)
            if vars(thing):
                self._add(Entries(vars(thing), owner, named=True))
        elif isinstance(thing, tuple | frozenset):
            self._follow(thing, owner, library)
        elif isinstance(thing, list | deque | set):
            self._add(Elements(thing, owner, library=library))
        elif isinstance(thing, dict):
            self._add(Entries(thing, owner, library=library))
            if isinstance(thing, defaultdict):
                self._add(Slots(thing, ("default_factory",), owner, named=False))
        elif isinstance(thing, np.ndarray | bytearray | array.array):
            self._add_array(thing, owner)
        elif isinstance(thing, types.MappingProxyType):
            self._add(Readable(thing, owner, library=library))
        elif isinstance(thing, _VIEWS):
            self._follow((thing.mapping,), owner, library)
        elif isinstance(thing, weakref.ref):
            self._follow((thing(),), owner, library)
        elif isinstance(thing, threading.local):
            self._add(Entries(vars(thing), owner))
        elif isinstance(thing, contextvars.ContextVar):
            self.places.append(contents.of_variable(thing, owner))
        elif isinstance(thing, Iterator):
            raise Untraceable(f"{owner} is a {type(thing).__name__}, which no run can rewind")
        elif isinstance(thing, _CACHED):
            # A call that the cache answers executes no code.
            function = thing.__wrapped__
            if isinstance(function, types.FunctionType) and function.__code__ not in (
                self.executed.reads
            ):
                self.executed.add(function.__code__, function.__globals__)
            self._follow((function,), owner, library)
        elif isinstance(thing, operator.attrgetter):
            self.executed.names.update(n for name in thing.__reduce__()[1] for n in name.split("."))
        elif isinstance(thing, types.MethodType):
            self._follow((thing.__self__, thing.__func__), owner, library)
        elif isinstance(thing, types.FunctionType):
            self._visit_function(thing, owner)
        elif isinstance(thing, staticmethod | classmethod):
            self._follow((thing.__func__,), owner, library)
        elif isinstance(thing, property):
            self._follow((thing.fget,), owner, library)
        elif isinstance(thing, cached_property):
            self._follow((thing.func,), owner, library)
        elif isinstance(thing, partial):
            self._follow((thing.func, thing.args, thing.keywords, vars(thing)), owner, library)
        elif isinstance(thing, types.BuiltinMethodType):
            self._follow((thing.__self__,), owner, library)
        elif isinstance(thing, types.ModuleType):
            if not is_library(thing.__name__):
                self._modules[id(thing)] = thing
        elif isinstance(thing, type):
            self._visit_class(thing)
        else:
            self._visit_object(thing, owner)

    def _add(self, place: Place) -> None:
        self.places.append(place)
        self._count += len(place.values)
        if self._count > MOST_VALUES:
            raise Untraceable(
                f"it reaches more than {MOST_VALUES:,} Python values, the last of them in "
                f"{place.owner}, too many to compare at every step: hold them in a tensor"
            )
        if isinstance(place, Entries):
            self._follow((k for k in place.keys if not isinstance(k, str)), place.owner, False)
        for key, value in zip(place.keys, place.values, strict=True):
            if self._matters(Change(place, key, None, None)):
                owner = f"{key} of {place.owner}" if isinstance(key, str) else place.owner
                self._queue.append((value, owner, place.library))

    def _follow(self, things: Iterable[Any], owner: str, library: bool) -> None:
        self._queue += [(thing, owner, library) for thing in things]

    def _add_names(self, namespace: dict, names: Iterable[str], owner: str) -> None:
        _, known, _ = self._globals.setdefault(id(namespace), (namespace, set(), owner))
        known.update(names)
        self._queue += [(namespace[n], n, False) for n in names if n in namespace]

    def _visit_function(self, function: types.FunctionType, owner: str) -> None:
        if is_library(function.__globals__.get("__name__")):
            self._follow((vars(function).get("__wrapped__"),), owner, False)
            return
        owner = function.__qualname__
        if function.__closure__:
            self._add(Cells(function, owner))
        if vars(function):
            self._add(Entries(vars(function), owner))
        self._add(Slots(function, ("__code__", "__defaults__", "__kwdefaults__"), owner, False))

    def _visit_class(self, cls: type) -> None:
        for base in (*cls.__mro__, type(cls)):
            if not is_library(base.__module__) and base is not object:
                self._add(OfClass(base, base.__name__, named=True))

    def _visit_object(self, thing: Any, owner: str) -> None:
        cls = type(thing)
        name, root = cls.__name__, _package(cls)
        if isinstance(thing, random.Random | np.random.Generator | np.random.RandomState):
            self.places.append(contents.of_generator(thing, owner))
        elif not _OPAQUE.isdisjoint(map(_package, cls.__mro__)) or isinstance(
            thing, memoryview | torch.jit.ScriptModule
        ):
            raise Untraceable(f"{owner} is a {name}, whose state cannot be followed")
        elif root == "pandas" and hasattr(cls, "__array__"):
            self.places.append(contents.of_table(thing, owner))
            return
        elif is_library(root) and root not in _FOLLOWED:
            return  # loggers, locks, and the like
        generic = all(is_library(c.__module__) <= (c.__name__ in _GENERIC) for c in cls.__mro__)
        library = is_library(root) and root not in _CONTAINERS
        if isinstance(getattr(thing, "__dict__", None), dict):
            self._add(Entries(vars(thing), name, named=generic, library=library))
        if slots(cls):
            self._add(Slots(thing, slots(cls), name, named=generic))
        if not is_library(root):
            self._queue.append((cls, name, False))

    def _add_array(self, values: np.ndarray | bytearray | array.array, owner: str) -> None:
        self._bytes += getattr(values, "nbytes", 0) or len(bytes(values))
        if self._bytes > MOST_BYTES:
            raise Untraceable(
                f"{owner} is an array of {self._bytes:,} bytes, too many to compare at every "
                "step: make it a tensor"
            )
        if isinstance(values, np.ndarray) and values.dtype.hasobject:
            self._follow(values.flat, owner, False)
        self.places.append(contents.of_array(values, owner))


def _key(place: Place) -> tuple[int, type]:
    return id(place.holder), type(place)


def _package(cls: type) -> str:
    return str(cls.__module__).partition(".")[0]


def _layout(tensor: Tensor) -> tuple:
    return (
        tensor.data_ptr() if tensor.is_cuda else None,  # which a CUDA graph remembers
        tensor.dtype,
        tensor.requires_grad,
        tensor.shape,
        tensor.stride(),
        bool(tensor._backward_hooks or getattr(tensor, "_post_accumulate_grad_hooks", None)),
    )
