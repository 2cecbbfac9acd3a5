"""What a training run shows of itself while it runs."""

import math
import sys
import time
from typing import Any

from torch import Tensor

from pvae.inference.checkpoint import Position
from pvae.progress import bar, in_notebook

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_FIGURES = 0.1


class Report:
    """Running figures: a bar where one can be drawn, else a line now and then.

    Args:
        epochs: epochs in all.
        steps: steps an epoch.
        position: where training stands.
        show: whether anything is shown.
    """

    def __init__(self, epochs: int, steps: int, position: Position, show: bool) -> None:
        self.epochs = epochs
        self.show = show
        self.text = ""
        self.bar = None
        self.lines = show and not (sys.stderr.isatty() or in_notebook())
        self.printed = time.monotonic()
        self.drawn = -math.inf
        if show and not self.lines:
            self.bar = bar(
                total=epochs * steps,
                initial=position.step,
                unit="step",
                desc=f"epoch {position.epoch}/{epochs}",
                dynamic_ncols=True,
            )

    def __enter__(self) -> "Report":
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def step(self, loss: float | Tensor, n: int) -> None:
        """Move on by one step, of that loss over n data."""
        if self.bar is None:
            return
        if time.monotonic() - self.drawn > SECONDS_BETWEEN_FIGURES:
            self.drawn = time.monotonic()
            # To read a loss is to wait for the device.
            self.bar.set_postfix_str(f"loss {float(loss) / n:.2f}, {self.text}", refresh=False)
        self.bar.update()

    def epoch(self, row: dict[str, Any]) -> None:
        """Show the figures of an epoch."""
        if not self.show:
            return
        self.text = f"−ELBO train {row['train/neg_elbo']:.2f}"
        if "validation/neg_elbo" in row:
            self.text += f", validation {row['validation/neg_elbo']:.2f}"
        if self.bar is not None:
            self.bar.set_description(f"epoch {row['epoch']}/{self.epochs}", refresh=False)
            self.bar.set_postfix_str(f"loss {row['loss']:.2f}, {self.text}", refresh=False)
        due = time.monotonic() - self.printed > SECONDS_BETWEEN_LINES
        if self.lines and (due or row["epoch"] in (1, self.epochs)):
            self.printed = time.monotonic()
            print(
                f"epoch {row['epoch']}/{self.epochs}: {self.text} nats, {row['seconds']:.0f} s",
                file=sys.stderr,
                flush=True,
            )
