"""Compiled programs: the graph of loss and gradients for one kind of arguments, and its checks."""

import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pyro
import torch
from pyro.util import warn_if_nan
from torch import Tensor
from torch.utils import _pytree as pytree

from pvae.inference.agreement import Terms, close, close_or_none, size
from pvae.inference.backends import best_backend, compile_graph, is_compiled, on_cpu
from pvae.inference.cuda_graph import CapturedStep
from pvae.inference.equality import ATOMS, equal
from pvae.inference.flattening import LEAF, flatten
from pvae.inference.rollback import put_back, same_noise, undone
from pvae.inference.run import RunRecord, observed, watch_of
from pvae.inference.shards import Shards, split
from pvae.inference.stand_in import Spot, StandIn
from pvae.inference.state import Place
from pvae.inference.symbolic import MORE
from pvae.inference.tracing import Graph, difference, trace
from pvae.inference.untraceable import Disagreement, Unmet, Untraceable, brief

TRIES = 3  # a discrete draw may fall on the other side of an edge by rounding, but not every time


class Program:
    """The graph for one kind of arguments, with the state needed to run it.

    Args:
        svi: the `CompiledSVI` whose programs these are.
        leaves: the arguments, flattened.
        structure: the structure that rebuilds them.
        gradients: whether to take a step, or only evaluate the loss.
        run: a run of the programs on such arguments.
        varying: the values that change, and which of their parts become inputs of the graph.

    Raises:
        Untraceable: if the programs have no graph.
        Disagreement: if graph and eager program disagree.
    """

    def __init__(
        self,
        svi: Any,
        leaves: list,
        structure: Any,
        gradients: bool,
        run: RunRecord,
        varying: Mapping[Spot, frozenset[int]] = types.MappingProxyType({}),
    ) -> None:
        self.svi = svi
        self.gradients = gradients
        self.scale = 1 / svi.update.batch_size if gradients else None
        self.holes = [i for i, leaf in enumerate(leaves) if torch.is_tensor(leaf)]
        self.constants = [None if torch.is_tensor(leaf) else leaf for leaf in leaves]
        self.structure = structure
        self.steps = 0
        inputs = [leaf for leaf in leaves if torch.is_tensor(leaf)]
        self.observed = run
        self.named = run.named
        self.parameters = list({id(p): p for p in run.named.values()}.values())
        if not self.parameters and gradients:
            raise Untraceable("it has no parameters")
        self.constraints = {name: pyro.get_param_store()._constraints[name] for name in run.named}
        self.owns: bool | None = None
        # Arrays among the arguments are not compared if they are inputs.
        arrays = [leaves[spot.key] for spot in varying if spot.holder is None]
        arrays = [x for x in arrays if isinstance(x, np.ndarray)]
        self.watch = watch_of(svi, run, self.constants, arrays)
        tensors = *self.parameters, *inputs
        self.varying = [
            StandIn(self.watch.place(self.constants if h is None else h, kind), key, which, tensors)
            for (h, kind, key), which in varying.items()
        ]
        self.graph = self._trace(inputs)
        self.watch.watch_values(self.graph.read)
        self.watch.watch_memory([*self.parameters, *self.graph.live])
        device = next((t.device for t in (*self.parameters, *inputs)), torch.device("cpu"))
        backend = best_backend(device) if svi.backend == "auto" else svi.backend
        order = [*self.parameters, *inputs, *self.graph.live]
        self.function = self._compile(order, len(inputs), backend)
        pairs = zip(self.parameters, self.graph.reached, strict=True)
        self.reached = [p for p, reached in pairs if reached]
        self._check_new(inputs, backend)
        if gradients:
            svi.update.prepare(self.parameters)
        self.zeros: dict[int, tuple[Tensor, int]] = {}  # gradients as steps leave them
        self.captured = None
        can = device.type == "cuda" and all(t.device == device for t in order)
        if can and (svi.update.capturable or not gradients):
            self.captured = CapturedStep(self._compute_and_update, inputs, svi.update)

    def _compile(self, tensors: Sequence[Tensor], inputs: int, backend: Any) -> Callable:
        """The graph as a function, by shards of the minibatch where several threads compute it."""
        module, first = self.graph.module, len(self.parameters)
        threads = torch.get_num_threads()
        if threads > 1 and is_compiled(module, tensors, backend) and on_cpu(tensors):
            sharding = split(module, range(first, first + inputs), threads)
            if sharding is not None:
                return Shards(sharding)
        return compile_graph(module, tensors, backend)

    # Running -----------------------------------------------------------------------------------

    def run(self, inputs: Sequence[Tensor]) -> Any:
        """Take a step, or evaluate the loss, and return the loss.

        Raises:
            Untraceable: if the graph cannot be run.
            Unmet: if a check of values has another result than before.

        After either, nothing has been updated.
        """
        self.steps += 1
        if self.captured is not None:
            return self._joined(self.captured(inputs))
        loss = self._compute_and_update(inputs)
        if loss[0].is_cuda:
            return self._joined(loss)
        number = self._joined([value.item() for value in loss])
        if isinstance(number, float):
            warn_if_nan(number, "loss")  # type: ignore[call-overload]  # a float is a number
        return number

    def _joined(self, values: Sequence[Any]) -> Any:
        return pytree.tree_unflatten(values, self.graph.loss)

    def _compute_and_update(self, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        state = torch.get_rng_state() if self.graph.answers else None
        loss, gradients, conditions = self._compute(inputs)
        if any(bool(c) is not a for c, a in zip(conditions, self.graph.answers, strict=True)):
            assert state is not None  # there are conditions
            torch.set_rng_state(state)
            raise Unmet
        if self.gradients:
            for parameter, gradient in gradients:
                before = parameter.grad
                if before is not None and not self._is_zero(parameter):  # the user's own
                    gradient = gradient + before
                parameter.grad = gradient
            self.svi.update(self.parameters)
            self._leave(gradients)
        return loss

    def _leave(self, gradients: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Set gradients to zero, as SVI does, so that the momentum of other programs continues."""
        if not self.svi.update.leaves_zeros:
            for parameter, _ in gradients:
                parameter.grad = None
            return
        left = [p.grad for p in self.parameters if p.grad is not None]
        if left:
            torch._foreach_zero_(left)
        for parameter, _ in gradients:
            if parameter.grad is not None:
                self.zeros[id(parameter)] = parameter.grad, parameter.grad._version

    def _is_zero(self, parameter: Tensor) -> bool:
        """Whether a gradient is still the zero that a step left."""
        left, version = self.zeros.get(id(parameter), (None, 0))
        return left is not None and left is parameter.grad and left._version == version

    def _compute(
        self, inputs: Sequence[Tensor]
    ) -> tuple[Sequence[Tensor], list[tuple[Tensor, Tensor]], Sequence[Tensor]]:
        """The numbers of the loss, gradients with their parameters, and conditions of checks."""
        try:
            with torch.no_grad():
                values = self.function(*self.parameters, *inputs, *self.graph.live)
        except Exception as error:
            raise Untraceable(f"its graph fails: {brief(error)}") from error
        first = self.graph.loss.num_leaves
        last = first + len(self.reached)
        gradients = list(zip(self.reached, values[first:last], strict=True))
        return values[:first], gradients, values[last:]

    # Validity ----------------------------------------------------------------------------------

    @property
    def is_due(self) -> bool:
        """Whether to compare the next run with the eager program: the 2nd, 4th, 8th, ..."""
        return self.steps & (self.steps + 1) == 0 and self.steps > 0

    @property
    def reads_no_values(self) -> bool:
        """Whether Python neither takes over nor reads a value that changes from step to step."""
        return not (self.varying or self.graph.guards or self.graph.read)

    def take(self, leaves: list) -> bool:
        """Take over arguments that are not tensors, and varying values, if possible."""
        for place, leaf in enumerate(leaves):
            old = self.constants[place]
            if torch.is_tensor(leaf) or leaf is old:
                continue
            if not (isinstance(leaf, ATOMS) and equal(leaf, old)):
                self.constants[place] = leaf
        return all([one.take(self.watch) for one in self.varying])

    def same_decisions(self) -> bool:
        """Whether Python decides by the varying numbers as it did when this was traced.

        Raises:
            Unmet: if the program would raise an error that the graph would not.
        """
        failed = [guard for guard in self.graph.guards if not guard.holds()]
        if any(guard.raises for guard in failed):
            raise Unmet
        return not failed

    def expect_equals(self) -> None:
        """Expect that objects that were replaced by equal ones will be replaced again."""
        known = {self.spot(one.place, one.key) for one in self.varying}
        for place, key in self.watch.replaced:
            _, structure = flatten(place.get(key))
            if structure is not LEAF and self.spot(place, key) not in known:
                self.varying.append(StandIn(place, key, (), ()))

    def spot(self, place: Place, key: Any) -> Spot:
        """Where a value is, whichever list holds the arguments."""
        return Spot(None if place.holder is self.constants else place.holder, type(place), key)

    def registered(self, inputs: Sequence[Tensor]) -> bool:
        """Whether the program's parameters are in the store, or will be as soon as it runs.

        Two models whose parameters have the same names take turns in the store: each registers its
        own when it runs. One eager run finds out whether this program does.
        """
        store = pyro.get_param_store()
        lost = [(n, p) for n, p in self.named.items() if store._params.get(n) is not p]
        if not lost:
            return True
        if self.owns is None:
            found = self._reached(inputs)
            self.owns = all(found.get(name) is p for name, p in lost)
        if self.owns:
            for name, p in lost:
                if name in store:
                    del store[name]
                store._params[name], store._param_to_name[p] = p, name
                store._constraints[name] = self.constraints[name]
        return self.owns

    def _reached(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """The parameters of an eager run, which is undone.

        Such a run may fill the store, or meet the parameters of another program there.
        """
        met = (*self.parameters, *pyro.get_param_store()._params.values())
        leaves = list({id(p): p for p in met}.values())
        with put_back(leaves, self.watch, changes=[]), observed() as run:
            self._eager(inputs)
        return run.named

    # Making ------------------------------------------------------------------------------------

    def _arguments(self, inputs: Sequence[Tensor]) -> tuple[tuple, dict]:
        leaves = list(self.constants)
        for place, x in zip(self.holes, inputs, strict=True):
            leaves[place] = x
        return pytree.tree_unflatten(leaves, self.structure)

    def _eager(self, inputs: Sequence[Tensor], mark: Callable = lambda program: program) -> Any:
        svi = self.svi
        args, kwargs = self._arguments(inputs)
        call = svi.loss_and_grads if self.gradients else svi.loss
        with nullcontext() if self.gradients else torch.no_grad():
            return call(mark(svi.model), mark(svi.guide), *args, **kwargs)

    @contextmanager
    def _with_tensors(self) -> Iterator[None]:
        """Replace varying values by tensors while entered."""
        before = [(one, one.value()) for one in self.varying]
        try:
            for one in self.varying:
                value = one.with_tensors()
                one.place.write(one.key, value)
                self.watch.accept(one.place, one.key, value)
            yield
        finally:
            for one, value in before:
                one.place.write(one.key, value)
                self.watch.accept(one.place, one.key, value)

    def _trace(self, inputs: Sequence[Tensor]) -> Graph:
        svi = self.svi
        call = svi.loss_and_grads if self.gradients else svi.loss
        varying = [tensor for one in self.varying for tensor in one.tensors.values()]
        scalars = [pair for one in self.varying for pair in one.scalars]
        reached = [*self.watch.tensors, *varying]
        with self._with_tensors(), undone(self.parameters, self.watch, record=False):
            graph = trace(
                call,
                svi.model,
                svi.guide,
                self.parameters,
                inputs,
                self._arguments,
                self.scale,
                reached,
                self.observed.checks,
                scalars,
            )
        if not {id(t) for t in varying} <= {id(t) for t in graph.live} | graph.decided:
            raise Untraceable(MORE)
        return graph

    # Checking ------------------------------------------------------------------------------------

    def check(self, inputs: Sequence[Tensor]) -> None:
        """Compare loss and gradients with the eager program's, under the same noise.

        Raises:
            Disagreement: if they differ by more than rounding.
            Exception: whatever the eager program raises, such as for values that Pyro rejects.
        """
        with same_noise():
            found = self._compare(inputs)
            for attempt in range(1, TRIES):
                if found is None:
                    return
                pyro.set_rng_seed(attempt)
                found = self._compare(inputs)
        if found is not None:
            raise Disagreement(found)

    def _check_new(self, inputs: Sequence[Tensor], backend: str) -> None:
        try:
            self.check(inputs)
            return
        except Disagreement as error:
            cause: Exception = error
        except Untraceable as error:
            if not isinstance(self.function, Shards):
                raise
            cause = error
        graph = self.graph
        for function in self._others(inputs, backend):
            self.function = function
            try:
                self.check(inputs)
                return
            except Disagreement:
                pass
        said = difference(graph, self._trace(inputs))
        raise (Untraceable(said) if said else cause) from cause

    def _others(self, inputs: Sequence[Tensor], backend: Any) -> Iterator[Callable]:
        """Functions that are right where shards, or the code of Inductor, may be wrong."""
        if isinstance(self.function, Shards):
            order = [*self.parameters, *inputs, *self.graph.live]
            yield compile_graph(self.graph.module, order, backend)
        if backend == "inductor":
            yield self.graph.module.forward

    def _compare(self, inputs: Sequence[Tensor]) -> str | None:
        terms = Terms()
        with undone(self.parameters, self.watch) as written:
            with terms:
                loss = pytree.tree_leaves(self._eager(inputs, terms.program))
            scale = 1.0 if self.scale is None else self.scale  # without gradients there is none
            eager = [None if p.grad is None else p.grad * scale for p in self.parameters]
            changing = [t for t in (*self.graph.live, *self.parameters) if written(t)]
            replaced = [part for one in self.varying for part in flatten(one.value())[0]]
            if any(written(x) for x in (*inputs, *filter(torch.is_tensor, replaced))):
                raise Untraceable("it changes an argument in place")
            after = [t.clone() for t in changing]
        before = [t.clone() for t in changing]
        with same_noise(), torch.no_grad():
            values, gradients, _ = self._compute(inputs)
            compiled = {id(p): gradient.clone() for p, gradient in gradients}
            ours = [t.clone() for t in changing]
            for tensor, value in zip(changing, before, strict=True):
                tensor.copy_(value)
        for value, reference in zip(values, loss, strict=True):
            if not close(value, torch.as_tensor(reference), max(abs(reference), terms.largest)):
                return f"the loss is {float(value):.8g} against {float(reference):.8g}"
        largest = max(
            (float(g.abs().max()) for g in eager if g is not None and g.numel()), default=0
        )
        for p, gradient in zip(self.parameters, eager, strict=True):
            if not close_or_none(compiled.get(id(p)), gradient, largest):
                name = next(name for name, other in self.named.items() if other is p)
                return f"the gradient of {name} differs"
        if not all(close(a, b, size(b)) for a, b in zip(ours, after, strict=True)):
            return "a tensor that it changes in place differs"
        return None
