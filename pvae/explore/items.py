"""The data that the page shows: a part of a data set, encoded and scored."""

import threading
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pvae import moments
from pvae.data.batches import batches_for
from pvae.data.dataset import Dataset
from pvae.evaluation import anomaly_score
from pvae.messages import one_line
from pvae.seeds import choice, seeded
from pvae.vae import VAE

MOST = 1000  # data on the page
NUMBERS = 2**24  # values in all of them
SAMPLES = 100  # importance samples of each score
PORTION = 0.04  # seconds that scoring holds the model at a time


class Items:
    """Data of the last part of a data set, all or a random choice, with their posteriors.

    Args:
        vae: the VAE.
        data: the data set.
        most: the maximum number of items.
        seed: of the choice and of binarization.

    Attributes:
        part: the name of the part.
        rows: the row of each item in that part.
        x: shape (n, *event_shape), in the domain of the likelihood.
        y: labels for the VAE, if it is conditional.
        classes: the class of each item, if the data have classes.
        names: the names of the classes.
        mean: E[z|x], flattened, shape (n, d).
        stddev: the standard deviations of q(z|x), shape (n, d).
    """

    def __init__(self, vae: VAE, data: Dataset, most: int = MOST, seed: int = 0) -> None:
        self.part, held = [*data.parts.items()][-1]
        most = min(most, max(20, NUMBERS // vae.event_shape.numel()))
        self.total = len(held)
        self.rows = choice(len(held), most, seed).sort().values
        batches = batches_for(vae, data, held)
        found, means, stddevs = [], [], []
        with vae.evaluating(), seeded(seed, vae.device):
            for arguments in batches.arguments(self.rows, seed=seed):
                q = vae.encode(*arguments)
                means.append(moments.mean(q).flatten(1).cpu())
                stddevs.append(moments.stddev(q).flatten(1).cpu())
                found.append(tuple(argument.cpu() for argument in arguments))
        x, *y = map(torch.cat, zip(*found, strict=True))
        self.x: Tensor = x
        self.y: Tensor | None = y[0] if y else None
        self.mean, self.stddev = torch.cat(means), torch.cat(stddevs)
        self.classes: Tensor | None = None
        self.names: list[str] = []
        if held.y is not None and held.y.dim() == 1:
            self.classes = held.y[self.rows].long()
            self.names = all_names(data.classes or (), int(held.y.max()) + 1)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def variance(self) -> Tensor:
        """The variance of each latent's posterior mean over the items, shape (d,)."""
        return self.mean.var(0) if len(self) > 1 else torch.zeros(self.mean.shape[1])


class Scores:
    """Anomaly scores of items, computed in the background in small portions.

    Args:
        vae: the VAE.
        items: the items.
        lock: held while the model computes, so that others can use it between portions.
    """

    def __init__(self, vae: VAE, items: Items, lock: threading.Lock) -> None:
        self.vae = vae
        self.items = items
        self.lock = lock
        self.log_prob: list[float] = []
        self.pareto_k: list[float] = []
        self.error: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="scores")
        self._thread.start()

    def describe(self) -> dict[str, Any]:
        """The log p(x) and k-hat of the items scored so far, and how many there will be."""
        done = min(len(self.log_prob), len(self.pareto_k))
        return {
            "samples": SAMPLES,
            "total": len(self.items),
            "log_prob": self.log_prob[:done],
            "pareto_k": self.pareto_k[:done],
            "error": self.error,
        }

    def wait(self) -> None:
        """Wait until all items are scored."""
        self._thread.join()

    def stop(self) -> None:
        """Stop scoring, and wait for the current portion."""
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        at_once = 4
        while not self._stop.is_set() and len(self.log_prob) < len(self.items):
            rows = slice(len(self.log_prob), len(self.log_prob) + at_once)
            y = None if self.items.y is None else self.items.y[rows]
            began = time.monotonic()
            try:
                with self.lock:
                    found = score(self.vae, self.items.x[rows], y)
            except Exception as error:  # a part of the user's own may raise any: the page says it
                self.error = one_line(error)
                return
            self.pareto_k += found.pareto_k.tolist()
            self.log_prob += found.log_prob.tolist()
            elapsed = max(time.monotonic() - began, 1e-3)
            at_once = max(1, min(200, 2 * at_once, int(at_once * PORTION / elapsed)))
            self._stop.wait(0.01)  # lets others take the lock


def all_names(names: Sequence[object], count: int) -> list[str]:
    """The names of ``count`` classes, whose numbers stand for those without a name."""
    return [*map(str, names), *map(str, range(len(names), count))]


def score(vae: VAE, x: Tensor, y: Tensor | None) -> Any:
    """The anomaly scores that the page compares, all of the same estimator."""
    return anomaly_score(vae, x, y, num_samples=SAMPLES, progress=False)
