"""Campaigns: many attacks, each determined by its number."""

import json
import multiprocessing
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from pvae.storage import files
from results.reliability.watch import Outcome

OUT = Path(__file__).parents[1] / "reliability.json"
TOGETHER = 2  # attacks at a time


class Campaign(Protocol):
    """A kind of attack.

    Attributes:
        name: its name on the command line.
        count: attacks of a full run.
        each: attacks of one number.
    """

    name: str
    count: int
    each: int

    def prepare(self, folder: Path) -> None:
        """Prepare what all attacks share, in a folder that only they use.

        Attacks are forked from this process, so they have what it imports and caches here.
        """

    def attack(self, number: int, folder: Path) -> tuple[str, Outcome]:
        """Attack once, with the number as the seed; return what was done, and the outcome."""


@dataclass
class Row:
    """The figures of a campaign so far."""

    numbers: int = 0
    trials: int = 0
    held: int = 0
    failed: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, name: str, outcome: Outcome) -> None:
        """Count one more."""
        self.trials += outcome.attacks
        self.held += outcome.attacks * outcome.held
        self.failed += outcome.attacks * (not outcome.held)
        kinds = Counter(self.outcomes) + Counter({outcome.kind: outcome.attacks})
        self.outcomes = dict(sorted(kinds.items()))
        self.seconds = round(self.seconds + outcome.seconds, 1)
        if not outcome.held:
            kind, said = outcome.kind, outcome.said
            self.failures.append({"number": self.numbers, "case": name, "kind": kind, "said": said})
        self.numbers += 1


def run(campaign: Campaign, count: int, row: Row) -> Iterator[Row]:
    """Continue a row until it has this number of attacks."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as base:
        campaign.prepare(Path(base))
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(TOGETHER, context) as pool:
            while row.trials < count:
                first = row.numbers
                left = -(-(count - row.trials) // campaign.each)
                numbers = range(first, first + min(20, left))
                for name, outcome in pool.map(_attack, [campaign] * len(numbers), numbers):
                    if row.trials < count:
                        row.add(name, outcome)
                yield row


def _attack(campaign: Campaign, number: int) -> tuple[str, Outcome]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        return campaign.attack(number, Path(folder))


def read() -> dict[str, Row]:
    """The rows that have been written."""
    rows = json.loads(OUT.read_text())["campaigns"] if OUT.exists() else {}
    return {name: Row(**row) for name, row in rows.items()}


def write(name: str, row: Row, machine: dict[str, Any]) -> None:
    """Write one row, and leave the others as they are."""
    rows = {n: asdict(r) for n, r in (read() | {name: row}).items()}
    content = json.dumps({"machine": machine, "campaigns": rows}, indent=1, ensure_ascii=False)
    files.write(OUT, (content + "\n").encode())


def show(name: str, row: Row) -> str:
    """One line of the table."""
    outcomes = ", ".join(f"{count} {kind}" for kind, count in row.outcomes.items())
    figures = f"{row.trials:>7,}{row.held:>8,}{row.failed:>8,}{row.seconds:>9,.0f} s"
    return f"{name:<10}{figures}  {outcomes}"
