"""Symbols that replace tensors while Pyro programs and objectives are traced."""

import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from pyro.ops import provenance
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes

from pvae.inference.assertions import Checks
from pvae.inference.rollback import is_plain
from pvae.inference.scalars import Guard, Scalar, is_random
from pvae.inference.untraceable import Untraceable

_READS = {
    torch.Tensor.item,
    torch.Tensor.tolist,
    torch.Tensor.numpy,
    torch.Tensor.__bool__,
    torch.Tensor.__int__,
    torch.Tensor.__float__,
    torch.Tensor.__index__,
}
_SHOWS = {torch.Tensor.__repr__, torch.Tensor.__format__, torch.Tensor.__complex__}
# Functions by which numbers raise errors where tensors become infinite or NaN.
_FAILING = re.compile(
    r"_*r?(true|floor)?_?div(ide)?_*|_*r?(mod|pow|remainder)_*|exp(m1)?|log(1p)?|sqrt"
)
_EXACT = 2**53  # doubles hold all whole numbers up to this, and 64-bit integers their sums
_IN_PLACE = re.compile(r"[a-z]\w*[a-z0-9]_|__i(add|sub|mul|truediv|floordiv|mod|pow|and|or|xor)__")
MORE = "a value that changes at every step is used for more than computing"


class Symbolic(TorchFunctionMode):
    """Run Pyro programs and objectives on symbols.

    Every tensor with a symbol, in a module, in the parameter store or in a closure, is replaced by
    its symbol.

    Args:
        parameters: the parameters.
        leaves: their symbols.
        known: other tensors that existed before.
        symbols: their symbols.
        checks: the results of checks in another run.
        scalars: tensors that stand for numbers, and the numbers.

    Attributes:
        unknown: the other tensors that occurred, with copies of those that hold one number, which
            torch computes with as constants.
        surrogates: the tensors to differentiate.
        read: tensors whose values were read.
        in_program: whether model or guide is running.
        conditions: the checked conditions, with their assumed results.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        leaves: Sequence[Tensor],
        known: Sequence[Tensor],
        symbols: Sequence[Tensor],
        checks: Checks | None,
        scalars: Sequence[tuple[Tensor, Scalar]] = (),
    ) -> None:
        super().__init__()
        self.numbers = {id(tensor): scalar for tensor, scalar in scalars}
        self.guards: list[Guard] = []
        self.decided: set[int] = set()
        # For tensors that are computed from such numbers alone: how, and from which of them.
        self._scalars: dict[int, tuple[Tensor, Scalar, frozenset[int]]] = {}
        self.checks = checks
        pairs = zip((*parameters, *known), (*leaves, *symbols), strict=True)
        self.symbols = {id(tensor): symbol for tensor, symbol in pairs}
        self.unreadable = set(map(id, parameters))  # changed by every step, or already by this one
        self.unknown: dict[int, tuple[Tensor, Tensor]] = {}
        self.surrogates: list[Tensor] = []
        self.read: list[Tensor] = []
        self.in_program = False
        self.conditions: list[tuple[Tensor, bool]] = []
        self._origins: dict[int, tuple[Tensor, frozenset]] = {}

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        given = args
        if kwargs and kwargs.get("generator") is not None:
            raise Untraceable("it draws from its own torch.Generator")
        if self.numbers and function is torch.Tensor.__bool__:
            answer = self.decide(given[0])
            if answer is not None:
                return answer
        if function in _READS | _SHOWS and self.varies(given[0]):
            raise Untraceable(MORE)
        if function in _READS and self._can_read(given[0]):
            self.read.append(given[0])
            with _disable_current_modes():
                return function(*args, **(kwargs or {}))
        if function is torch.Tensor.__bool__ and self.checks is not None:
            answer = self.checks.answer(sys._getframe(1))
            if answer is not None:
                self.conditions.append((self._symbol(given[0]), answer))
                return answer
        args, kwargs = pytree.tree_map_only(
            Tensor,
            self._symbol,
            (args, kwargs or {}),
            is_leaf=lambda value: isinstance(value, torch.Size),  # it would become a tuple
        )
        if not self.in_program:
            if function is torch.Tensor.item:
                return args[0].detach().clone()
            if function is torch.Tensor.backward:
                self.surrogates.append(args[0])
                return None
            if function is torch.Tensor.masked_select:
                # Pyro's enumeration selects terms in order to sum them, where zeros do as well.
                return torch.where(args[1], args[0], torch.zeros_like(args[0]))
        result = function(*args, **kwargs)
        if self._origins:
            self.derive(result, self.origin((args, kwargs)))
        if self._scalars:
            self._compute_scalar(function, args, kwargs, result)
        if _IN_PLACE.fullmatch(getattr(function, "__name__", "")):
            # `count += 1` assigns the tensor to its name again: it must not assign a symbol.
            self.unreadable.add(id(given[0]))
            self._scalars.pop(id(args[0]), None)
            return given[0]
        return result

    # What Python decides by varying numbers holds as long as it would decide the same again.

    def decide(self, tensor: Tensor, raises: bool = False) -> bool | None:
        """The truth value of a number that is computed from varying ones; ``None`` for others."""
        found = self._scalars.get(id(self._symbol(tensor)))
        if found is None:
            return None
        _, scalar, of = found
        with torch._C.DisableTorchFunction(), _disable_current_modes():
            answer = bool(scalar.value())
        self.guards.append(Guard(scalar, answer, raises))
        self.decided |= of
        return answer

    def _compute_scalar(self, function: Callable, args: tuple, kwargs: dict, result: Any) -> None:
        """Record how a number is computed from varying ones, if it is."""
        given = [x for x in pytree.tree_leaves((args, kwargs)) if torch.is_tensor(x)]
        found = [known for x in given if (known := self._scalars.get(id(x))) is not None]
        if not given or len(found) < len(given) or not torch.is_tensor(result):
            return
        if is_random(function):
            return
        args, kwargs = pytree.tree_map_only(
            Tensor, lambda x: self._scalars[id(x)][1], (args, kwargs)
        )
        of = frozenset().union(*(one[2] for one in found))
        self._scalars[id(result)] = result, Scalar(function, args, kwargs), of
        self._expect_no_error(function, result)

    def _expect_no_error(self, function: Callable, result: Tensor) -> None:
        """Assume that Python computes a number like torch, and raises no error."""
        name = getattr(function, "__name__", "")
        whole = not result.is_floating_point() and name.strip("_").lstrip("r") in ("mul", "pow")
        if not whole and not _FAILING.fullmatch(name):
            return
        _, scalar, of = self._scalars[id(result)]
        fine = Scalar(_is_exact if whole else torch.isfinite, (scalar,))
        with torch._C.DisableTorchFunction(), _disable_current_modes():
            if not fine.value():
                raise Untraceable("Python computes a number there that torch cannot represent")
        self.guards.append(Guard(fine, True, raises=True))
        self.decided |= of

    def varies(self, tensor: Tensor) -> bool:
        """Whether a tensor stands for a number that varies, or is computed from one."""
        symbol = self.symbols.get(id(tensor), tensor)
        return id(tensor) in self.numbers or id(symbol) in self._scalars

    # Pyro tracks which sites a tensor depends on by a subclass of tensors, which symbols cannot be.

    def origin(self, value: Any) -> frozenset:
        """The names of the sites that the tensors in a value depend on."""
        found = (self._origins.get(id(x)) for x in pytree.tree_leaves(value) if torch.is_tensor(x))
        return frozenset().union(*(origin for _, origin in filter(None, found)))

    def derive(self, value: Any, origin: frozenset) -> Any:
        """Add sites that the tensors in a value depend on, and return the value."""
        for x in pytree.tree_leaves(value) if origin else ():
            if torch.is_tensor(x):
                self._origins[id(x)] = x, self.origin(x) | origin
        return value

    def _can_read(self, tensor: Tensor) -> bool:
        """Whether a tensor has a value, and still the one from before the run."""
        return not isinstance(tensor, FakeTensor) and id(tensor) not in self.unreadable

    def _symbol(self, tensor: Tensor) -> Tensor:
        if isinstance(tensor, provenance.ProvenanceTensor):
            raise Untraceable("it keeps a tensor of an earlier run, as averaging baselines do")
        symbol = self.symbols.get(id(tensor), tensor)
        if id(tensor) in self.numbers and id(symbol) not in self._scalars:
            of = frozenset((id(tensor),))
            self._scalars[id(symbol)] = symbol, self.numbers[id(tensor)], of
        known = isinstance(symbol, FakeTensor) or symbol.is_meta or id(symbol) in self.unknown
        if not known:
            if not is_plain(symbol):
                raise Untraceable(f"it computes with a {symbol.layout} tensor")
            if not symbol.is_leaf:
                raise Untraceable("it computes with the result of an earlier run, and its history")
            with _disable_current_modes(), torch.no_grad():
                copy = symbol.clone() if symbol.numel() == 1 else symbol
                self.unknown[id(symbol)] = symbol, copy
        return symbol

    def program(self, program: Callable) -> Callable:
        """Mark what runs inside a program, where `item` must not return a tensor."""
        return marked(self, program)


def marked(mode: Any, program: Callable) -> Callable:
    """A program that sets the attribute ``in_program`` of a mode while it runs."""
    # In the form of Pyro's handlers, for objectives that check the type of the guide.
    return partial(_run_inside, mode, program)


def _run_inside(mode: Any, program: Callable, *args: Any, **kwargs: Any) -> Any:
    before, mode.in_program = mode.in_program, True
    try:
        return program(*args, **kwargs)
    finally:
        mode.in_program = before


def _is_exact(number: Tensor) -> bool:
    """Whether a number is whole and fits into 64 bits, so that it equals Python's integer."""
    return bool(number == number.floor()) and bool(number.abs() < _EXACT)
