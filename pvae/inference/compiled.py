"""Compiled stochastic variational inference for any Pyro program."""

import time
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import pyro
import torch
from pyro.infer import ELBO, SVI
from pyro.optim import PyroOptim
from torch import Tensor
from torch.utils import _pytree as pytree

from pvae.inference.arguments import (
    check_arguments,
    check_kept,
    flatten_arguments,
    kind_of,
    layout_of,
)
from pvae.inference.backends import Backend
from pvae.inference.eager_step import EagerStep
from pvae.inference.program import Program
from pvae.inference.rollback import undone
from pvae.inference.run import RunRecord, observed, watch_of
from pvae.inference.stand_in import are_tensors, varying_spots
from pvae.inference.state import Change
from pvae.inference.untraceable import Disagreement, Unmet, Untraceable, brief, shown, wrong
from pvae.inference.update import update_of

MOST_KINDS = 8  # maximum number of kinds of arguments with graphs
MOST_PROGRAMS = 8  # maximum number of graphs of one kind; more mean that a value always changes
MOST_SECONDS = 60.0  # total time for making graphs, after which no third one is made


class CompiledSVI(SVI):
    r"""A compiled `pyro.infer.SVI`, as fast as hand-compiled code.

    The first step with arguments of a new kind (the shapes, dtypes and devices of tensors, and the
    types of everything else) is SVI's own; in it programs create what they create on a first run.
    Then loss and gradients are traced into one graph of torch operators and compiled. From then on
    no Pyro code runs: a step is that graph and one fused optimizer. ::

        svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO())
        svi = CompiledSVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO())

    On a CPU, Inductor compiles the graph if there is a C++ compiler, where that pays for threads
    that each take a part of the minibatch; otherwise torch runs its operators one by one. On CUDA
    the whole step is one CUDA graph, optimizer included; nothing waits until a loss is read.

    *What is a constant.* Programs may read tensors other than their arguments: buffers, attributes,
    globals. The graph reads these at every step, so changes in place need no new graph.
    Python's values are constants of the graph: attributes, elements of containers, closures,
    defaults, globals, attributes of classes and modules that the programs reach and that their code
    names. All of them are compared at every step, by identity. If one changed, a new graph is made;
    if it is a number, an array or a tensor, and is only computed with or compared, it becomes an
    input of that graph, so that an annealed weight needs two graphs and not one for each value.
    Decisions of Python by such a number are checked at every step. A number that is read in
    another way (as an index, a key, a text, an integer, by its type or identity) stays a constant,
    with a graph for each value. There is one graph for training and one for evaluation mode.

    *What is checked.* Each new graph is compared with the eager program on the same random numbers,
    loss and every gradient, and again at its 2nd, 4th, 8th, ... step, which costs less than 1% from
    10,000 steps on. In these runs Pyro validates values, as in every step of SVI; `check` does it
    on request. They are undone: tensors, random states, Python's values and the parameter store are
    restored. Assertions, and conditions for raising errors, are checked in every step.

    *Programs without a graph* are run by `SVI`, and a warning names the cause, and the line if it
    is known: operations that depend on sampled values, Python values that differ in each run,
    arguments of more than eight kinds, graphs that together take over a minute to make, or a graph
    that disagrees with the eager program twice.

    Parameters stay in the parameter store, and are the same tensors. A `PyroOptim` keeps its states
    and settings, and still saves and loads them, but one torch optimizer over all parameters does
    the updates; several may share it.

    Args:
        model: a Pyro program: function, method or module.
        guide: another.
        optim: a Pyro optimizer, or a `pvae.inference.Optimizer`. Optimizers that torch cannot fuse,
            or of a class of your own, are called unchanged; those that CUDA cannot capture are
            called after the graph.
        loss: an ELBO of Pyro or of pvae, or a function that returns a loss.
        *args: further arguments of SVI.
        compile: ``"auto"`` falls back to `SVI` with a warning, ``True`` raises instead.
        backend: ``"inductor"``, ``"graph"`` for torch's operators one by one, ``"auto"`` for
            Inductor if it has a compiler.
        warm_up: whether the first step of each kind is SVI's own. Without it a graph takes the
            first step too, unless the programs create something in it or change Python's state, so
            that resumed training rounds like uninterrupted training.
        **kwargs: further arguments of SVI.

    Raises:
        ValueError: from a step with ``compile=True``, if the programs have no graph; the message
            names cause and line. Also if compile or backend is not one of the above.
        RuntimeError: from a step with ``compile=True``, if graph and eager program disagree.

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
        *args: Any,
        compile: Literal["auto", True] = "auto",
        backend: Literal["auto"] | Backend = "auto",
        warm_up: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, guide, optim, loss, *args, **kwargs)
        if compile is not True and not (isinstance(compile, str) and compile == "auto"):
            raise ValueError(f"compile is {shown(compile)}: it must be 'auto' or True.")
        if not isinstance(backend, str) or backend not in ("auto", "inductor", "graph"):
            given = shown(backend)
            raise ValueError(f"backend is {given}: it must be 'auto', 'inductor' or 'graph'.")
        self.strict = compile is True
        self.backend = backend
        self.warm_up = warm_up
        self.objective = loss
        self.update = update_of(optim)
        self._programs: dict[Hashable, list[Program]] = {}
        self._eager: set[Hashable] = set()
        self._fixed: set[tuple[int, Any]] = set()  # values that cannot be inputs of a graph
        self._made_anew: set[Hashable] = set()  # kinds whose graph has once proved wrong
        # Within `unwatched`, the graphs that were found valid, by the layout of the arguments.
        self._unwatched: dict[Hashable, Program] | None = None
        self._seconds = 0.0
        self._warned = False

    def step(self, *args: Any, **kwargs: Any) -> float | Tensor:
        """Take a gradient step.

        Args:
            *args: arguments of model and guide.
            **kwargs: more of them.

        Returns:
            The loss, as SVI returns it; on CUDA a scalar tensor, which waits for the device only
            when it is read, for example by `float`.
        """
        return self._run(args, kwargs, gradients=True)

    def evaluate_loss(self, *args: Any, **kwargs: Any) -> float | Tensor:
        """Evaluate the loss; arguments and result are those of `step`."""
        return self._run(args, kwargs, gradients=False)

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """Take steps without looking for changes of what programs read from Python.

        For a loop in which nothing but the steps changes the programs, such as an epoch: the
        comparison of Python's values takes as long as small matrix products. It is made at the
        first step with arguments of a layout, and when the graph is checked. Tensors may change in
        place. Programs that read numbers that change are compared at every step, as always.
        """
        self._unwatched = {}
        try:
            yield
        finally:
            self._unwatched = None

    def check(self, *args: Any, **kwargs: Any) -> None:
        """Run the eager program, with Pyro's validation of values, and compare it with the graph.

        Nothing is updated. Steps do this by themselves at growing intervals.

        Args:
            *args: arguments as of `step`.
            **kwargs: more of them.

        Raises:
            RuntimeError: if graph and eager program disagree.
            ValueError: if a value is outside of its support, as SVI raises it.
        """
        leaves, structure = flatten_arguments(args, kwargs)
        programs = self._programs.get(self._kind(leaves, structure, True), [])
        inputs = [leaf for leaf in leaves if torch.is_tensor(leaf)]
        with pyro.validation_enabled(True):
            program = self._find(programs, leaves, inputs)
            if program is None:
                with undone():
                    self.loss_and_grads(self.model, self.guide, *args, **kwargs)
                return
            try:
                program.check(inputs)
            except Disagreement as error:
                raise wrong(error) from error

    def _run(self, args: tuple, kwargs: dict, gradients: bool) -> Any:
        # Handlers around a step need the programs to run; without gradients there is no step.
        if pyro.poutine.runtime._PYRO_STACK or (gradients and not torch.is_grad_enabled()):
            return self._run_eagerly(args, kwargs, gradients)
        if self.optim is not self.update.optim:  # it was replaced
            self.update = update_of(self.optim)
            self._programs.clear()
            if self._unwatched:
                self._unwatched.clear()
        valid = self._unwatched
        layout = None if valid is None else layout_of(args, kwargs)
        key = layout and (layout, gradients, self.update.batch_size)
        if valid and key in valid and not valid[key].is_due:
            try:
                return valid[key].run(args)
            except (Unmet, Untraceable):  # told apart below, and nothing has been updated
                valid.clear()
        leaves, structure = flatten_arguments(args, kwargs)
        kind = self._kind(leaves, structure, gradients)
        if kind in self._eager:
            return self._run_eagerly(args, kwargs, gradients)
        inputs = [leaf for leaf in leaves if torch.is_tensor(leaf)]
        try:
            if kind not in self._programs:
                check_arguments(leaves, self.objective)
                self._check_count()
            program = self._program(kind, leaves, inputs)
            if program is not None:
                if valid is not None and key and program.reads_no_values:
                    valid[key] = program
                return program.run(inputs)
        except Unmet:  # the program raises, or takes its other branch
            return self._run_eagerly(args, kwargs, gradients)
        except Untraceable as error:
            self._refuse(error)
            self._eager.add(kind)
            return self._run_eagerly(args, kwargs, gradients)
        self.update.fit()
        # Before the programs run again: they may replace attributes of their own, as autoguides do.
        made = self._programs.get(kind)
        changes = made[-1].watch.changes() if made else []
        if not self.warm_up:
            return self._begin(kind, leaves, structure, gradients, changes, args, kwargs)
        # The first step is SVI's own: programs create there what they create on a first run.
        given = pytree.tree_leaves((args, kwargs))
        with observed() as run:
            loss = self._run_eagerly(args, kwargs, gradients)
        try:
            check_kept(args, kwargs, given)
            self._make(kind, leaves, structure, gradients, changes, run)
        except Untraceable as error:
            self._refuse(error)
            self._eager.add(kind)
        return loss

    def _begin(
        self,
        kind: Hashable,
        leaves: list,
        structure: Any,
        gradients: bool,
        changes: Sequence[Change],
        args: tuple,
        kwargs: dict,
    ) -> Any:
        """Take the first step by a graph, or by SVI if the programs create something in it."""
        given = pytree.tree_leaves((args, kwargs))
        step = EagerStep(self, gradients, args, kwargs)
        taken: list = []  # the loss, once the step is taken
        try:
            check_kept(args, kwargs, given)
            arrays = [leaf for leaf in leaves if isinstance(leaf, np.ndarray)]
            constants = [None if torch.is_tensor(leaf) else leaf for leaf in leaves]
            if not step.repeats(watch_of(self, step.run, constants, arrays)):
                taken.append(step.take())
            program = self._make(kind, leaves, structure, gradients, changes, step.run)
            if not taken:
                taken.append(program.run([leaf for leaf in leaves if torch.is_tensor(leaf)]))
        except Unmet:
            pass
        except Untraceable as error:
            taken = taken or [step.take()]
            self._refuse(error)
            self._eager.add(kind)
        return taken[0] if taken else step.take()

    def _check_count(self) -> None:
        if len(self._programs) >= MOST_KINDS:
            raise Untraceable(
                f"its arguments are of more than {MOST_KINDS} kinds (shapes and types), of which "
                "each needs its own graph"
            )

    def _kind(self, leaves: list, structure: Any, gradients: bool) -> Hashable:
        calls = self.model, self.guide, self.loss_and_grads, self.loss
        return kind_of(leaves, structure, (gradients, self.update.batch_size), calls)

    def __getstate__(self) -> dict[str, Any]:
        """The state of a copy: everything except graphs, which it makes itself."""
        fresh: dict[str, Any] = {"_programs": {}, "update": None, "_eager": set(), "_fixed": set()}
        return vars(self) | fresh | {"_made_anew": set(), "_unwatched": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.update = update_of(self.optim)

    def _run_eagerly(self, args: tuple, kwargs: dict, gradients: bool) -> Any:
        call = super().step if gradients else super().evaluate_loss
        return call(*args, **kwargs)

    def _refuse(self, error: Untraceable) -> None:
        """Warn once that there is no graph, or raise."""
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

    # Graphs --------------------------------------------------------------------------------------

    def _program(self, kind: Hashable, leaves: list, inputs: Sequence[Tensor]) -> Program | None:
        """The valid graph, if there is one, after a check if it is due."""
        try:
            program = self._find(self._programs.get(kind, []), leaves, inputs)
        except RecursionError as error:
            raise Untraceable("it reads Python values too deep to be compared") from error
        if program is None or not program.is_due:
            return program
        try:
            program.check(inputs)
        except Disagreement as error:
            # A value that it reads has changed undetected, or its code is wrong.
            self._programs[kind].remove(program)
            if self.strict and kind in self._made_anew:
                raise wrong(error) from error
            if kind in self._made_anew:
                raise Untraceable(
                    f"its graph disagrees with it again and again, {error}"
                ) from error
            self._made_anew.add(kind)
            return None
        return program

    def _find(
        self, programs: list[Program], leaves: list, inputs: Sequence[Tensor]
    ) -> Program | None:
        """The valid graph among those of one kind."""
        for program in programs:
            holds = program.take(leaves) and program.watch.same() and program.registered(inputs)
            if holds and program.same_decisions():
                return program
        for program in list(programs):
            if program.watch.changed() is None and program.same_decisions():
                if program.registered(inputs):
                    program.expect_equals()
                    return program
                programs.remove(program)
        return None

    def _make(
        self,
        kind: Hashable,
        leaves: list,
        structure: Any,
        gradients: bool,
        changes: Sequence[Change],
        run: RunRecord,
    ) -> Program:
        """Make a graph, after changes to what the last one read: trace, compile and check it."""
        programs = self._programs.setdefault(kind, [])
        graphs = sum(map(len, self._programs.values()))
        if len(programs) >= MOST_PROGRAMS:
            what = str(changes[0]) if changes else programs[-1].watch.changed()
            if what is None:
                decided = not programs[-1].same_decisions()
                what = "a number that Python decides by" if decided else "what Python reads"
            raise Untraceable(
                f"{what} changes again and again; values that change from "
                "step to step must be tensors that are changed in place"
            )
        # No limit with compile=True, or without a first step of SVI.
        patient = self.strict or not self.warm_up
        if graphs > 1 and self._seconds > MOST_SECONDS and not patient:
            raise Untraceable(
                f"its {graphs} graphs took {self._seconds:.0f} seconds to make, and another is due"
            )
        began = time.perf_counter()
        try:
            program = self._varying(programs, leaves, structure, gradients, changes, run)
            if program is None:
                program = Program(self, leaves, structure, gradients, run)
        except Disagreement as error:
            if self.strict:
                raise wrong(error) from error
            raise Untraceable(f"its graph disagrees with it, {error}") from error
        except (Untraceable, Unmet):
            raise
        except Exception as error:
            raise Untraceable(f"its graph cannot be made, {brief(error)}") from error
        finally:
            self._seconds += time.perf_counter() - began
        programs.append(program)
        return program

    def _varying(
        self,
        programs: list[Program],
        leaves: list,
        structure: Any,
        gradients: bool,
        changes: Sequence[Change],
        run: RunRecord,
    ) -> Program | None:
        """A graph with changing values as inputs, if tensors can stand in for all of them."""
        found = varying_spots(programs[-1] if programs else None, leaves, changes)
        if found is None:
            return None
        places, values = found
        keys = {(id(spot.holder), spot.key) for spot in places}
        asks = [run, *(program.observed for program in programs)]
        if any(one.executed.asks_types for one in asks) and not all(
            are_tensors(values[spot], which) for spot, which in places.items()
        ):
            return None
        if not places or keys & self._fixed:
            return None
        try:
            return Program(self, leaves, structure, gradients, run, varying=places)
        except Unmet:
            raise
        except Exception:  # it cannot be an input, but may be a constant
            self._fixed |= keys
            return None
