"""Writers of a training run: to a run folder, or to nothing."""

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from pvae.storage.tensors import pack_weights
from pvae.training.checkpoint import Checkpoint, Position, weights_of
from pvae.training.records import snapshot_name
from pvae.training.runs import Run

SECONDS_BETWEEN_CHECKPOINTS = 20.0


class Writer:
    """A writer for a run without a folder: every method does nothing.

    `FolderWriter` has the same methods, so that training calls either in the same way.
    """

    where = ""

    def writing(self, **info: Any) -> Any:
        """Hold the lock of the run folder while entered, and first write entries of run.json."""
        return nullcontext()

    def step(self, position: Position) -> None:
        """Write a snapshot after some gradient steps, and a checkpoint if the last one is old."""

    def epoch(self, position: Position) -> None:
        """Write a checkpoint after an epoch, if the last one is old."""

    def save(self, position: Position, stopped: str | None) -> None:
        """Write a checkpoint, and the reason why training ended."""


class FolderWriter(Writer):
    """A writer to a run folder.

    Args:
        run: the run folder.
        checkpoint: the state of training.
        steps: the steps after which to write a snapshot.
        config: the configuration, if it may have changed since the folder was created.
    """

    def __init__(
        self,
        run: Run,
        checkpoint: Checkpoint,
        steps: Collection[int],
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.run = run
        self.checkpoint = checkpoint
        self.steps = steps
        self.config = config
        self.saved = time.monotonic()
        self.where = f" and {run.path}"

    @contextmanager
    def writing(self, **info: Any) -> Iterator[None]:
        """Hold the lock of the run folder while entered, and first write entries of run.json.

        Raises:
            BlockingIOError: if another process writes the run.
        """
        with self.run.lock():
            if self.config is not None:
                self.run.write_config(self.config)
            self.run.update(**info)
            yield

    def step(self, position: Position) -> None:
        """Write a snapshot after some gradient steps, and a checkpoint if the last one is old."""
        if position.step in self.steps:
            weights = weights_of(self.checkpoint.vae)
            self.run.write_files({snapshot_name(position.step): pack_weights(weights)})
        self.epoch(position)

    def epoch(self, position: Position) -> None:
        """Write a checkpoint after an epoch, if the last one is old."""
        if time.monotonic() - self.saved > SECONDS_BETWEEN_CHECKPOINTS:
            self.save(position, None)

    def save(self, position: Position, stopped: str | None) -> None:
        """Write a checkpoint, and the reason why training ended."""
        self.checkpoint.save(self.run, position, stopped)
        self.saved = time.monotonic()
