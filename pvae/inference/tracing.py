"""Tracing of the loss of two Pyro programs to a graph of torch operators."""

import random
import sysconfig
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyro.util
import torch
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from pvae.inference.assertions import Checks
from pvae.inference.bernoulli import draw_as_torch_does
from pvae.inference.passes import keep_used, lift, simplify
from pvae.inference.patches import traceable
from pvae.inference.rollback import is_plain
from pvae.inference.scalars import Guard, Scalar
from pvae.inference.symbolic import Symbolic
from pvae.inference.untraceable import Untraceable, brief

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

    Any ELBO is traced by its own ``loss_and_grads``. When it calls ``loss.item()``, it gets the
    tensor; when it calls ``surrogate.backward()``, the surrogate is recorded, and differentiated in
    the graph.

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
    simplify(graph.module)
    return graph


def difference(graph: Graph, again: Graph) -> str | None:
    """Describe how the graphs of two runs of a program differ; ``None`` if they do not."""
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
    modes: list[Symbolic] = []

    def run(*tensors: Tensor) -> list[Tensor]:
        leaves, rest = tensors[: len(parameters)], tensors[len(parameters) :]
        args, others = rest[: len(inputs)], rest[len(inputs) :]
        mode = Symbolic(parameters, leaves, known, others, checks, scalars)
        modes.append(mode)
        positional, named = arguments(args)
        with traceable(mode), torch.set_grad_enabled(scale is not None):
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
    held = lift(graph.module)
    used = keep_used(graph.module, len(parameters) + len(inputs), len(known))
    graph.live = [*(known[i] for i in used), *held]
    read = {id(tensor) for tensor in graph.read}
    return graph, [tensor for tensor, _ in unknown if id(tensor) not in read]


def _drawn(now: Any, before: Any) -> bool:
    """Whether NumPy's random state has advanced."""
    return now[2:] != before[2:] or bool((now[1] != before[1]).any())


def _number(value: Any) -> Tensor:
    """Convert one number of a loss to a tensor."""
    return value.detach() if torch.is_tensor(value) else torch.tensor(float(value))


def _like(parameter: Tensor, gradient: Tensor) -> Tensor:
    """A gradient laid out as its parameter is, which fused optimizers take for granted."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def _cause(error: Exception) -> str:
    said = " ".join(str(error).split())
    if "data-dependent" in said.lower() or "DataDependent" in type(error).__name__:
        return "Python asks for the value of a tensor there, which is known only in a run"
    if "value out of a tracing tensor" in said:
        return "Python asks for the value of a tensor there, which is known only in a run"
    if "DynamicOutputShape" in type(error).__name__:
        return "the shape of a tensor depends on values there, which are known only in a run"
    return f"it raises an error when traced, {brief(error)}"


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith((*_LIBRARIES, "<"))]
    if not own:
        return ""
    return f"{own[-1].filename}:{own[-1].lineno}: {own[-1].line}"
