"""Stochastic variational inference, compiled."""

import warnings
from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from typing import Any, Literal

import pyro
import torch
from pyro import poutine
from pyro.infer import (
    ELBO,
    SVI,
    JitTrace_ELBO,
    JitTraceEnum_ELBO,
    JitTraceGraph_ELBO,
    JitTraceMeanField_ELBO,
    TraceGraph_ELBO,
)
from pyro.optim import PyroOptim
from pyro.util import warn_if_nan
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from pvae.inference.backends import Backend, best_backend, compile_graph
from pvae.inference.captured import CapturedStep
from pvae.inference.tracing import Graph, Untraceable, trace
from pvae.inference.undo import same_noise, undone
from pvae.inference.update import update_of
from pvae.inference.watch import PLAIN, Watch

CONSTANTS = (*PLAIN, torch.dtype, torch.device)  # arguments that cannot change unnoticed
UNTRACEABLE = (
    *(JitTrace_ELBO, JitTraceEnum_ELBO, JitTraceGraph_ELBO, JitTraceMeanField_ELBO),
    TraceGraph_ELBO,
)
MOST_PROGRAMS = 8  # graphs of one signature, before what changes is taken to change for ever
TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3}  # of a graph, relative to the eager program
TRIES = 3  # a discrete draw may fall on the other side of an edge by rounding, but not every time


class CompiledSVI(SVI):
    r"""`pyro.infer.SVI`, at the speed of hand-compiled code.

    The first step with arguments of a new signature (the shapes, dtypes and devices of tensors, and
    the values of everything else) traces loss and gradients into one graph of torch operators and
    compiles it. From then on no Pyro code runs: a step is that graph and one fused optimizer. ::

        svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO())
        svi = CompiledSVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO())

    On a CPU, Inductor compiles the graph where there is a C++ compiler, and otherwise torch runs
    its operators one by one. On CUDA the whole step, optimizer included, is one CUDA graph, and
    nothing waits for the device until a loss is read.

    *What is a constant.* Programs may read tensors other than their arguments: buffers, attributes,
    globals. The graph reads these anew at every step, so a temperature or a weight that is to
    change is a tensor that is changed in place. Python's numbers are constants of the graph; where
    the loss, a module, a closure or a global that the programs name holds another number than
    before, a new graph is made. So there is one graph for training and one for evaluation mode.

    *What is checked.* Each new graph is compared with the eager program on the same random numbers,
    loss and every gradient. A program whose operations depend on sampled values, or change from run
    to run, has no graph: it is run by `SVI`, and a warning says what is to blame, and on which line
    where there is one. To find all this out the programs are run a few times more at first, which
    is undone for tensors and random numbers, though not for what Python keeps in lists, say. Pyro's
    validation of values looks at these runs, and at no later ones.

    Parameters stay in the parameter store, and are the same tensors. A `PyroOptim` keeps its states
    and settings, and goes on saving and loading them, while one torch optimizer over all parameters
    does its work.

    Args:
        model: a Pyro program: function, method or module.
        guide: another.
        optim: a Pyro optimizer, or a `pvae.inference.Optimizer`. What torch cannot fuse is used as
            it is; what CUDA cannot capture is called after the graph.
        loss: an ELBO of Pyro or of pvae, or a function that returns a loss.
        compile: ``"auto"`` falls back to `SVI` with a warning, ``True`` raises instead.
        backend: ``"inductor"``, ``"graph"`` for torch's operators one by one, ``"auto"`` for
            Inductor where it has a compiler.

    Raises:
        ValueError: from a step with ``compile=True``, if the programs have no graph; the cause and
            the line are named. Also if compile or backend is not one of the above.
        RuntimeError: from a step, if graph and eager program disagree.

    Example:
        >>> import pyro, torch
        >>> import pyro.distributions as dist
        >>> from pvae.inference import CompiledSVI
        >>> def model(x):
        ...     loc = pyro.sample("loc", dist.Normal(0.0, 10.0))
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("x", dist.Normal(loc, 1.0), obs=x)
        >>> guide = pyro.infer.autoguide.AutoNormal(model)
        >>> optim = pyro.optim.Adam({"lr": 0.1})
        >>> svi = CompiledSVI(model, guide, optim, pyro.infer.Trace_ELBO(), backend="graph")
        >>> x = 3 + torch.randn(100)
        >>> losses = [svi.step(x) for _ in range(200)]
        >>> bool((guide.median()["loc"] - x.mean()).abs() < 0.3)
        True
    """

    def __init__(
        self,
        model: Callable,
        guide: Callable,
        optim: PyroOptim,
        loss: ELBO | Callable,
        *,
        compile: Literal["auto", True] = "auto",
        backend: Literal["auto"] | Backend = "auto",
    ) -> None:
        super().__init__(model, guide, optim, loss)
        if compile not in ("auto", True):
            raise ValueError(f"compile is {compile!r}: it must be 'auto' or True; SVI is eager.")
        if backend not in ("auto", "inductor", "graph"):
            raise ValueError(f"backend is {backend!r}: it must be 'auto', 'inductor' or 'graph'.")
        self.strict = compile is True
        self.backend = backend
        self.objective = loss
        self.update = update_of(optim)
        self._programs: dict[Hashable, dict[Hashable, list[_Program]]] = {}
        self._eager: set[Hashable] = set()
        self.learned: dict[int, Tensor] = {}  # parameters that have had gradients
        self._warned = False

    def step(self, *args: Any, **kwargs: Any) -> float | Tensor:
        """Take a gradient step.

        Args:
            *args: arguments of model and guide.
            **kwargs: more of them.

        Returns:
            The loss, as SVI returns it; on CUDA a tensor of one number, which waits for the device
            when it is read, by `float`, say, and not before.
        """
        return self._run(args, kwargs, gradients=True)

    def evaluate_loss(self, *args: Any, **kwargs: Any) -> float | Tensor:
        """Evaluate the loss; arguments and result are those of `step`."""
        return self._run(args, kwargs, gradients=False)

    def _run(self, args: tuple, kwargs: dict, gradients: bool) -> Any:
        # With handlers around a step the programs need to be run; without gradients none is taken.
        if pyro.poutine.runtime._PYRO_STACK or (gradients and not torch.is_grad_enabled()):
            return self._run_eagerly(args, kwargs, gradients)
        if self.optim is not self.update.optim:  # another was put in its place
            self.update = update_of(self.optim)
            self._programs.clear()
        leaves, structure = pytree.tree_flatten((args, kwargs))
        # One graph for all strides.
        leaves = [leaf.contiguous() if torch.is_tensor(leaf) else leaf for leaf in leaves]
        kind, constants = self._signature(leaves, structure, gradients)
        if kind in self._eager:
            return self._run_eagerly(args, kwargs, gradients)
        inputs = [leaf for leaf in leaves if torch.is_tensor(leaf)]
        try:
            if kind not in self._programs:
                self._check_arguments(leaves)
            versions = self._programs.setdefault(kind, {})
            programs = versions.setdefault(constants, [])
            program = self._find(programs, inputs)
            if program is None:
                if len(versions) > MOST_PROGRAMS:
                    raise Untraceable(
                        "an argument that is no tensor changes again and again; what is to change "
                        "from step to step must be a tensor"
                    )
                program = self._make(programs, leaves, structure, gradients)
        except Untraceable as error:
            self._refuse(error)
            self._eager.add(kind)
            return self._run_eagerly(args, kwargs, gradients)
        return program.run(inputs)

    def _check_arguments(self, leaves: list) -> None:
        if isinstance(self.objective, UNTRACEABLE):
            raise Untraceable(f"{type(self.objective).__name__} makes a graph of its own")
        if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
            raise Untraceable("autocast is on, under which numbers have no type of their own")
        for leaf in leaves:
            if torch.is_tensor(leaf):
                if leaf.requires_grad:
                    raise Untraceable(
                        "an argument requires a gradient, which only an eager step gives"
                    )
            elif not isinstance(leaf, CONSTANTS):
                raise Untraceable(
                    f"an argument of type {type(leaf).__name__} cannot be told from what it was"
                )

    def _signature(self, leaves: list, structure: Any, gradients: bool) -> tuple:
        """What a graph is for: kinds of arguments, and the values of those that are no tensors."""
        tensors = tuple(
            (leaf.shape, leaf.dtype, leaf.device, leaf.requires_grad)
            if torch.is_tensor(leaf)
            else type(leaf)
            for leaf in leaves
        )
        values = tuple(leaf for leaf in leaves if isinstance(leaf, CONSTANTS))
        calls = self.model, self.guide, self.loss_and_grads, self.loss
        autocast = torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")
        # As text, since a structure has a hash only in recent versions of torch.
        key = (tensors, str(structure), gradients, self.update.batch_size, autocast, *calls)
        return key, values

    def __getstate__(self) -> dict[str, Any]:
        """What a copy is made of: all but graphs, which it makes for itself."""
        return vars(self) | {"_programs": {}, "learned": {}, "update": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.update = update_of(self.optim)

    def _run_eagerly(self, args: tuple, kwargs: dict, gradients: bool) -> Any:
        if not gradients:
            return super().evaluate_loss(*args, **kwargs)
        for p in self.learned.values():  # as SVI leaves them, by which momentum goes on
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        return super().step(*args, **kwargs)

    def _refuse(self, error: Untraceable) -> None:
        """Say once that there is no graph, or raise."""
        place = f" ({error.place})" if error.place else ""
        said = f"has no static graph: {error.cause}{place}"
        if self.strict:
            raise ValueError(
                f"The program {said}; make it static, or pass compile='auto' to run it eagerly."
            ) from error
        if not self._warned:
            warnings.warn(
                f"The program {said}; it is run eagerly by pyro.infer.SVI.",
                RuntimeWarning,
                stacklevel=4,
            )
        self._warned = True

    def _find(self, programs: list["_Program"], inputs: Sequence[Tensor]) -> "_Program | None":
        """The graph that holds, among those of one signature."""
        for program in list(programs):
            if program.watch.changed() is None:
                if program.registered(inputs):
                    return program
                programs.remove(program)
        return None

    def _make(
        self, programs: list["_Program"], leaves: list, structure: Any, gradients: bool
    ) -> "_Program":
        """Trace, compile and check a graph for arguments like these."""
        if len(programs) >= MOST_PROGRAMS:
            raise Untraceable(
                f"{programs[-1].watch.changed()} changes again and again; what is to change from "
                "step to step must be a tensor that is changed in place"
            )
        program = _Program(self, leaves, structure, gradients)
        programs.append(program)
        return program


class _Program:
    """The graph of one signature, and what it takes to run it."""

    def __init__(self, svi: CompiledSVI, leaves: list, structure: Any, gradients: bool) -> None:
        self.svi = svi
        self.gradients = gradients
        self.scale = 1 / svi.update.batch_size if gradients else None
        self.leaves = [None if torch.is_tensor(leaf) else leaf for leaf in leaves]
        self.holes = [i for i, leaf in enumerate(leaves) if torch.is_tensor(leaf)]
        self.structure = structure
        inputs = [leaf for leaf in leaves if torch.is_tensor(leaf)]
        found, modules = self._look(inputs)
        self.named = found
        self.parameters = list({id(p): p for p in found.values()}.values())
        if any(p._backward_hooks for p in self.parameters):
            raise Untraceable("a parameter has a hook on its gradient, which only eager steps call")
        self.constraints = {name: pyro.get_param_store()._constraints[name] for name in found}
        self.owns: bool | None = None
        self.watch = self._watch(modules)
        self.graph = self._trace(inputs)
        self.watch.versions = self.graph.read
        device = next((t.device for t in (*self.parameters, *inputs)), torch.device("cpu"))
        backend = best_backend(device) if svi.backend == "auto" else svi.backend
        order = [*self.parameters, *inputs, *self.graph.live]
        self.function = compile_graph(self.graph.module, order, backend)
        pairs = list(zip(self.parameters, self.graph.reached, strict=True))
        self.reached = [p for p, reached in pairs if reached]
        self.unreached = [p for p, reached in pairs if not reached]
        self._check(inputs)
        if gradients:
            svi.learned |= {id(p): p for p in self.reached}
            svi.update.prepare(self.parameters)
        self.captured = None
        can = device.type == "cuda" and all(t.device == device for t in order)
        if can and (svi.update.capturable or not gradients):
            self.captured = CapturedStep(self._compute_and_update, inputs, svi.update)

    # Running -----------------------------------------------------------------------------------

    def run(self, inputs: Sequence[Tensor]) -> Any:
        """Take a step, or evaluate the loss, and return the loss."""
        if self.captured is not None:
            return self._joined(self.captured(inputs))
        loss = self._compute_and_update(inputs)
        if loss[0].is_cuda:
            return self._joined(loss)
        loss = self._joined([value.item() for value in loss])
        if isinstance(loss, float):
            warn_if_nan(loss, "loss")
        return loss

    def _joined(self, values: Sequence[Any]) -> Any:
        return pytree.tree_unflatten(values, self.graph.loss)

    def _compute_and_update(self, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        loss, gradients = self._compute(inputs)
        if self.gradients:
            for parameter, gradient in gradients:
                parameter.grad = gradient
            # SVI leaves zeros behind, by which momentum goes on.
            learned = self.svi.learned
            idle = [p for p in self.unreached if p.grad is None and id(p) in learned]
            for parameter in idle:
                parameter.grad = torch.zeros_like(parameter)
            self.svi.update(self.parameters)
            for parameter in (*(p for p, _ in gradients), *idle):
                parameter.grad = None
        return loss

    def _compute(
        self, inputs: Sequence[Tensor]
    ) -> tuple[Sequence[Tensor], list[tuple[Tensor, Tensor]]]:
        with torch.no_grad():
            values = self.function(*self.parameters, *inputs, *self.graph.live)
        numbers = self.graph.loss.num_leaves
        return values[:numbers], list(zip(self.reached, values[numbers:], strict=True))

    def registered(self, inputs: Sequence[Tensor]) -> bool:
        """Whether the program's parameters are in the store, or are its own to put there again.

        Two models whose parameters have the same names take turns in the store, where each puts its
        own when it is run. Whether this one does, an eager run tells, once.
        """
        store = pyro.get_param_store()
        lost = [(n, p) for n, p in self.named.items() if store._params.get(n) is not p]
        if not lost:
            return True
        if self.owns is None:
            found, _ = self._look(inputs)
            self.owns = all(found.get(name) is p for name, p in lost)
        if self.owns:
            for name, p in lost:
                if name in store:
                    del store[name]
                store._params[name], store._param_to_name[p] = p, name
                store._constraints[name] = self.constraints[name]
        return self.owns

    # Making ------------------------------------------------------------------------------------

    def _arguments(self, inputs: Sequence[Tensor]) -> tuple[tuple, dict]:
        leaves = list(self.leaves)
        for place, x in zip(self.holes, inputs, strict=True):
            leaves[place] = x
        return pytree.tree_unflatten(leaves, self.structure)

    def _eager(self, inputs: Sequence[Tensor]) -> Any:
        svi = self.svi
        args, kwargs = self._arguments(inputs)
        call = svi.loss_and_grads if self.gradients else svi.loss
        with nullcontext() if self.gradients else torch.no_grad():
            return call(svi.model, svi.guide, *args, **kwargs)

    def _look(self, inputs: Sequence[Tensor]) -> tuple[dict[str, Tensor], list[nn.Module]]:
        """Run the eager program, for the parameters and modules that it uses.

        What is made when first used, such as the sites of an autoguide, is made here.
        """
        called: dict[int, nn.Module] = {}
        hook = nn.modules.module.register_module_forward_pre_hook(
            lambda module, _: called.setdefault(id(module), module) and None
        )
        try:
            with undone(), poutine.trace(param_only=True) as params:
                self._eager(inputs)
        finally:
            hook.remove()
        sites = params.trace.nodes.items()
        found = {name: site["value"].unconstrained() for name, site in sites}
        for leaf in found.values():
            leaf.grad = None  # of this run
        return found, list(called.values())

    def _watch(self, modules: list[nn.Module]) -> Watch:
        svi, watch = self.svi, Watch()
        for program in (svi.model, svi.guide, svi.objective):
            bare = poutine.unwrap(program)
            owner = getattr(bare, "__self__", bare)
            if isinstance(owner, nn.Module):
                modules = [*modules, *owner.modules()]
            watch.follow(program, "the program")
            watch.follow(bare, "the program")
        for module in modules:
            watch.follow(module, type(module).__name__)
        for parameter in self.parameters:
            watch.add_tensor(parameter)
        return watch

    def _trace(self, inputs: Sequence[Tensor]) -> Graph:
        svi = self.svi
        call = svi.loss_and_grads if self.gradients else svi.loss
        read: list[Tensor] = []
        try:
            graph = trace(
                call, svi.model, svi.guide, self.parameters, inputs, self._arguments, self.scale
            )
            read = graph.live
        finally:
            changed = self.watch.settle(read)
        if changed is not None:
            raise Untraceable(
                f"{changed} is given another value at each run; what is to change from step to "
                "step must be a tensor that is changed in place"
            )
        return graph

    def _check(self, inputs: Sequence[Tensor]) -> None:
        """Compare loss and gradients with the eager program's, under the same noise."""
        with same_noise():
            for attempt in range(TRIES):
                if attempt:
                    pyro.set_rng_seed(attempt)
                found = self._compare(inputs)
                if found is None:
                    return
        raise RuntimeError(
            f"The compiled graph disagrees with the eager program on the same random numbers: "
            f"{found}; try backend='graph', or run it by pyro.infer.SVI (pvae.fit: compile=False)."
        )

    def _compare(self, inputs: Sequence[Tensor]) -> str | None:
        with undone(self.parameters) as written:
            loss = pytree.tree_leaves(self._eager(inputs))
            eager = [None if p.grad is None else p.grad * self.scale for p in self.parameters]
            changing = [t for t in self.graph.live if written(t)]
            if any(written(x) for x in inputs):
                raise Untraceable("it changes an argument in place")
            after = [t.clone() for t in changing]
        before = [t.clone() for t in changing]
        with same_noise(), torch.no_grad():
            values, gradients = self._compute(inputs)
            compiled = {id(p): gradient.clone() for p, gradient in gradients}
            ours = [t.clone() for t in changing]
            for tensor, value in zip(changing, before, strict=True):
                tensor.copy_(value)
        for value, reference in zip(values, loss, strict=True):
            if not _close(value, torch.as_tensor(reference), float(abs(reference))):
                return f"the loss is {float(value):.8g} against {float(reference):.8g}"
        largest = max((float(g.abs().max()) for g in eager if g is not None), default=0.0)
        for p, gradient in zip(self.parameters, eager, strict=True):
            if not _close_or_none(compiled.get(id(p)), gradient, largest):
                name = next(name for name, other in self.named.items() if other is p)
                return f"the gradient of {name} differs"
        if not all(_close(a, b, float(b.abs().max())) for a, b in zip(ours, after, strict=True)):
            return "a tensor that it changes in place differs"
        return None


def _close(value: Tensor, reference: Tensor, scale: float) -> bool:
    if value.numel() == 0:
        return True
    tolerance = TOLERANCES.get(reference.dtype, 0.05) * scale
    difference = (value.to(reference) - reference).abs()
    same = (difference <= tolerance) | (value.to(reference) == reference)
    return bool((same | (value.isnan() & reference.isnan())).all())


def _close_or_none(value: Tensor | None, reference: Tensor | None, largest: float) -> bool:
    """Compare gradients; none and zero are the same."""
    if value is None or reference is None:
        given = value if reference is None else reference
        return given is None or not given.any()
    # What cancels in one gradient is as large as rounding in the others.
    scale = max(float(reference.abs().max()) if reference.numel() else 0.0, 1e-3 * largest)
    return _close(value, reference, scale)
