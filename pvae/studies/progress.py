"""The progress of a study: a line for the whole, and one for each run that is under way."""

import contextlib
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from tqdm.std import tqdm

from pvae.messages import shorten
from pvae.progress_bar import bar
from pvae.studies.jobs import Job

SECONDS_BETWEEN_LINES = 10.0
SHOWN = 8  # lines of runs at the most
TAIL = 2000  # bytes of a log that are read


class Progress:
    """Shows a study while it runs; a context manager.

    In a terminal or notebook lines are rewritten in place; elsewhere, as in a log file, a line is
    printed for each run that ends, and at most every ten seconds one for each that is under way
    and has something new to say.

    Args:
        folder: the study folder.
        total: runs of the study.
        left: of these, runs that are not finished.
        show: whether to show anything.
    """

    def __init__(self, folder: Path, total: int, left: int, show: bool) -> None:
        self.folder, self.total, self.show = folder, total, show
        self.done = total - left
        self.bars: list[tqdm] = []
        self.printed = time.monotonic()
        self.said: list[str] = []  # what was printed last of runs that are under way

    def __enter__(self) -> "Progress":
        if self.show:
            whole = bar(total=self.total, initial=self.done, desc="study", unit="run")
            self.live = not whole.disable
            self.bars = [whole]
        return self

    def __exit__(self, *error: object) -> None:
        for shown in self.bars:
            shown.close()

    def finished(self, job: Job, failure: str | None) -> None:
        """Count a run that has ended, and say why if it failed."""
        self.done += 1
        if not self.show:
            return
        self.bars[0].update()
        if not self.live:
            self._print(
                f"{self.done} of {self.total}: {job.cell}, seed {job.seed}: {failure or 'done'}"
            )

    def update(self, running: Iterable[Job]) -> None:
        """Show the runs that are under way."""
        if not self.show:
            return
        lines = []
        for job in running:
            if line := self._line(job):
                lines.append(line)
        if not self.live:
            new = [line for line in lines[:SHOWN] if line not in self.said]
            if new and time.monotonic() - self.printed > SECONDS_BETWEEN_LINES:
                self.said = lines[:SHOWN]
                for line in new:
                    self._print(line)
            return
        while len(self.bars) - 1 < min(len(lines), SHOWN):
            self.bars.append(bar(position=len(self.bars), bar_format="{desc}", leave=False))
        for i, shown in enumerate(self.bars[1:]):
            shown.set_description_str(lines[i] if i < len(lines) else "")

    def _line(self, job: Job) -> str | None:
        """What a run printed last on its progress, if it has begun."""
        with contextlib.suppress(OSError):
            log = (self.folder / job.place).with_suffix(".log")
            if log.is_symlink() or not log.is_file():  # a pipe would never end
                return None
            with open(log, "rb") as stream:
                stream.seek(max(0, log.stat().st_size - TAIL))
                said = stream.read().decode(errors="replace").split("\n")
            last = [line for line in said if line.strip()][-1:]
            return shorten(
                f"{job.cell}, seed {job.seed}: {last[0].strip() if last else 'begun'}", 110
            )
        return None

    def _print(self, line: str) -> None:
        self.printed = time.monotonic()
        print(line, file=sys.stderr, flush=True)
