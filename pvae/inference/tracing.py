"""From a loss that runs two Pyro programs to a graph of torch operators."""

import builtins
import math
import random
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyro.util
import torch
from pyro.ops import provenance
from pyro.poutine.scale_messenger import ScaleMessenger
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensor
from torch.distributions import Distribution
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes

from pvae.inference.assertions import Checks
from pvae.inference.bernoulli import draw_as_torch_does
from pvae.inference.rollback import is_plain
from pvae.inference.scalars import Guard, Scalar, is_random
from pvae.inference.untraceable import Untraceable, brief

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
# Functions at whose results numbers raise errors where tensors are infinite, or not numbers.
_FAILING = re.compile(
    r"_*r?(true|floor)?_?div(ide)?_*|_*r?(mod|pow|remainder)_*|exp(m1)?|log(1p)?|sqrt"
)
_EXACT = 2**53  # up to which doubles hold all whole numbers, and 64 bits their sums
_IN_PLACE = re.compile(r"[a-z]\w*[a-z0-9]_|__i(add|sub|mul|truediv|floordiv|mod|pow|and|or|xor)__")
_SAME = {  # operators that return their first argument when the shape stays as it was
    torch.ops.aten.view.default,
    torch.ops.aten._unsafe_view.default,
    torch.ops.aten.reshape.default,
    torch.ops.aten.expand.default,
    torch.ops.aten.alias.default,
}
_MORE = "a value that changes at every step is more than computed with"
# The code that is not the user's own, where a message must not point.
_LIBRARIES = tuple(
    str(path)
    for path in (
        Path(torch.__file__).parent,
        Path(pyro.util.__file__).parent,
        Path(__file__).parent,
        sysconfig.get_path("stdlib"),
    )
)


@dataclass
class Graph:
    """A loss, and the gradients of its surrogate, as one graph of torch operators.

    Calling ``module(*parameters, *inputs, *live)`` returns the numbers of the loss, then one
    gradient for each parameter that the loss depends on.

    Attributes:
        module: the graph.
        live: tensors that the programs reach by themselves, such as buffers. They are read, and
            written, where they lie: what changes in place needs no new graph.
        loss: how many numbers the loss is, and what puts them together.
        reached: for each parameter, whether the loss depends on it.
        read: tensors whose values Python read. They are constants of the graph, which must not be
            used when they change.
        guards: what Python decided by numbers that vary.
        decided: the identities of the tensors that stand for those.
        answers: what checks of values are taken to find, whose conditions are the last outputs.
    """

    module: fx.GraphModule
    live: list[Tensor]
    loss: pytree.TreeSpec
    reached: list[bool] = field(default_factory=list)
    read: list[Tensor] = field(default_factory=list)
    guards: list[Guard] = field(default_factory=list)
    decided: set[int] = field(default_factory=set)
    answers: list[bool] = field(default_factory=list)


def trace(
    call: Callable[..., Any],
    model: Callable,
    guide: Callable,
    parameters: Sequence[Tensor],
    inputs: Sequence[Tensor],
    arguments: Callable[[Sequence[Tensor]], tuple[tuple, dict]],
    scale: float | None,
    reached: Sequence[Tensor] = (),
    checks: Checks | None = None,
    scalars: Sequence[tuple[Tensor, Scalar]] = (),
) -> Graph:
    """Trace a loss, and the gradients of whatever it calls ``backward`` on.

    Any ELBO is traced by its own ``loss_and_grads``. Where it reads a number, ``loss.item()``, it
    is given the tensor; where it calls ``surrogate.backward()``, the surrogate is kept, and
    differentiated in the graph.

    Args:
        call: ``loss_and_grads`` of the loss, or ``loss`` for no gradients.
        model: the model.
        guide: the guide.
        parameters: what is differentiated by.
        inputs: the tensors among the arguments.
        arguments: from tensors in place of the inputs to arguments of the programs.
        scale: factor of the gradients; ``None`` for no gradients.
        reached: tensors that the programs may reach by themselves, as far as they are known; others
            cost another run.
        checks: what the programs' checks of values found in another run, which they are taken to
            find in each.
        scalars: tensors that stand for numbers, and the numbers.

    Raises:
        Untraceable: if the programs' operations depend on values.
    """
    # Tensors of their own: the programs may reach an argument by another way as well.
    inputs = [x.detach().clone() for x in inputs]
    run = partial(_trace, call, model, guide, parameters, inputs, arguments, scale, checks, scalars)
    others = set(map(id, parameters))
    known = [t for t in reached if id(t) not in others and is_plain(t) and t.is_leaf]
    states: tuple[Any, Any] = random.getstate(), np.random.get_state()
    try:
        graph, unknown = run(known)
        if unknown:
            # Tensors that the programs reach by a way that was not found. In another run they are
            # symbols: were they none, torch would take single numbers for constants.
            graph, _ = run([*graph.live, *unknown])
        drawn = random.getstate() != states[0] or _drawn(np.random.get_state(), states[1])
    finally:
        random.setstate(states[0]), np.random.set_state(states[1])
    if drawn:
        raise Untraceable("it draws random numbers by Python or NumPy, not by torch")
    if any(isinstance(tensor, FakeTensor) for tensor in graph.live):
        raise Untraceable("it keeps tensors of one run for the next")
    draw_as_torch_does(graph.module)
    _simplify(graph.module)
    return graph


def difference(graph: Graph, again: Graph) -> str | None:
    """Say how the graphs of two runs differ, of a program whose operations are not the same."""
    before, after = (g.module.code.splitlines() for g in (graph, again))
    for one, other in zip(before, after, strict=False):
        if one != other:
            return f"its operations differ between two runs: {one.strip()} became {other.strip()}"
    if len(before) != len(after):
        return "its operations differ between two runs: one run has more than the other"
    for tensor, same in zip(graph.live, again.live, strict=False):
        if tensor is not same and not torch.equal(tensor, same):
            return "it makes a tensor of numbers that torch did not draw"
    return None


def _trace(
    call: Callable[..., Any],
    model: Callable,
    guide: Callable,
    parameters: Sequence[Tensor],
    inputs: Sequence[Tensor],
    arguments: Callable[[Sequence[Tensor]], tuple[tuple, dict]],
    scale: float | None,
    checks: Checks | None,
    scalars: Sequence[tuple[Tensor, Scalar]],
    known: Sequence[Tensor],
) -> tuple[Graph, list[Tensor]]:
    """Trace once; return also the tensors that were met and not known."""
    graph = Graph(fx.GraphModule({}, fx.Graph()), [], pytree.tree_structure(0.0))
    modes: list[_Symbolic] = []

    def run(*tensors: Tensor) -> list[Tensor]:
        leaves, rest = tensors[: len(parameters)], tensors[len(parameters) :]
        args, others = rest[: len(inputs)], rest[len(inputs) :]
        mode = _Symbolic(parameters, leaves, known, others, checks, scalars)
        modes.append(mode)
        positional, named = arguments(args)
        with _traceable(mode), torch.set_grad_enabled(scale is not None):
            with mode:
                loss = call(mode.program(model), mode.program(guide), *positional, **named)
            values, graph.loss = pytree.tree_flatten(loss)
            graph.read = mode.read
            graph.guards, graph.decided = mode.guards, set(mode.numbers) & mode.decided
            graph.answers = [answer for _, answer in mode.conditions]
            conditions = [condition for condition, _ in mode.conditions]
            outputs = [_number(value) for value in values]
            surrogate = sum(mode.surrogates)
            if scale is None or not torch.is_tensor(surrogate) or not surrogate.requires_grad:
                graph.reached = [False] * len(leaves)
                return outputs + conditions
            wanted = [leaf for leaf in leaves if leaf.requires_grad]
            found = iter(torch.autograd.grad(surrogate * scale, wanted, allow_unused=True))
            gradients = [next(found) if leaf.requires_grad else None for leaf in leaves]
        graph.reached = [gradient is not None for gradient in gradients]
        pairs = zip(leaves, gradients, strict=True)
        return [*outputs, *(_like(leaf, g) for leaf, g in pairs if g is not None), *conditions]

    try:
        tracer = make_fx(run, tracing_mode="fake", _allow_non_fake_inputs=True)
        graph.module = tracer(*parameters, *inputs, *known)
    except Untraceable as error:
        raise Untraceable(error.cause, _place(error)) from error
    except Exception as error:
        raise Untraceable(_cause(error), _place(error)) from error
    finally:
        unknown = list(modes[0].unknown.values()) if modes else []
        for tensor, before in unknown:
            if tensor is not before and not torch.equal(tensor, before):
                with torch.no_grad():
                    tensor.copy_(before)
    held = _lift(graph.module)
    used = _keep_used(graph.module, len(parameters) + len(inputs), len(known))
    graph.live = [*(known[i] for i in used), *held]
    read = {id(tensor) for tensor in graph.read}
    return graph, [tensor for tensor, _ in unknown if id(tensor) not in read]


class _Symbolic(TorchFunctionMode):
    """Have Pyro programs and objectives run on symbols.

    Wherever a tensor is met that has a symbol, in a module, in the parameter store or in a closure,
    its symbol takes its place.

    Args:
        parameters: the parameters.
        leaves: their symbols.
        known: other tensors that were there before.
        symbols: their symbols.
        checks: what checks of values found in another run.
        scalars: tensors that stand for numbers, and the numbers.

    Attributes:
        unknown: the other tensors that were met, and copies of the single numbers among them, which
            torch takes for constants and computes with.
        surrogates: what is to be differentiated.
        read: tensors whose values were read.
        in_program: whether model or guide is running.
        conditions: what was checked, and what the check is taken to find.
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
        # Of tensors that are computed from such numbers alone: how, and from which of them.
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
            raise Untraceable("it draws from a torch.Generator of its own")
        if self.numbers and function is torch.Tensor.__bool__:
            answer = self.decide(given[0])
            if answer is not None:
                return answer
        if function in _READS | _SHOWS and self.varies(given[0]):
            raise Untraceable(_MORE)
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
            # `count += 1` names the tensor anew, which must not come to be called a symbol.
            self.unreadable.add(id(given[0]))
            self._scalars.pop(id(args[0]), None)
            return given[0]
        return result

    # What Python decides by numbers that vary holds as long as it would decide so again.

    def decide(self, tensor: Tensor, raises: bool = False) -> bool | None:
        """The truth of a number that is computed from those that vary; else nothing."""
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
        """Note how a number is computed from those that vary, if it is."""
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
        """Take for granted that Python computes a number as torch does, and raises no error."""
        name = getattr(function, "__name__", "")
        whole = not result.is_floating_point() and name.strip("_").lstrip("r") in ("mul", "pow")
        if not whole and not _FAILING.fullmatch(name):
            return
        _, scalar, of = self._scalars[id(result)]
        fine = Scalar(_is_exact if whole else torch.isfinite, (scalar,))
        with torch._C.DisableTorchFunction(), _disable_current_modes():
            if not fine.value():
                raise Untraceable("Python computes a number there that torch has no equal of")
        self.guards.append(Guard(fine, True, raises=True))
        self.decided |= of

    def varies(self, tensor: Tensor) -> bool:
        """Whether a tensor stands for a number that varies, or is computed from such."""
        symbol = self.symbols.get(id(tensor), tensor)
        return id(tensor) in self.numbers or id(symbol) in self._scalars

    # Pyro tracks which sites a tensor depends on by a subclass of tensors, which symbols cannot be.

    def origin(self, value: Any) -> frozenset:
        """The names of the sites that the tensors in a value depend on."""
        found = (self._origins.get(id(x)) for x in pytree.tree_leaves(value) if torch.is_tensor(x))
        return frozenset().union(*(origin for _, origin in filter(None, found)))

    def derive(self, value: Any, origin: frozenset) -> Any:
        """Say what the tensors in a value depend on besides, and return it."""
        for x in pytree.tree_leaves(value) if origin else ():
            if torch.is_tensor(x):
                self._origins[id(x)] = x, self.origin(x) | origin
        return value

    def _can_read(self, tensor: Tensor) -> bool:
        """Whether a tensor has a value, which is that before the run."""
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
        """Mark what runs inside a program, which may not take numbers for tensors."""
        return marked(self, program)


def marked(mode: Any, program: Callable) -> Callable:
    """A program that says to a mode, by its attribute ``in_program``, when it is running."""
    # In the form of Pyro's handlers, for objectives that look what kind of a guide it is.
    return partial(_run_inside, mode, program)


def _run_inside(mode: Any, program: Callable, *args: Any, **kwargs: Any) -> Any:
    before, mode.in_program = mode.in_program, True
    try:
        return program(*args, **kwargs)
    finally:
        mode.in_program = before


@contextmanager
def _traceable(mode: _Symbolic) -> Iterator[None]:
    """Have Pyro not look at values: the eager run that a graph is compared with has looked."""
    begin: Callable[..., None] = Distribution.__init__

    def unchecked(self: Distribution, *args: Any, validate_args: Any = None, **kwargs: Any) -> None:
        begin(self, *args[:2], validate_args=False, **kwargs)

    def tracked(cls: type, data: Tensor, provenance: frozenset = frozenset()) -> Tensor:
        return mode.derive(data, provenance)

    make, convert, has, hashed = torch.tensor, torch.from_numpy, hasattr, Tensor.__hash__

    def has_attribute(thing: Any, name: str) -> bool:
        if type(thing) in (Tensor, FakeTensor) and mode.in_program and mode.varies(thing):
            asks = str(sys._getframe(1).f_globals.get("__name__", ""))
            if not asks.startswith("torch.") and has(thing, name) is not has(0.0, name):
                raise Untraceable(_MORE)
        return has(thing, name)

    def hash_of(tensor: Tensor) -> int:  # by identity, which is not that of a number
        asks = str(sys._getframe(1).f_globals.get("__name__", ""))
        if mode.in_program and not asks.startswith("torch.") and mode.varies(tensor):
            raise Untraceable(_MORE)
        return hashed(tensor)

    def tensor(data: Any, **kwargs: Any) -> Tensor:  # where a tensor stands in for an array
        return data.detach().clone().to(**kwargs) if torch.is_tensor(data) else make(data, **kwargs)

    def from_numpy(data: Any) -> Tensor:
        return data if torch.is_tensor(data) else convert(data)

    begin_scale = ScaleMessenger.__init__

    def scaled(self: ScaleMessenger, scale: Any) -> None:
        if torch.is_tensor(scale) and mode.decide(scale > 0, raises=True) is False:
            raise Untraceable("a scale is not positive")
        begin_scale(self, scale)

    def tracing() -> bool | None:  # Pyro's objectives ask, on account of TorchScript
        asks = sys._getframe(1).f_globals.get("__name__", "")
        return True if asks.startswith("pyro.") and not mode.in_program else None

    with (
        pyro.validation_enabled(False),
        _without_mkldnn(),
        mock.patch.object(Distribution, "__init__", unchecked),
        mock.patch.object(Distribution, "_validate_sample", return_value=None),
        mock.patch.object(provenance.ProvenanceTensor, "__new__", tracked),
        mock.patch.object(provenance, "extract_provenance", lambda x: (x, mode.origin(x))),
        mock.patch.object(torch._C, "_get_tracing_state", tracing),
        mock.patch.object(ScaleMessenger, "__init__", scaled),
        mock.patch.multiple(math, **_of_tensors()),
        mock.patch.object(builtins, "hasattr", has_attribute),
        mock.patch.object(Tensor, "__hash__", hash_of),
        mock.patch.object(torch, "manual_seed", _seed),
        mock.patch.object(torch, "tensor", tensor),
        mock.patch.object(torch, "from_numpy", from_numpy),
        mock.patch.object(pyro.util, "torch_isnan", return_value=False),
        mock.patch.object(pyro.util, "torch_isinf", return_value=False),
    ):
        yield


@contextmanager
def _without_mkldnn() -> Iterator[None]:
    """Have recurrent networks be the operators that they are made of, which can be traced."""
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(before)


def _of_tensors() -> dict[str, Any]:
    """Functions of numbers that take tensors as well."""

    def either(name: str) -> Callable:
        of_number, of_tensor = getattr(math, name), getattr(torch, name)

        def function(*args: Any) -> Any:
            return (of_tensor if any(map(torch.is_tensor, args)) else of_number)(*args)

        return function

    names = "cos exp expm1 log log1p pow sigmoid sin sqrt tanh"
    return {name: either(name) for name in names.split() if hasattr(math, name)}


def _is_exact(number: Tensor) -> bool:
    """Whether a number is a whole one that 64 bits hold, as an integer of Python is."""
    return bool(number == number.floor()) and bool(number.abs() < _EXACT)


def _seed(seed: int) -> None:
    raise Untraceable("it seeds torch")


def _drawn(now: Any, before: Any) -> bool:
    """Whether NumPy's random state has moved on."""
    return now[2:] != before[2:] or bool((now[1] != before[1]).any())


def _number(value: Any) -> Tensor:
    """One number of a loss as a tensor."""
    return value.detach() if torch.is_tensor(value) else torch.tensor(float(value))


def _like(parameter: Tensor, gradient: Tensor) -> Tensor:
    """A gradient laid out as its parameter is, which fused optimizers take for granted."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def _lift(module: fx.GraphModule) -> list[Tensor]:
    """Make inputs of the tensors that a graph holds, and return them."""
    lifted: dict[str, fx.Node] = {}
    held: list[Tensor] = []
    last = [node for node in module.graph.nodes if node.op == "placeholder"][-1:]
    # No operator runs on a literal until it is copied, and many copies are of nobody's use.
    module.graph.eliminate_dead_code()
    for node in list(module.graph.nodes):
        if node.op != "get_attr":
            continue
        if node.target not in lifted:
            with module.graph.inserting_after(*last):
                lifted[node.target] = module.graph.placeholder(node.target)
            lifted[node.target].meta = dict(node.meta)
            last = [lifted[node.target]]
            held.append(getattr(module, node.target))
        node.replace_all_uses_with(lifted[node.target])
        module.graph.erase_node(node)
    module.recompile()
    return held


def _keep_used(module: fx.GraphModule, first: int, count: int) -> list[int]:
    """Remove those of some inputs that nothing uses, and return which are left."""
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
    used = []
    for number, node in enumerate(inputs[first : first + count]):
        if node.users:
            used.append(number)
        else:
            module.graph.erase_node(node)
    module.recompile()
    return used


def _simplify(module: fx.GraphModule) -> None:
    """Leave out operators that change nothing, which the plain graph would run."""
    for node in module.graph.nodes:
        if node.target in _SAME:
            before, after = (n.meta.get("val") for n in (node.args[0], node))
            if torch.is_tensor(before) and _same_layout(before, after):
                node.replace_all_uses_with(node.args[0])
        elif node.target is torch.ops.aten._linalg_check_errors.default:
            module.graph.erase_node(node)  # it waits for the device; eager steps have looked
    module.graph.eliminate_dead_code()
    module.recompile()


def _same_layout(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype:
        return False
    pairs = ((*one.shape, *one.stride()), (*other.shape, *other.stride()))
    # Sizes that only a run can tell cannot be compared.
    return all(isinstance(n, int) for sizes in pairs for n in sizes) and pairs[0] == pairs[1]


def _cause(error: Exception) -> str:
    said = " ".join(str(error).split())
    if "data-dependent" in said.lower() or "DataDependent" in type(error).__name__:
        return "Python asks for the value of a tensor there, which only a run can tell"
    if "value out of a tracing tensor" in said:
        return "Python asks for the value of a tensor there, which only a run can tell"
    if "DynamicOutputShape" in type(error).__name__:
        return "the shape of a tensor depends on values there, which only a run can tell"
    return f"it raises an error when traced, {brief(error)}"


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith((*_LIBRARIES, "<"))]
    if not own:
        return ""
    return f"{own[-1].filename}:{own[-1].lineno}: {own[-1].line}"
