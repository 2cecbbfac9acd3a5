"""The history of a training run: its metrics, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

HIGHER = ("log_likelihood",)  # metrics for which higher is better; for all others, lower
METRICS = {  # the metrics that may choose the best epoch, and their names
    "objective": "objective",
    "neg_elbo": "−ELBO",
    "log_likelihood": "log-likelihood",
    "bits_per_dim": "bits per dimension",
}


class History(Mapping):
    """The metrics of a training run: a mapping from their name to one value per epoch.

    Names are ``epoch``, ``step``, ``seconds``, ``loss`` (the objective, averaged over the epoch
    while it was trained) and, each for ``train/`` and ``validation/``: ``neg_elbo``,
    ``log_likelihood`` and ``kl`` in nats per datum, and ``bits_per_dim`` for bytes. Train metrics
    are computed on as many data as there are validation data, in the same way, so that the
    difference between the two is the generalization gap. An objective other than the −ELBO has a
    column ``validation/objective``, in nats per datum, with its warm-up weights at their final
    values, while ``loss`` changes with these weights.

    Args:
        rows: one dictionary per epoch.
        stopped: why training ended: ``finished``, ``early`` or ``interrupted``.
        monitor: the metric by which the best epoch was chosen.
        keep: the epoch whose weights were kept: ``best`` or ``last``.
        notes: sentences about defaults chosen for this run and findings at its end.

    Example:
        >>> from pvae.training import History
        >>> History([{"epoch": 1, "loss": 5.0}, {"epoch": 2, "loss": 4.0}])["loss"]
        [5.0, 4.0]
    """

    def __init__(
        self,
        rows: list[dict[str, Any]],
        stopped: str | None = "finished",
        monitor: str = "validation/neg_elbo",
        keep: str = "best",
        notes: Sequence[str] = (),
    ) -> None:
        self.rows = rows
        self.stopped = stopped
        self.monitor = monitor
        self.keep = keep
        self.notes = list(notes)

    def __getitem__(self, name: str) -> list:
        if name not in set().union(*self.rows):
            raise KeyError(name)
        return [row.get(name) for row in self.rows]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for row in self.rows for name in row))

    def __len__(self) -> int:
        return len(list(iter(self)))

    @property
    def best_epoch(self) -> int | None:
        """The epoch with the best monitored metric, or the last without a validation part."""
        if not self.rows:
            return None
        if self.monitor not in self:
            return self.rows[-1]["epoch"]
        sign = -1 if self.monitor.endswith(HIGHER) else 1
        return min(self.rows, key=lambda row: sign * row[self.monitor])["epoch"]

    @property
    def kept_epoch(self) -> int | None:
        """The epoch whose weights were kept, the best or the last."""
        if not self.rows or self.keep == "best":
            return self.best_epoch
        return self.rows[-1]["epoch"]

    @property
    def best_in_words(self) -> str | None:
        """What the best epoch has, such as "lowest validation −ELBO, 90.12 nats".

        ``None`` without a validation metric to choose it by.
        """
        if self.monitor not in self:
            return None
        metric = self.monitor.removeprefix("validation/")
        best = self.rows[self["epoch"].index(self.best_epoch)][self.monitor]
        unit = "" if metric == "bits_per_dim" else " nats"
        order = "highest" if metric in HIGHER else "lowest"
        return f"{order} validation {METRICS[metric]}, {best:.2f}{unit}"

    @property
    def why_kept(self) -> str:
        """Why the weights of `kept_epoch` were kept, in words: what it has, or that it is last."""
        return (self.best_in_words if self.keep == "best" else None) or "the last"

    def __repr__(self) -> str:
        return f"History({len(self.rows)} epochs, best {self.best_epoch}, {self.stopped})"
