"""The number of threads for a training step."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Operations of matrix products in a forward pass that justify one more thread. With fewer,
# threads mostly wait for each other, and if other work shares the machine a step takes many
# times as long: on 2 busy cores, 0.24 s instead of 4 ms for 16 million.
OPERATIONS_PER_THREAD = 50e6


@contextmanager
def threads_for(operations: float) -> Iterator[bool]:
    """Limit torch to the number of threads that pays off while entered.

    The number depends only on the operations and on how many threads there are, so that the same
    run rounds the same.

    Args:
        operations: of the matrix products in a forward pass, as torch counts them.

    Yields:
        Whether that leaves threads for other work.
    """
    before = torch.get_num_threads()
    number = max(1, min(before, int(operations / OPERATIONS_PER_THREAD)))
    torch.set_num_threads(number)
    try:
        yield number < before
    finally:
        torch.set_num_threads(before)
