"""Worker processes that decode images: their number, and their handling of Ctrl-C."""

import os
import signal

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
