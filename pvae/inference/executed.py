"""Recording of the code that a run executes, and of the names that it reads."""

import dis
import gc
import itertools
import re
import sys
import sysconfig
import threading
import types
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

# Packages whose own globals and classes do not change: the standard library, and what follows.
LIBRARIES = {
    *sys.stdlib_module_names,
    *("torch", "pyro", "numpy", "scipy", "sklearn", "pandas", "torchvision", "matplotlib"),
    *("opt_einsum", "tqdm", "typing_extensions", "sympy", "pvae"),
} - {"__main__"}
# Packages that hand work to other threads, or to other processes.
THREADED = {"concurrent", "multiprocessing", "queue", "_queue", "asyncio"}
# Code that names one of these, or loads one of the others, may read attributes without naming them.
_REFLECTION = {"__dict__", "__getattribute__", "asdict", "astuple", "deepcopy", "getmembers"}
_REFLECTING = {"vars", "eval", "exec", "replace", "fields", "copy"}
_IMPORTING = {"modules", "import_module"}
_STDLIB = sysconfig.get_path("stdlib")
_CALLS = ("PRECALL", "CALL", "LOAD_CONST")
# Code that loads one of these may treat a tensor differently from a number or an array.
_TYPES = {"isinstance", "type", "issubclass", "callable", "id"}


@dataclass
class Executed:
    """The user's code that a run has executed.

    Attributes:
        reads: for each code object its globals, and the names of globals that it loads.
        names: names of attributes, and strings that may be such names.
        modules: names of imported modules.
        reflection: whether attributes may be read by computed names.
        asks_types: whether it may check the type of a value.
        reads_clock: whether it may read the time.
        threads: whether code may have been executed by threads that ran before.
        unknown: whether code may have been executed without being recorded.
    """

    reads: dict[types.CodeType, tuple[dict[str, Any], set[str]]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)
    reflection: bool = False
    asks_types: bool = False
    reads_clock: bool = False
    threads: bool = False
    unknown: bool = False

    def add(self, code: types.CodeType, namespace: dict[str, Any]) -> None:
        """Add code, with the functions and expressions inside it."""
        loaded: set[str] = set()
        inner = [code]
        while inner:
            one = inner.pop()
            inner += [c for c in one.co_consts if isinstance(c, types.CodeType)]
            self._add_strings(one.co_consts)
            instructions = list(dis.get_instructions(one))
            for place, instruction in enumerate(instructions):
                if instruction.argval == "getattr" and _is_dynamic(instructions[place + 1 :]):
                    self.reflection = True
                if instruction.opname == "IS_OP" and not _is_of_singleton(instructions, place):
                    self.asks_types = True
                if instruction.opname == "IMPORT_NAME":
                    self.modules.add(instruction.argval)
                elif instruction.opcode in dis.hasname:
                    is_global = instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
                    (loaded if is_global else self.names).add(instruction.argval)
        if "globals" in loaded:  # by a name that a string holds
            loaded |= self.names
        if "__import__" in loaded or not _IMPORTING.isdisjoint(self.names):
            self.modules |= self.names & sys.modules.keys()
        self.reads[code] = namespace, loaded
        self.reflection |= not _REFLECTION.isdisjoint(loaded | self.names)
        self.reflection |= not _REFLECTING.isdisjoint(loaded)
        self.asks_types |= not _TYPES.isdisjoint(loaded)
        self.asks_types |= not {"is_tensor", "isscalar"}.isdisjoint(self.names)
        self.reads_clock |= any(_is_clock(namespace.get(name)) for name in loaded)

    def _add_strings(self, constants: Iterable[Any]) -> None:
        for constant in constants:
            if isinstance(constant, str):
                self.names.update(re.findall(r"\w+", constant) if "{" in constant else ())
                if constant.isidentifier():
                    self.names.add(constant)
            elif isinstance(constant, tuple):  # as in the patterns of match
                self._add_strings(constant)


def _is_dynamic(following: Sequence[dis.Instruction]) -> bool:
    """Whether the name passed to getattr is computed, not a literal."""
    for one, after in itertools.pairwise(following[:8]):
        if one.opname == "LOAD_CONST" and isinstance(one.argval, str):
            return not after.opname.startswith(_CALLS)
    return True


def _is_of_singleton(instructions: Sequence[dis.Instruction], place: int) -> bool:
    """Whether something is compared by identity with None, True or False, which no number is."""
    before = instructions[place - 1]
    return before.opname == "LOAD_CONST" and before.argval in (None, True, False)


def _is_clock(value: Any) -> bool:
    module = value.__name__ if isinstance(value, types.ModuleType) else None
    owner = getattr(value, "__module__", None) if callable(value) else None
    return "time" in (module, owner) or (isinstance(value, type) and owner == "datetime")


@contextmanager
def recorded() -> Iterator[Executed]:
    """Record the user's code that is executed while entered."""
    executed = Executed()
    met: dict[types.CodeType, dict[str, Any]] = {}
    if sys.getprofile() is not None:  # a profiler is running, which could not be restored
        executed.unknown = True
        yield executed
        return

    imports = 0  # in progress, whose code is not part of the program

    def note(frame: types.FrameType, event: str, _: object) -> None:
        nonlocal imports
        if frame.f_code.co_name == "_find_and_load" and event in ("call", "return"):
            imports += 1 if event == "call" else -1
        elif event == "call" and not imports:
            met.setdefault(frame.f_code, frame.f_globals)
            if _is_threaded(frame) and not _is_of_library(frame.f_back):
                executed.threads = True

    collecting = gc.isenabled()
    gc.disable()  # what it calls is not part of the program either
    sys.setprofile(note)
    threading.setprofile(note)
    try:
        yield executed
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        if collecting:
            gc.enable()
        for code, namespace in met.items():
            if not is_library(namespace.get("__name__")):
                executed.add(code, namespace)


def _is_threaded(frame: types.FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in THREADED


def _is_of_library(frame: types.FrameType | None) -> bool:
    """Whether the code of a library is running, which uses queues for its own purposes."""
    return frame is None or is_library(frame.f_globals.get("__name__"))


def is_library(module: Any) -> bool:
    """Whether a module, by its name, is of a package whose code does not change."""
    top = module.partition(".")[0] if isinstance(module, str) else ""
    return top in LIBRARIES and _is_itself(top)


def _is_itself(top: str) -> bool:
    """Whether a name of the standard library means that library, and not the user's module."""
    if top not in sys.stdlib_module_names:
        return True
    # A user's module may be imported later, under a name that was not in use before.
    file = getattr(sys.modules.get(top), "__file__", None)
    return file is None or file.startswith(_STDLIB)
