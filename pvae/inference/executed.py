"""The code that a run executes, and the names that it reads."""

import dis
import gc
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

# Packages whose own globals and classes do not change: the standard library, and what follows.
LIBRARIES = {
    *sys.stdlib_module_names,
    *("torch", "pyro", "numpy", "scipy", "sklearn", "pandas", "torchvision", "matplotlib"),
    *("opt_einsum", "tqdm", "typing_extensions", "sympy", "pvae"),
} - {"__main__"}
# Code with one of these names may read attributes that it does not name.
_REFLECTION = {
    *("__dict__", "vars", "getattr", "hasattr", "attrgetter", "eval", "exec"),
    *("asdict", "astuple", "fields", "replace", "copy", "deepcopy"),
}


@dataclass
class Executed:
    """The code of the user's own that a run has executed.

    Attributes:
        reads: for each code object its globals, and the names of globals that it loads.
        names: names of attributes, and strings that may be such names.
        modules: names of modules that it imports.
        reflection: whether attributes may be read that are not named.
    """

    reads: dict[types.CodeType, tuple[dict[str, Any], set[str]]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)
    reflection: bool = False

    def add(self, code: types.CodeType, namespace: dict[str, Any]) -> None:
        """Take in code, with the functions and expressions inside it."""
        loaded: set[str] = set()
        inner = [code]
        while inner:
            one = inner.pop()
            inner += [c for c in one.co_consts if isinstance(c, types.CodeType)]
            self.names.update(c for c in one.co_consts if isinstance(c, str) and c.isidentifier())
            for instruction in dis.get_instructions(one):
                if instruction.opname == "IMPORT_NAME":
                    self.modules.add(instruction.argval)
                elif instruction.opcode in dis.hasname:
                    is_global = instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
                    (loaded if is_global else self.names).add(instruction.argval)
        self.reads[code] = namespace, loaded
        self.reflection |= not _REFLECTION.isdisjoint(loaded | self.names)


@contextmanager
def recorded() -> Iterator[Executed]:
    """Record the code of the user's own that is executed meanwhile."""
    executed = Executed()
    met: dict[types.CodeType, dict[str, Any]] = {}
    if sys.getprofile() is not None:  # a profiler is at work, which cannot be put back
        executed.reflection = True
        yield executed
        return

    imports = 0  # under way, whose code belongs to nobody's program

    def note(frame: types.FrameType, event: str, _: object) -> None:
        nonlocal imports
        if frame.f_code.co_name == "_find_and_load" and event in ("call", "return"):
            imports += 1 if event == "call" else -1
        elif event == "call" and not imports:
            met.setdefault(frame.f_code, frame.f_globals)

    collecting = gc.isenabled()
    gc.disable()  # what is called back by it belongs to no program either
    sys.setprofile(note)
    try:
        yield executed
    finally:
        sys.setprofile(None)
        if collecting:
            gc.enable()
        for code, namespace in met.items():
            if not is_library(namespace.get("__name__")):
                executed.add(code, namespace)


def is_library(module: str | None) -> bool:
    """Whether a module is of a package whose code does not change."""
    return (module or "").partition(".")[0] in LIBRARIES
