"""What a training run recorded, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class History(Mapping):
    """The figures of a training run: a mapping from their name to one value per epoch.

    Names are ``epoch``, ``step``, ``seconds``, ``loss`` (the objective, averaged over the epoch
    while it was trained) and, each for ``train/`` and ``validation/``: ``neg_elbo``,
    ``log_likelihood`` and ``kl`` in nats per datum, and ``bits_per_dim`` for bytes. Those of the
    train part are of as many of its data as there are validation data, evaluated in the same way,
    so that the difference between the two is the generalization gap alone.

    Args:
        rows: one dictionary per epoch.
        stopped: why training ended: ``finished``, ``early`` or ``interrupted``.

    Example:
        >>> from pvae.inference import History
        >>> History([{"epoch": 1, "loss": 5.0}, {"epoch": 2, "loss": 4.0}])["loss"]
        [5.0, 4.0]
    """

    def __init__(self, rows: list[dict[str, Any]], stopped: str = "finished") -> None:
        self.rows = rows
        self.stopped = stopped

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
        """The epoch of the smallest validation −ELBO, or the last where nothing was held out."""
        if not self.rows:
            return None
        if "validation/neg_elbo" not in self:
            return self.rows[-1]["epoch"]
        return min(self.rows, key=lambda row: row["validation/neg_elbo"])["epoch"]

    def plot(self) -> Figure:
        """Draw the loss curves with their parts."""
        from pvae.plots import loss_curves

        return loss_curves(self)

    def __repr__(self) -> str:
        return f"History({len(self.rows)} epochs, best {self.best_epoch}, {self.stopped})"
