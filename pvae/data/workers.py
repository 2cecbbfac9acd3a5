"""The processes that decode images: how many, and what they do when interrupted."""

import os
import signal

_FEW = 500  # images that one process decodes before others would have started
_MOST = 4


def worker_count(items: int) -> int:
    """Return how many workers to start for so many images: 0 to decode them in this process."""
    if items < _FEW:
        return 0
    if hasattr(os, "sched_getaffinity"):  # the processors this process may use, where that is known
        return min(_MOST, len(os.sched_getaffinity(0)))
    return min(_MOST, os.cpu_count() or 1)


def ignore_interrupts(worker: int) -> None:
    """Leave Ctrl-C to the process that draws, which may want to finish what it is at.

    The terminal interrupts all processes at once, and a worker that ended would take the images it
    had decoded with it.

    Args:
        worker: number of this worker.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
