"""Shards of a minibatch computed by threads that meet once in a step."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from pvae.inference.sharding import Sharding

_pool: ThreadPoolExecutor | None = None
_size = 0


def compute_alone() -> None:
    """Limit a new thread to itself, without a thread pool of its own."""
    torch.get_num_threads()  # initializes the setting from the process, if it was not set
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)


def _threads(number: int) -> ThreadPoolExecutor:
    global _pool, _size
    if _pool is None or _size < number:
        _pool, _size = ThreadPoolExecutor(number, initializer=compute_alone), number
    return _pool


class Shards:
    def __init__(self, sharding: Sharding, function: Callable[..., Sequence[Tensor]]) -> None:
        self.sharding = sharding
        self.function = function

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        drawn = self.sharding.draws.forward(*tensors)
        own, *others = self.sharding.parts(tensors, drawn)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            pool = _threads(len(others))
            waiting = [pool.submit(self.function, *inputs) for inputs in others]
            values = list(self.function(*own))
            found = [future.result() for future in waiting]
        finally:
            torch.set_num_threads(threads)
        which = [i for i, partial in enumerate(self.sharding.partial) if partial]
        for other in found:
            torch._foreach_add_([values[i] for i in which], [other[i] for i in which])
        return values
