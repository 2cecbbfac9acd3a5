"""From a loss that runs two Pyro programs to a graph of torch operators."""

import random
import re
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
from pyro import poutine
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensor
from torch.distributions import Distribution
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes

from pvae.inference.coins import draw_as_torch_does

_READS = {
    torch.Tensor.item,
    torch.Tensor.tolist,
    torch.Tensor.numpy,
    torch.Tensor.__bool__,
    torch.Tensor.__int__,
    torch.Tensor.__float__,
    torch.Tensor.__index__,
}
_IN_PLACE = re.compile(r"[a-z]\w*[a-z0-9]_|__i(add|sub|mul|truediv|floordiv|mod|pow|and|or|xor)__")
_SAME = {  # operators that return their first argument when the shape stays as it was
    torch.ops.aten.view.default,
    torch.ops.aten._unsafe_view.default,
    torch.ops.aten.reshape.default,
    torch.ops.aten.expand.default,
    torch.ops.aten.alias.default,
}
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


class Untraceable(Exception):
    """A program whose operations are not the same at every step.

    Attributes:
        cause: what was met, as a clause.
        place: where, as ``file:line: code``; empty where no line is to blame.
    """

    def __init__(self, cause: str, place: str = "") -> None:
        self.cause = cause
        self.place = place
        super().__init__(f"{cause} ({place})" if place else cause)


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
        read: tensors whose values Python read, with the versions they had. They are constants of
            the graph, which must not be used when they change.
    """

    module: fx.GraphModule
    live: list[Tensor]
    loss: pytree.TreeSpec
    reached: list[bool] = field(default_factory=list)
    read: list[tuple[Tensor, int]] = field(default_factory=list)


def trace(
    call: Callable[..., Any],
    model: Callable,
    guide: Callable,
    parameters: Sequence[Tensor],
    inputs: Sequence[Tensor],
    arguments: Callable[[Sequence[Tensor]], tuple[tuple, dict]],
    scale: float | None,
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

    Raises:
        Untraceable: if the programs' operations depend on values, or differ between two runs.
    """
    # Tensors of their own: the programs may reach an argument by another way as well.
    inputs = [x.detach().clone() for x in inputs]
    run = partial(_trace, call, model, guide, parameters, inputs, arguments, scale)
    # What the programs reach by themselves shows in a first run, and is a symbol in the next. Were
    # it none, torch would take single numbers for constants.
    states = random.getstate(), np.random.get_state()
    try:
        met = run(None).live
        graph = run(met)
        drawn = random.getstate() != states[0] or _drawn(np.random.get_state(), states[1])
        again = run(met)
    finally:
        random.setstate(states[0]), np.random.set_state(states[1])
    if drawn:
        raise Untraceable("it draws random numbers by Python or NumPy, not by torch")
    _check_same(graph, again)
    draw_as_torch_does(graph.module)
    _simplify(graph.module)
    return graph


def _trace(
    call: Callable[..., Any],
    model: Callable,
    guide: Callable,
    parameters: Sequence[Tensor],
    inputs: Sequence[Tensor],
    arguments: Callable[[Sequence[Tensor]], tuple[tuple, dict]],
    scale: float | None,
    met: list[Tensor] | None,
) -> Graph:
    graph = Graph(fx.GraphModule({}, fx.Graph()), [], pytree.tree_structure(0.0))
    known = [*parameters, *(met or [])]
    seen: dict[int, tuple[Tensor, Tensor]] = {}

    def run(*tensors: Tensor) -> list[Tensor]:
        leaves, rest = tensors[: len(parameters)], tensors[len(parameters) :]
        args, others = rest[: len(inputs)], rest[len(inputs) :]
        mode = _Symbolic(dict(zip(map(id, known), (*leaves, *others), strict=True)), seen)
        positional, named = arguments(args)
        with _traceable(mode), torch.set_grad_enabled(scale is not None):
            with mode:
                loss = call(mode.program(model), mode.program(guide), *positional, **named)
            values, graph.loss = pytree.tree_flatten(loss)
            graph.read = mode.read
            outputs = [_number(value) for value in values]
            surrogate = sum(mode.surrogates)
            if not torch.is_tensor(surrogate) or not surrogate.requires_grad:
                graph.reached = [False] * len(leaves)
                return outputs
            wanted = [leaf for leaf in leaves if leaf.requires_grad]
            found = iter(torch.autograd.grad(surrogate * scale, wanted, allow_unused=True))
            gradients = [next(found) if leaf.requires_grad else None for leaf in leaves]
        graph.reached = [gradient is not None for gradient in gradients]
        pairs = zip(leaves, gradients, strict=True)
        return outputs + [_like(leaf, g) for leaf, g in pairs if g is not None]

    try:
        tracer = make_fx(run, tracing_mode="fake", _allow_non_fake_inputs=True)
        graph.module = tracer(*parameters, *inputs, *(met or []))
    except Untraceable as error:
        raise Untraceable(error.cause, _place(error)) from error
    except Exception as error:
        raise Untraceable(_cause(error), _place(error)) from error
    finally:
        for tensor, before in seen.values():
            if tensor is not before and not torch.equal(tensor, before):
                with torch.no_grad():
                    tensor.copy_(before)
    held = _lift(graph.module)
    read = {id(tensor) for tensor, _ in graph.read}
    found = [tensor for tensor, _ in seen.values() if id(tensor) not in read]
    graph.live = found if met is None else [*met, *held]
    return graph


class _Symbolic(TorchFunctionMode):
    """Have Pyro programs and objectives run on symbols.

    Wherever a parameter is met, in a module, in the parameter store or in a closure, its symbol
    takes its place.

    Args:
        symbols: those of known tensors, by their identity.
        met: gathers the other tensors that were there before, and copies of the single numbers
            among them, which torch takes for constants and computes with.
    """

    def __init__(self, symbols: dict[int, Tensor], met: dict[int, tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.symbols = symbols
        self.met = met
        self.surrogates: list[Tensor] = []
        self.read: list[tuple[Tensor, int]] = []
        self.in_program = False

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        given = args
        if kwargs and kwargs.get("generator") is not None:
            raise Untraceable("it draws from a torch.Generator of its own")
        args, kwargs = pytree.tree_map_only(
            Tensor,
            self._symbol,
            (args, kwargs or {}),
            is_leaf=lambda value: isinstance(value, torch.Size),  # it would become a tuple
        )
        if function in _READS and not isinstance(args[0], FakeTensor):
            self.read.append((args[0], args[0]._version))
            with _disable_current_modes():
                return function(*args, **kwargs)
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
        # `count += 1` names the tensor anew, which must not come to be called a symbol.
        return given[0] if _IN_PLACE.fullmatch(getattr(function, "__name__", "")) else result

    def _symbol(self, tensor: Tensor) -> Tensor:
        symbol = self.symbols.get(id(tensor), tensor)
        known = isinstance(symbol, FakeTensor) or symbol.is_meta or id(symbol) in self.met
        if not known:
            with _disable_current_modes(), torch.no_grad():
                self.met[id(symbol)] = symbol, symbol.clone() if symbol.numel() == 1 else symbol
        return symbol

    def program(self, program: Callable) -> Callable:
        """Mark what runs inside a program, which may not take numbers for tensors."""

        def run(*args: Any, **kwargs: Any) -> Any:
            before, self.in_program = self.in_program, True
            try:
                return program(*args, **kwargs)
            finally:
                self.in_program = before

        run.__wrapped__ = poutine.unwrap(program)  # some ELBOs look what kind of a guide it is
        return run


@contextmanager
def _traceable(mode: _Symbolic) -> Iterator[None]:
    """Have Pyro not look at values: the eager run that a graph is compared with has looked."""
    begin = Distribution.__init__

    def unchecked(self: Distribution, *args: Any, validate_args: Any = None, **kwargs: Any) -> None:
        begin(self, *args[:2], validate_args=False, **kwargs)

    def tracing() -> bool | None:  # Pyro's objectives ask, on account of TorchScript
        return None if mode.in_program else True

    with (
        pyro.validation_enabled(False),
        mock.patch.object(Distribution, "__init__", unchecked),
        mock.patch.object(Distribution, "_validate_sample", return_value=None),
        mock.patch.object(torch._C, "_get_tracing_state", tracing),
        mock.patch.object(torch, "manual_seed", _seed),
        mock.patch.object(pyro.util, "torch_isnan", return_value=False),
        mock.patch.object(pyro.util, "torch_isinf", return_value=False),
    ):
        yield


def _seed(seed: int) -> None:
    raise Untraceable("it seeds torch")


def _drawn(now: tuple, before: tuple) -> bool:
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


def _check_same(graph: Graph, again: Graph) -> None:
    """Refuse a program whose operations or constants differ between two runs."""
    before, after = (g.module.code.splitlines() for g in (graph, again))
    for one, other in zip(before, after, strict=False):
        if one != other:
            raise Untraceable(
                f"its operations differ between two runs: {one.strip()} became {other.strip()}"
            )
    if len(before) != len(after):
        raise Untraceable("its operations differ between two runs: one run has more than the other")
    if any(isinstance(tensor, FakeTensor) for tensor in (*graph.live, *again.live)):
        raise Untraceable("it keeps tensors of one run for the next")
    for one, other in zip(graph.live, again.live, strict=True):
        if one is not other and not torch.equal(one, other):
            raise Untraceable("it makes a tensor of numbers that torch did not draw")


def _simplify(module: fx.GraphModule) -> None:
    """Leave out operators that change nothing, which the plain graph would run."""
    for node in module.graph.nodes:
        if node.target in _SAME:
            before, after = (n.meta.get("val") for n in (node.args[0], node))
            if torch.is_tensor(before) and _layout(before) == _layout(after):
                node.replace_all_uses_with(node.args[0])
        elif node.target is torch.ops.aten._linalg_check_errors.default:
            module.graph.erase_node(node)  # it waits for the device; eager steps have looked
    module.graph.eliminate_dead_code()
    module.recompile()


def _layout(tensor: Tensor) -> tuple:
    return tensor.shape, tensor.stride(), tensor.dtype


def _cause(error: Exception) -> str:
    said = " ".join(str(error).split())
    if "data-dependent" in said.lower() or "DataDependent" in type(error).__name__:
        return "Python asks for the value of a tensor there, which only a run can tell"
    if "value out of a tracing tensor" in said:
        return "Python asks for the value of a tensor there, which only a run can tell"
    if "DynamicOutputShape" in type(error).__name__:
        return "the shape of a tensor depends on values there, which only a run can tell"
    return f"it raises {type(error).__name__} when traced: {said[:200]}"


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith((*_LIBRARIES, "<"))]
    if not own:
        return ""
    return f"{own[-1].filename}:{own[-1].lineno}: {own[-1].line}"
