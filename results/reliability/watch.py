"""Running one attack in a separate process, under limits, and judging its outcome."""

import ast
import contextlib
import functools
import io
import json
import os
import resource
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pyro
import torch

import pvae

CHECKED = tuple(str(Path(package.__file__).parent) for package in (pvae, pyro, torch))
DOCUMENTED = (TypeError, ValueError, OSError, FloatingPointError, NotImplementedError)
LONGEST = 300  # characters of an error message
SECONDS = 20.0  # that a call may compute, or sleep without a break
PATIENCE = 0.5  # seconds between two checks of the child
MEGABYTES = 500.0  # that refusing something may take
CANARY = "canary"  # a file that only an attacker's code creates
MOST = 3000  # megabytes that an attack may allocate, to protect the machine
HELD = ("returned", "refused")


@dataclass
class Outcome:
    """The outcome of one attack.

    Attributes:
        kind: ``returned``, ``refused`` in one sentence, or what went wrong.
        said: the value returned, as JSON holds it, or what the error said.
        seconds: processor time.
        megabytes: memory beyond what the parent holds.
        attacks: the number of attacks that it counts for.
    """

    kind: str
    said: Any = None
    seconds: float = 0.0
    megabytes: float = 0.0
    attacks: int = 1

    @property
    def held(self) -> bool:
        """Whether pvae withstood the attack."""
        return self.kind.startswith(HELD)


class Refused(Exception):
    """The sentence with which a command ended, with exit status 2."""


def attempt(call: Callable[[], Any], folder: Path, seconds: float = SECONDS) -> Outcome:
    """Call something in a forked process, and return the outcome.

    Args:
        call: returns what JSON can hold.
        folder: its working directory.
        seconds: how long it may compute, or sleep without a break.
    """
    sys.stdout.flush()
    before = _resident()
    receiver, sender = os.pipe()
    child = os.fork()
    if not child:
        os.close(receiver)
        _run(call, folder, sender)
    os.close(sender)
    content, hung = _read(receiver, child, seconds)
    with contextlib.suppress(ProcessLookupError):  # also what it has started
        os.killpg(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    used = {
        "seconds": round(usage.ru_utime + usage.ru_stime, 3),
        "megabytes": round(max(0.0, usage.ru_maxrss / 1024 - before)),
    }
    if (folder / CANARY).exists():
        return Outcome("ran foreign code", **used)
    if hung:
        return Outcome("hung", **used)
    if not content:
        return Outcome("crashed", f"wait status {status}", **used)
    outcome = Outcome(**json.loads(content), **used)
    if outcome.kind == "refused" and outcome.megabytes > MEGABYTES:
        outcome.kind = "took too much memory"
    return outcome


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Change the working directory while entered."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def command(*argv: str) -> str:
    """Run a command of pvae in this process, and return what it prints.

    Raises:
        Refused: if it ends with a sentence.
        AssertionError: if it ends in any other way.
    """
    from pvae.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(argv)
    except SystemExit as ended:
        *_, last = err.getvalue().splitlines() or [""]  # lines of progress may come before
        if ended.code == 2 and last.startswith("pvae: error: "):
            raise Refused(last.removeprefix("pvae: error: ")) from None
        if ended.code:
            raise AssertionError(f"exit status {ended.code}: {err.getvalue()}") from None
    return out.getvalue()


def silence(folder: Path) -> None:
    """Change the working directory of a forked process, and close its input and output."""
    os.chdir(folder)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115


def _run(call: Callable[[], Any], folder: Path, sender: int) -> None:
    """The forked process; it never returns."""
    os.setpgid(0, 0)
    silence(folder)
    most = _virtual() + MOST * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    try:
        found = {"kind": "returned", "said": call()}
    except BaseException as error:
        found = _judge(error)
    with contextlib.suppress(BrokenPipeError), os.fdopen(sender, "w") as file:
        json.dump(found, file)
    os._exit(0)


def _judge(error: BaseException) -> dict[str, str]:
    """Whether an error is a refusal: one sentence, of a documented type, raised on purpose."""
    said, name = str(error), type(error).__name__
    where = traceback.extract_tb(error.__traceback__)[-1]
    told = f"{name}: {said[:400]} [{Path(where.filename).name}:{where.lineno}]"
    if not isinstance(error, (*DOCUMENTED, Refused)):
        return {"kind": "traceback", "said": told}
    if not said or len(said) > LONGEST or "\n" in said:
        return {"kind": "no sentence", "said": told}
    if not isinstance(error, Refused) and not _on_purpose(error):
        return {"kind": "not checked", "said": told}
    return {"kind": "refused", "said": said if isinstance(error, Refused) else f"{name}: {said}"}


def _on_purpose(error: BaseException) -> bool:
    """Whether a ``raise`` of the package raised it, or Python because arguments do not bind."""
    if isinstance(error, OSError) and error.filename is not None:
        return True
    last: TracebackType | None = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    file, line = last.tb_frame.f_code.co_filename, last.tb_lineno
    if file.startswith(CHECKED):
        return any(first <= line <= end for first, end in _raises(file))
    return isinstance(error, TypeError) and "argument" in str(error) and "()" in str(error)


@functools.cache
def _raises(file: str) -> Sequence[tuple[int, int]]:
    tree = ast.parse(Path(file).read_text())
    return [(n.lineno, n.end_lineno) for n in ast.walk(tree) if isinstance(n, ast.Raise)]


def _read(receiver: int, child: int, seconds: float) -> tuple[bytes, bool]:
    """What the child sends until it ends, and whether it hangs: computes or sleeps too long.

    A child that waits for a processor, on a busy machine, does neither.
    """
    content, asleep = b"", 0.0
    with os.fdopen(receiver, "rb", buffering=0) as file:
        while asleep < seconds:
            if select.select([file], [], [], PATIENCE)[0]:
                chunk = file.read(1 << 16)
                if not chunk:
                    return content, False
                content += chunk
                continue
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            asleep = 0.0 if fields[0] == "R" else asleep + PATIENCE
            if (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") > seconds:
                break
    return content, True


def _virtual() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
