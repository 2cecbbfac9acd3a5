"""Processes forked from that of the tests: they have what it has imported, which takes seconds."""

import os
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from pvae.studies import worker

UNSEEN = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


def fork() -> int:
    """Fork; in the child, warnings are shown as in a new process, rather than raised."""
    with warnings.catch_warnings():
        # Of threads, which newer versions of Python warn of: those of the tests hold no lock.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        warnings.resetwarnings()
        for category in UNSEEN:
            warnings.simplefilter("ignore", category)
    return child


def forked(function: Callable[..., int | None], *arguments: Any) -> int:
    """Call a function in a process of its own, and return its exit status: 0, or what it returns.

    It is 1 after an error, and below 0 if a signal has killed the process.
    """
    child = fork()
    if not child:
        status = 1
        try:
            status = function(*arguments) or 0
        except BaseException:
            traceback.print_exc()
        finally:  # a fork must never go on with the tests
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class ForkedWorker:
    """A worker of studies, with what it needs of the interface of `subprocess.Popen`."""

    def __init__(self, command: list[str], *, env: dict[str, str], **options: Any) -> None:
        assert command == [sys.executable, "-m", worker.__name__]
        (jobs, self_to), (self_from, answers) = os.pipe(), os.pipe()
        self.pid = fork()
        if not self.pid:
            try:
                os.setsid()
                os.environ.update(env)
                os.dup2(jobs, 0)
                os.dup2(answers, 1)
                os.closerange(3, 1024)  # also the ends of other workers' pipes
                sys.stdin = os.fdopen(0, encoding="utf-8")
                sys.stdout, sys.stderr = (os.fdopen(i, "w", 1, "utf-8") for i in (1, 2))
                worker.main()
            finally:
                os._exit(0)
        os.close(jobs)
        os.close(answers)
        self.stdin = os.fdopen(self_to, "w", encoding="utf-8")
        self.stdout = os.fdopen(self_from, encoding="utf-8")
        self.returncode: int | None = None
        self.guard = threading.Lock()

    def poll(self) -> int | None:
        """The exit status, if it has ended."""
        return self._waited(os.WNOHANG)

    def wait(self) -> int | None:
        """Wait until it has ended."""
        return self._waited(0)

    def kill(self) -> None:
        """Kill it, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def _waited(self, options: int) -> int | None:
        with self.guard:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, options)
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
            return self.returncode


# In place of the module subprocess, where a worker of studies is started.
FORKING = SimpleNamespace(Popen=ForkedWorker, PIPE=subprocess.PIPE)
