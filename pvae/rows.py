"""Computations on the rows of a large batch, some at a time.

What operators compute is read again at once if it fits into the caches of a processor. If not, it
comes from memory, and the first writes to new memory take longer than the arithmetic.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

_MOST = 512  # rows at a time,
_FLOATS = 400_000  # and floats of an argument or a result


def has_values(x: Tensor) -> bool:
    """Whether a tensor has values that can be read, unlike one of a graph that is traced."""
    plain = type(x) in (Tensor, torch.nn.Parameter)
    traced = torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0
    mapped = torch._C._functorch.peek_interpreter_stack() is not None
    return plain and not (traced or mapped or x.is_meta or torch.jit.is_tracing())


def slices(rows: int, size: int) -> Iterator[slice]:
    """Divide rows of a size, in floats, into slices that fit into caches."""
    step = max(1, min(_MOST, _FLOATS // max(1, size)))
    return (slice(begin, begin + step) for begin in range(0, rows, step))


def by_rows(function: Callable[..., Tensor], size: int, *tensors: Tensor | None) -> Tensor:
    """Call a function on some rows of tensors at a time, and join the results.

    On other devices than a CPU, with gradients and in traced graphs it is called once.

    Args:
        function: maps tensors of n rows to one of n rows, each of which depends on the same row of
            the arguments only.
        size: of a row of the arguments or of the result, the larger one, in floats.
        *tensors: the arguments; any but the first may be ``None``, as each part is given it then.
    """
    first = tensors[0]
    assert first is not None
    if torch.is_grad_enabled() or first.device.type != "cpu" or not has_values(first):
        return function(*tensors)
    parts = list(slices(len(first), size))
    if len(parts) < 2:
        return function(*tensors)

    def call(part: slice) -> Tensor:
        return function(*(None if tensor is None else tensor[part] for tensor in tensors))

    found = call(parts[0])
    result = found.new_empty(len(first), *found.shape[1:])
    result[parts[0]] = found
    for part in parts[1:]:
        result[part] = call(part)
    return result
