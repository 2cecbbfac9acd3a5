"""Tracking of assertions, and of conditions under which programs raise errors."""

import ast
import inspect
import sys
import textwrap
import types
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_TORCH = ("torch.", "pvae.inference")


class Checks(TorchFunctionMode):
    """Records the results of the checks in a run.

    Attributes:
        found: for each check in the code, the truth values that it returned.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[tuple[types.CodeType, int], set[bool]] = {}

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if function is torch.Tensor.__bool__:
            self.found.setdefault(_place(sys._getframe(1)), set()).add(result)
        return result

    def answer(self, frame: types.FrameType) -> bool | None:
        """The result of the check that a frame makes, if it always had the same."""
        code, instruction = _place(frame)
        found = self.found.get((code, instruction), set())
        line = _line(code, instruction)
        return next(iter(found)) if len(found) == 1 and line in _checked(code) else None


def _place(frame: types.FrameType) -> tuple[types.CodeType, int]:
    """The code, and the instruction, that asked torch for a truth value."""
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(_TORCH):
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


def _line(code: types.CodeType, instruction: int) -> int | None:
    for start, end, line in code.co_lines():
        if start <= instruction < end:
            return line
    return None


@lru_cache(maxsize=256)
def _checked(code: types.CodeType) -> frozenset[int]:
    """The lines of code that are conditions of assertions, and of raising and nothing else."""
    try:
        lines, first = inspect.getsourcelines(code)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, SyntaxError, TypeError):
        return frozenset()
    tests = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert) or (isinstance(node, ast.If) and _only_raises(node)):
            tests.append(node.test)
    offset = max(first, 1) - 1
    return frozenset(
        offset + line
        for test in tests
        for line in range(test.lineno, (test.end_lineno or test.lineno) + 1)
    )


def _only_raises(node: ast.If) -> bool:
    return not node.orelse and all(isinstance(n, ast.Raise) for n in node.body)
