"""How long the threads of OpenMP stay awake while they wait for each other.

On Linux torch brings libgomp, whose threads turn in a loop before they sleep. On free processors
long waits in it are best, since waking a thread takes as long as a small operator. Where other
processes want the processors, a thread that turns keeps the one that it waits for from running, and
a step takes many times as long.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

# Turns of the loop before a thread sleeps. LONG, about a millisecond, bridges the time between two
# operators, and what Python does there; libgomp's default is ten times as long. SHORT, tens of
# microseconds, is for systems on which it cannot be seen whether processors are free.
LONG, SHORT = "30000", "1000"

_TASKS = Path("/proc/self/task")
INTERVAL = 0.5  # seconds between two looks
# Threads sleep soon if one of them lacked a processor for more than this share of the time in which
# it wanted one: on two free processors it was 0.12 at most, and 0.3 to 0.5 beside a busy process.
CROWDED = 0.2
CALM = 2  # looks in a row below it, after which they stay awake again
LEAST = 0.1  # of the time that a thread must want a processor for its share to count
ELEMENTS = 2**18  # of a tensor that all threads share


def environment() -> dict[str, str]:
    """The variables to set before torch is imported; none if the user has set how threads wait.

    Example:
        >>> from pvae import openmp
        >>> openmp.environment().keys() <= {"GOMP_SPINCOUNT"}
        True
    """
    if os.environ.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
        return {}
    return {"GOMP_SPINCOUNT": LONG if _times() else SHORT}


@contextmanager
def considerate() -> Iterator[None]:
    """Let threads that wait sleep at once for as long as other processes want the processors.

    A thread looks twice a second how long the threads of this process were ready to run but had no
    processor. If that was a fifth of the time in which one of them wanted one, it starts idle teams
    of threads, until libgomp manages more threads than there are processors: then threads turn 100
    times at most, as the manual of libgomp says of ``GOMP_SPINCOUNT``. After a calm second the
    teams end. Results do not depend on it, since the number of threads that compute stays as it is.

    Entered again, or on a system that does not count these times, it does nothing. `pvae.fit` and
    the commands of ``pvae`` enter it.

    Example:
        >>> from pvae import openmp
        >>> with openmp.considerate():
        ...     pass  # many steps
    """
    if not _times() or not _ENTERED.acquire(blocking=False):
        yield
        return
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(ended,), name="pvae-openmp", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        _ENTERED.release()


_ENTERED = threading.Lock()
Times = dict[str, tuple[int, int]]  # of each thread, as `_times` finds them


class IdleTeams:
    """Teams of threads that sleep, by which libgomp manages more threads than there are processors.

    Each belongs to a thread of its own, which has shared one operator with it.
    """

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._owners: list[threading.Thread] = []

    def start(self) -> None:
        """Start as many teams as it takes, unless they run, or operators have one thread now."""
        if self._owners:
            return
        processors = len(os.sched_getaffinity(0))
        managed = 0
        while managed <= processors:
            sizes: SimpleQueue[int] = SimpleQueue()
            owner = threading.Thread(target=self._own, args=(sizes,), daemon=True)
            owner.start()
            self._owners.append(owner)
            size = sizes.get()
            if size < 2:
                self.end()
                return
            # The first is counted beside the team with which the process computes.
            managed = (managed or size) + size - 1

    def end(self) -> None:
        """End all teams."""
        self._ended.set()
        for owner in self._owners:
            owner.join()
        self._owners.clear()
        self._ended.clear()

    def _own(self, sizes: "SimpleQueue[int]") -> None:
        """Own a team until teams end, and say how many threads it has."""
        size = 1
        try:
            import torch

            size = torch.get_num_threads()
            if size > 1:
                torch.ones(ELEMENTS, device="cpu").add_(1.0)
        finally:
            sizes.put(size)
        self._ended.wait()


def _watch(ended: threading.Event) -> None:
    """Start and end idle teams as the processors are wanted by others, until all is ended."""
    teams, calm = IdleTeams(), 0
    before = _times()
    while not ended.wait(INTERVAL):
        now = _times()
        shares = [*_shares_lacked(before, now)]
        before = now
        if "torch" not in sys.modules or not shares:
            continue
        crowded = max(shares) > CROWDED
        calm = 0 if crowded else calm + 1
        if crowded:
            teams.start()
        elif calm >= CALM:
            teams.end()
    teams.end()


def _shares_lacked(before: Times, now: Times) -> Iterator[float]:
    """For each thread that wanted a processor, the share of that time in which it had none."""
    for thread, (ran, lacked) in now.items():
        ran_before, lacked_before = before.get(thread, (0, 0))
        had, had_not = ran - ran_before, lacked - lacked_before
        if had + had_not > LEAST * INTERVAL * 1e9:
            yield had_not / (had + had_not)


def _times() -> Times:
    """Nanoseconds that each thread ran, and that it was ready but had no processor.

    They are empty where the system does not count them.
    """
    found = {}
    for task in _TASKS.iterdir() if _TASKS.is_dir() else ():
        try:
            ran, lacked, turns = map(int, (task / "schedstat").read_text().split())
        except (OSError, ValueError):  # a thread that has ended, or another system
            continue
        if turns:
            found[task.name] = ran, lacked
    return found
