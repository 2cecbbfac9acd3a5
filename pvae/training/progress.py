"""The progress display of a training run, and its notes."""

import math
import sys
import time
from collections.abc import Iterable
from typing import Any

from pyro.infer import ELBO
from torch import Tensor

from pvae.data.dataset import Dataset
from pvae.interfaces import option
from pvae.objectives.counting import nested
from pvae.progress_bar import bar, in_notebook
from pvae.training.checkpoint import Position
from pvae.training.history import History
from pvae.vae import VAE

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_FIGURES = 0.1


def planned_notes(
    epochs: int, steps: int, warmup: int, patience: int | None, rise: int
) -> list[str]:
    """Return sentences on the defaults that were chosen for a run.

    Args:
        epochs: planned epochs.
        steps: planned gradient steps.
        warmup: gradient steps over which the weight of the KL rises, 0 for none.
        patience: epochs without improvement before training stops, or ``None``.
        rise: steps after which all warm-up weights of the objective are final.
    """
    notes = []
    if rise > steps:
        notes.append(
            f"The objective warms up over {rise:,} steps, but training has only {steps:,}, so its "
            "last weights are never reached: plan more epochs or a shorter warmup."
        )
    elif warmup:
        notes.append(
            f"The KL warms up over the first {warmup:,} of {steps:,} planned steps (warmup 0 for "
            "none)."
        )
    if patience is not None and patience < epochs:
        notes.append(
            f"Training stops early after {patience} epochs without a better validation metric "
            "(patience None for never)."
        )
    return notes


def binarized_note(vae: VAE, data: Dataset) -> str | None:
    """Return a sentence for colour images whose bytes become binary; ``None`` for all others.

    Grey images keep their outlines. Of colour images little more than the mean colour is left,
    which few users want.
    """
    colours = len(data.event_shape) == 3 and data.event_shape[0] == 3
    if not (colours and data.domain == "bytes" and vae.likelihood.domain == "binary"):
        return None
    return (
        f"Each byte of the colour images becomes 0 or 1 ({data.binarization} binarization), since "
        f"the likelihood {type(vae.likelihood).__name__} is of binary values: for photographs "
        "choose Gaussian, or DiscretizedLogistic, which models the bytes."
    )


def bound_note(objective: ELBO) -> str | None:
    """Return a sentence for an objective that is no bound of log p(x); ``None`` for the others."""
    *_, inner = nested(objective)
    if option(inner, "is_bound"):
        return None
    return (
        f"{type(inner).__name__} is no bound of log p(x), for which the VAE was not trained: judge "
        "it by its samples and reconstructions, and expect a worse −ELBO than by training with it."
    )


def kept_note(history: History, held_out: bool) -> str:
    """Return a sentence on which epoch's weights were kept, and why.

    Args:
        history: the metrics.
        held_out: whether there is a validation part.
    """
    kept, last = history.kept_epoch, history.rows[-1]["epoch"]
    said = history.best_in_words
    if said is None:
        reason = (
            "the losses of epochs with different discriminators cannot be compared"
            if held_out
            else "there is no validation part to choose by"
        )
        return f"Kept: epoch {kept}, the last, since {reason}."
    early = ", where training stopped early" if history.stopped == "early" else ""
    if history.keep == "last":
        return f"Kept: epoch {kept}, the last{early}; epoch {history.best_epoch} had the {said}."
    return f"Kept: epoch {kept} of {last}{early}, with the {said}."


def say(sentences: Iterable[str]) -> None:
    """Print sentences, one per line: under a cell in a notebook, to standard error elsewhere."""
    for sentence in sentences:
        print(sentence, file=sys.stdout if in_notebook() else sys.stderr, flush=True)


class Report:
    """The metrics of a running training: a progress bar if possible, else a line now and then.

    Args:
        epochs: epochs in all.
        steps: steps per epoch.
        position: the progress of training.
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
        self.close()

    def close(self) -> None:
        """End the bar, so that further output is printed below it."""
        if self.bar is not None:
            self.bar.close()

    def step(self, loss: float | Tensor, n: int) -> None:
        """Advance by one step with the given loss over n data."""
        if self.bar is None:
            return
        if time.monotonic() - self.drawn > SECONDS_BETWEEN_FIGURES:
            self.drawn = time.monotonic()
            # Reading a loss waits for the device.
            self.bar.set_postfix_str(f"loss {float(loss) / n:.2f}, {self.text}", refresh=False)
        self.bar.update()

    def epoch(self, row: dict[str, Any]) -> None:
        """Show the metrics of an epoch."""
        if not self.show:
            return
        self.text = f"−ELBO train {row['train/neg_elbo']:.2f}"
        if "validation/neg_elbo" in row:
            self.text += f", validation {row['validation/neg_elbo']:.2f}"
        if "validation/objective" in row:
            self.text += f", objective {row['validation/objective']:.2f}"
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
