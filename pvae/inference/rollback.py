"""Rollback: undoing all effects of a run of a program."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pyro
import pyro.util
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from pvae.inference.guards import Watch
from pvae.inference.state import Change, Entries
from pvae.inference.untraceable import Untraceable


@contextmanager
def undone(
    leaves: Sequence[Tensor] = (), watch: Watch | None = None, record: bool = True
) -> Iterator[Callable[[Tensor], bool]]:
    """On exit, undo changes of tensors, gradients, random states and Python state.

    Args:
        leaves: tensors whose gradients are None while entered, and restored on exit.
        watch: the Python state to restore, with the parameter store.
        record: whether tensors are written to, as they are unless a run is traced.

    Yields:
        A function that tells whether a tensor has been written to.

    Raises:
        Untraceable: if the run changed Python state, as every run would.
    """
    changes: list[Change] = []
    with put_back(leaves, watch, changes, record) as wrote:
        yield wrote
    if changes:
        raise Untraceable(
            f"{changes[0]} is given another value at each run; values that change from "
            "step to step must be tensors that are changed in place"
        )


@contextmanager
def put_back(
    leaves: Sequence[Tensor], watch: Watch | None, changes: list[Change], record: bool = True
) -> Iterator[Callable[[Tensor], bool]]:
    """Undo a run as `undone` does, whatever it changed: that is added to a list."""
    gradients = [leaf.grad for leaf in leaves]
    for leaf in leaves:
        leaf.grad = None
    recorder = Record()
    tensors = [] if watch is None else [(t, t.detach()) for t in watch.tensors if is_plain(t)]
    store: AbstractContextManager[list] = stored() if watch is not None else nullcontext([])
    with same_noise(), store as stored_changes:
        try:
            recording: AbstractContextManager[Any] = recorder if record else nullcontext()
            with recording:
                yield recorder.wrote
        finally:
            for tensor, before in tensors:  # which may have been given other memory
                if tensor.data_ptr() != before.data_ptr() or tensor.shape != before.shape:
                    tensor.data = before
            recorder.restore()
            for leaf, gradient in zip(leaves, gradients, strict=True):
                leaf.grad = gradient
            changes += [] if watch is None else watch.restore()
    changes += stored_changes


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is dense and in memory, as a graph needs it."""
    return tensor.layout is torch.strided and not tensor.is_meta and not tensor.is_quantized


@contextmanager
def stored() -> Iterator[list[Change]]:
    """Put the parameter store back on leaving; yields what will then have been changed."""
    store = pyro.get_param_store()
    entries = store._params, store._constraints, store._param_to_name
    places = [Entries(one, "the parameter store") for one in entries]
    changes: list[Change] = []
    try:
        yield changes
    finally:
        for place in places:
            changes += place.changes()
            place.restore()


@contextmanager
def same_noise() -> Iterator[None]:
    """Restore all random states on exit, so that later code draws the same numbers."""
    state = noise()
    try:
        yield
    finally:
        set_noise(state)


def noise() -> tuple[dict, list[Tensor]]:
    """Return all random states."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return pyro.util.get_rng_state(), cuda


def set_noise(state: tuple[dict, list[Tensor]]) -> None:
    """Restore all random states."""
    host, cuda = state
    pyro.util.set_rng_state(host)
    if cuda:
        torch.cuda.set_rng_state_all(cuda)


class Record(TorchDispatchMode):
    """Saves tensors before they are first written to.

    Tensors created meanwhile, such as parameters at their first use, need not be restored.
    """

    def __init__(self) -> None:
        super().__init__()
        self.made: set[int] = set()  # memory that was not there before
        self.before: dict[tuple, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = {_memory(x) for x in pytree.tree_leaves((args, kwargs)) if torch.is_tensor(x)}
        for number, argument in enumerate(function._schema.arguments):
            # Batch normalization writes to its running statistics without saying so.
            silent = argument.name in ("running_mean", "running_var")
            if silent or (argument.alias_info is not None and argument.alias_info.is_write):
                value = args[number] if number < len(args) else kwargs.get(argument.name)
                for tensor in pytree.tree_leaves(value):
                    if torch.is_tensor(tensor):
                        self._remember(tensor)
        result = function(*args, **kwargs)
        results = {_memory(x) for x in pytree.tree_leaves(result) if torch.is_tensor(x)}
        self.made |= results - given
        return result

    def _remember(self, tensor: Tensor) -> None:
        if not is_plain(tensor):
            return
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and _memory(tensor) not in self.made and key not in self.before:
            self.before[key] = tensor, tensor.clone()

    def wrote(self, tensor: Tensor) -> bool:
        """Whether a tensor, or another in the same memory, was written to."""
        memories = {_memory(other) for other, _ in self.before.values()}
        return _memory(tensor) in memories

    def written(self) -> list[tuple[Tensor, Tensor]]:
        """The tensors that were written to, and what they are now."""
        return [(tensor, tensor.clone()) for tensor, _ in self.before.values()]

    def restore(self) -> None:
        """Restore the saved values."""
        with torch.no_grad():
            for tensor, before in reversed(self.before.values()):
                tensor.copy_(before)


def _memory(tensor: Tensor) -> int:
    # Tensors of another layout are never parts of a graph; the zeros of second derivatives have no
    # memory.
    placed = is_plain(tensor) and not tensor._is_zerotensor()
    return tensor.untyped_storage().data_ptr() if placed else id(tensor)
