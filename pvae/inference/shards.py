"""Shards of a minibatch computed by threads that meet once in a step, not in each operator."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, fx

from pvae.inference.backends import compile_graph
from pvae.inference.sharding import NotSplit, Sharding, Splitter
from pvae.inference.sharding_rules import RULES


def compute_alone() -> None:
    """Limit a new thread to itself, without a thread pool of its own."""
    torch.get_num_threads()  # initializes the setting from the process, if it was not set
    torch.set_num_threads(1)


def split(module: fx.GraphModule, items: range, threads: int) -> Sharding | None:
    """Split a graph by the items of its minibatch, into a shard for each thread, if that pays.

    Args:
        module: the graph of a loss, and of its gradients.
        items: the indices of the inputs that have the items, in their first dimension.
        threads: how many shards there are to be.
    """
    try:
        return Splitter(module, items, threads, RULES).split()
    except (NotSplit, AttributeError, IndexError, TypeError, ValueError):
        return None  # a rule may meet arguments of a form that it does not know


class Shards:
    """A graph of sums over a minibatch, computed in shards, by a thread each.

    Random numbers are drawn as the graph draws them, so a seed gives the same noise. The sums are
    rounded differently.

    Args:
        sharding: the shards of the graph.
    """

    def __init__(self, sharding: Sharding) -> None:
        self.sharding = sharding
        fakes = [n.meta["val"] for n in sharding.shard.graph.nodes if n.op == "placeholder"]
        like = [torch.empty_strided(f.shape, f.stride(), dtype=f.dtype).zero_() for f in fakes]
        self.function = compile_graph(sharding.shard, like, "inductor", {"cpp.threads": 1})
        self._sums = [i for i, partial in enumerate(sharding.partial) if partial]
        self._process = -1
        self._pool: ThreadPoolExecutor | None = None

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        """The results of the graph."""
        pool = self._threads()
        own, *others = self.sharding.inputs(tensors)
        threads = torch.get_num_threads()
        try:
            waiting = [pool.submit(_without_gradients, self.function, one) for one in others]
            torch.set_num_threads(1)
            results = list(self.function(*own))
            found = [future.result() for future in waiting]
        finally:
            torch.set_num_threads(threads)
        added = [results[i] for i in self._sums]
        for other in found:
            # Not in place: two results may be one tensor.
            added = list(torch._foreach_add(added, [other[i] for i in self._sums]))
        for i, value in zip(self._sums, added, strict=True):
            results[i] = value
        return results

    def _threads(self) -> ThreadPoolExecutor:
        """Threads of this process: one that was forked has none."""
        if self._pool is None or self._process != os.getpid():
            self._process = os.getpid()
            number = self.sharding.shards - 1
            self._pool = ThreadPoolExecutor(number, initializer=compute_alone)
        return self._pool


def _without_gradients(function: Callable, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    with torch.no_grad():  # the setting is per thread
        return function(*tensors)
