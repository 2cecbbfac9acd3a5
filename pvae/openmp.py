"""How long the threads of OpenMP stay awake while they wait for each other.

On Linux torch brings libgomp, whose threads spin in a loop before they sleep. On free processors
long spins are best, since waking a thread takes as long as a small operator. Where other work wants
the processors, a thread that spins keeps the one that it waits for from running, and a step takes
many times as long.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Spins before a thread sleeps. LONG, about a millisecond, bridges the time between two operators,
# and what Python does there; libgomp's default is ten times as long. SHORT, tens of microseconds,
# is for systems on which it cannot be seen whether processors are free.
LONG, SHORT = "30000", "1000"

INTERVAL = 0.5  # seconds between two checks
# Threads sleep soon if one of them lacked a processor for more than this share of the time in which
# it wanted one: on two free processors it was 0.12 at most, and 0.3 to 0.5 beside a busy process.
CROWDED = 0.2
CALM = 2  # checks in a row below it, after which they stay awake again
LEAST = 0.1  # of the time that a thread must want a processor for its share to count
MOST = 8  # idle teams

_ELEMENTS = 2**18  # of a tensor, enough for an operator to start a team
_TASKS = Path("/proc/self/task")

Times = dict[str, tuple[int, int]]  # of each thread, as `_times` finds them


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
    """Let threads that wait sleep at once for as long as other work wants the processors.

    Twice a second a thread checks how long the threads of this process were ready to run but had no
    processor. If any of them lacked one for more than a fifth of the time in which it wanted one,
    because of other processes or of more threads of this one, it starts idle teams of threads,
    until libgomp manages more threads than there are processors: then threads spin 100 times at
    most, as the manual of libgomp says of ``GOMP_SPINCOUNT``. After a calm second the teams end.
    Results do not depend on it, since the number of threads that compute stays as it is.

    It does nothing if ``OMP_WAIT_POLICY`` or ``GOMP_SPINCOUNT`` says how threads are to wait, or if
    the system does not count these times. `pvae.fit` and the commands of ``pvae`` enter it.

    Example:
        >>> from pvae import openmp
        >>> with openmp.considerate():
        ...     pass  # many steps
    """
    _WATCH.enter()
    try:
        yield
    finally:
        _WATCH.leave()


class Watch:
    """The thread that checks, while `considerate` is entered anywhere in the process."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """With nobody inside, as in a process that was forked: the thread stays behind."""
        self._lock = threading.Lock()
        self._inside = 0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def enter(self) -> None:
        """Check from now on, if that is of use."""
        with self._lock:
            self._inside += 1
            if self._inside > 1 or _chosen() or not _times():
                return
            self._ended = threading.Event()  # an interrupted `leave` may not have seen the last end
            thread = threading.Thread(
                target=_watch, args=(self._ended,), name="pvae-openmp", daemon=True
            )
            with suppress(RuntimeError):  # the process may have no more threads
                thread.start()
                self._thread = thread

    def leave(self) -> None:
        """Check no longer, once all have left."""
        with self._lock:
            self._inside = max(0, self._inside - 1)  # a forked process enters with nobody inside
            if self._inside == 0 and self._thread is not None:
                thread, self._thread = self._thread, None
                self._ended.set()
                thread.join()


_WATCH = Watch()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_WATCH.begin_anew)


class IdleTeams:
    """Teams of threads that sleep, by which libgomp manages more threads than there are processors.

    Each belongs to a thread of its own, which has shared one operator with it.
    """

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._owners: list[threading.Thread] = []

    def start(self) -> None:
        """Start as many teams as it takes, unless they run.

        None start if operators have one thread at this moment, if it would take too many, or if the
        process may not have as many threads: libgomp would end it.
        """
        if self._owners:
            return
        size = _team_size()
        if size < 2:
            return
        processors = len(os.sched_getaffinity(os.getpid()))
        number = (processors - size) // (size - 1) + 1  # beside the team that computes
        if number > MOST or not _may_start(number * size):
            return
        for _ in range(number):
            made = threading.Event()
            owner = threading.Thread(target=self._own, args=(made,), daemon=True)
            owner.start()
            self._owners.append(owner)
            made.wait()

    def end(self) -> None:
        """End all teams."""
        self._ended.set()
        for owner in self._owners:
            owner.join()
        self._owners = []
        self._ended = threading.Event()

    def _own(self, made: threading.Event) -> None:
        """Own a team until teams end."""
        import torch

        ended = self._ended
        try:
            torch.ones(_ELEMENTS, device="cpu").add_(1.0)
        except RuntimeError:  # memory may be short
            return
        finally:
            made.set()
        ended.wait()


def _watch(ended: threading.Event) -> None:
    """Start and end idle teams, as the processors are wanted, until ``ended`` is set."""
    teams, calm = IdleTeams(), 0
    before = _times()
    try:
        while not ended.wait(INTERVAL):
            now = _times()
            shares = [*_shares_lacked(before, now)]
            before = now
            if not shares:
                continue
            crowded = max(shares) > CROWDED
            calm = 0 if crowded else calm + 1
            if crowded:
                with suppress(RuntimeError):  # the process may have no more threads
                    teams.start()
            elif calm >= CALM:
                teams.end()
    finally:
        teams.end()


def _team_size() -> int:
    """The threads that an operator gets in a new thread of Python; 1 before torch is imported."""
    if not hasattr(sys.modules.get("torch"), "ones"):
        return 1
    from concurrent.futures import ThreadPoolExecutor

    import torch

    with ThreadPoolExecutor(1) as pool:  # a thread keeps the number that it once had
        return pool.submit(torch.get_num_threads).result()


def _may_start(number: int) -> bool:
    """Whether the process may have so many more threads."""
    ended = threading.Event()
    started = []
    try:
        for _ in range(number):
            thread = threading.Thread(target=ended.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:
        return False
    finally:
        ended.set()
        for thread in started:
            thread.join()
    return True


def _chosen() -> bool:
    """Whether the user has said how threads are to wait."""
    return "OMP_WAIT_POLICY" in os.environ or os.environ.get("GOMP_SPINCOUNT", LONG) != LONG


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
    try:
        tasks = [*_TASKS.iterdir()]
    except OSError:
        return {}
    for task in tasks:
        try:
            ran, lacked, turns = map(int, (task / "schedstat").read_text().split())
        except (OSError, ValueError):  # a thread that has ended, or another system
            continue
        if turns:
            found[task.name] = ran, lacked
    return found
