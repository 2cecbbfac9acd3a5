"""Processes that decode images, and a thread that works ahead."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
_FEW = 500  # images that one process decodes in the time that starting others takes
_MOST = 4


def worker_count(items: int) -> int:
    """Return how many workers to start for a number of images: 0 to decode in this process."""
    if items < _FEW:
        return 0
    if hasattr(os, "sched_getaffinity"):  # the CPUs that this process may use
        return min(_MOST, len(os.sched_getaffinity(0)))
    return min(_MOST, os.cpu_count() or 1)


def ignore_interrupts(worker: int) -> None:
    """Ignore Ctrl-C in a worker, so that the main process can finish its step.

    The terminal interrupts all processes at once, and a worker that exits would lose the images it
    has decoded.

    Args:
        worker: index of this worker.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def in_advance(values: Iterator[T]) -> Iterator[T]:
    """Yield values, each of which a thread has computed while the one before was in use.

    Args:
        values: what computes them, in that thread only; none of them may be ``None``.
    """
    with ThreadPoolExecutor(1, initializer=_alone) as pool:
        coming = pool.submit(next, values, None)
        while (value := coming.result()) is not None:
            coming = pool.submit(next, values, None)
            yield value


def _alone() -> None:
    torch.get_num_threads()  # else the first operator takes the setting of the process
    torch.set_num_threads(1)
