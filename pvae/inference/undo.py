"""Running a program and then having it not have been run."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyro.util
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode


@contextmanager
def undone(leaves: Sequence[Tensor] = ()) -> Iterator[Callable[[Tensor], bool]]:
    """Undo, on leaving, what was done to tensors in place, to gradients and to random states.

    Args:
        leaves: tensors whose gradients are none while entered, and after as before.

    Yields:
        A function that tells whether a tensor has been written to.
    """
    gradients = [leaf.grad for leaf in leaves]
    for leaf in leaves:
        leaf.grad = None
    record = _Record()
    with same_noise():
        try:
            with record:
                yield record.wrote
        finally:
            record.restore()
            for leaf, gradient in zip(leaves, gradients, strict=True):
                leaf.grad = gradient


@contextmanager
def same_noise() -> Iterator[None]:
    """Put all random states back on leaving, so that what follows draws the same numbers."""
    state = pyro.util.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        pyro.util.set_rng_state(state)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


class _Record(TorchDispatchMode):
    """Remembers tensors as they were before they are first written to.

    Tensors that are made meanwhile, such as parameters at their first use, are nothing to undo.
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
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and _memory(tensor) not in self.made and key not in self.before:
            self.before[key] = tensor, tensor.clone()

    def wrote(self, tensor: Tensor) -> bool:
        return any(key[0] == tensor.data_ptr() for key in self.before)

    def restore(self) -> None:
        with torch.no_grad():
            for tensor, before in reversed(self.before.values()):
                tensor.copy_(before)


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
