"""Warm-up, early stopping and the choice of the best epoch."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import pyro
import torch
from pyro.infer import ELBO, Trace_ELBO, TraceGraph_ELBO, TraceMeanField_ELBO

from pvae.data.batches import Batches
from pvae.evaluation.summary import bits_per_dim
from pvae.interfaces import option
from pvae.messages import shown
from pvae.objectives.counting import settled
from pvae.objectives.warmup import Warmup, can_warm_up
from pvae.seeds import seeded
from pvae.training.history import HIGHER
from pvae.vae import VAE

Figure = Literal["objective", "neg_elbo", "log_likelihood", "bits_per_dim"]
Keep = Literal["best", "last"]
# Defaults, chosen by measurements in results/defaults.py
WARMUP_SHARE = 0.1  # of the steps
PATIENCE_SHARE = 0.2  # of the epochs, but at least
FEWEST_EPOCHS = 20


@dataclass
class Monitor:
    """The validation metric by which a run chooses its best epoch.

    Args:
        figure: the name of the metric, one of `Figure`.
        objective: the training objective.
        batches: minibatches of the validation part, or ``None``.
    """

    figure: Figure
    objective: ELBO
    batches: Batches | None

    def figures(self, vae: VAE) -> dict[str, float]:
        """Evaluate the objective, in nats per datum, if it is not the −ELBO.

        Warm-up weights, such as that of the KL, have their final values, so that epochs can be
        compared. If they cannot, as the loss changes with a discriminator, there is no such metric.
        Random draws are the same after every epoch, and do not affect training.
        """
        if self.batches is None or is_elbo(self.objective):
            return {}
        if not compares("objective", self.objective):
            return {}
        return {"objective": mean_loss(self.objective, vae, self.batches)}

    @property
    def chooses(self) -> bool:
        """Whether there is a metric to choose the best epoch by."""
        return self.batches is not None and compares(self.figure, self.objective)

    def name(self) -> str:
        """The name of the metric in a history."""
        figure = "neg_elbo" if self.figure == "objective" and is_elbo(self.objective) else None
        return f"validation/{figure or self.figure}"

    def check(self, vae: VAE) -> None:
        """Raise if these data do not have the metric.

        Raises:
            ValueError: if it is the bits per dimension, and the data are not bytes.
        """
        bits = self.batches is None or bits_per_dim(0.0, vae, self.batches) is not None
        if self.figure == "bits_per_dim" and not bits:
            raise ValueError(
                "monitor is 'bits_per_dim', which only a density or mass of bytes has: choose "
                "objective, neg_elbo or log_likelihood."
            )

    def loss(self, row: dict[str, Any]) -> float:
        """The metric of an epoch, with the sign such that lower is better.

        Without one it is the −ELBO of the train part.
        """
        figure = row[self.followed()]
        return -figure if self.chooses and self.figure in HIGHER else figure

    def followed(self) -> str:
        """The name of that metric in a history."""
        return self.name() if self.chooses else "train/neg_elbo"


def compares(figure: str, objective: ELBO) -> bool:
    """Whether a metric of two epochs can be compared."""
    return figure != "objective" or option(objective, "is_comparable")


def choose_warmup(warmup: int | str | None, objective: ELBO, planned: int) -> int:
    """The steps over which the KL warms up: a fraction of the planned ones for "auto".

    Raises:
        ValueError: if a number is given for an objective without a KL, or with its own schedule.
    """
    if warmup == "auto":
        return round(WARMUP_SHARE * planned) if can_warm_up(objective) else 0
    if warmup and option(objective, "warms_up") is False:
        raise ValueError(
            f"warmup is {warmup}: {type(objective).__name__} has no KL to warm up, or warms up by "
            "itself; leave warmup at 0."
        )
    return int(warmup or 0)


def choose_patience(
    patience: int | str | None, epochs: int, held_out: bool, scheduler: Any, compares: bool = True
) -> int | None:
    """The epochs without improvement after which training stops, or ``None`` for never.

    Raises:
        ValueError: if a number is given without a validation part, or without a metric of which
            epochs can be compared.
    """
    if patience == "auto":
        waits = held_out and scheduler is None and compares
        return max(FEWEST_EPOCHS, round(PATIENCE_SHARE * epochs)) if waits else None
    if patience is not None and not held_out:
        raise ValueError(
            "Early stopping needs a validation part: load the data with validation= a fraction."
        )
    if patience is not None and not compares:
        raise ValueError(
            "Early stopping needs a metric of which epochs can be compared, and this objective "
            "changes with its discriminator: set monitor to neg_elbo, or leave patience out."
        )
    return None if patience is None else int(patience)


def check_monitor(monitor: Any, keep: Any) -> tuple[Figure, Keep]:
    """Check and return the names of the monitored metric and the kept epoch.

    Raises:
        ValueError: if one is not a valid name.
    """
    figure: Any = monitor.removeprefix("validation/") if isinstance(monitor, str) else monitor
    if figure not in get_args(Figure):
        raise ValueError(
            f"monitor is {shown(monitor)}: it must be one of {', '.join(get_args(Figure))}."
        )
    if keep not in get_args(Keep):
        raise ValueError(f"keep is {shown(keep)}: it must be 'best' or 'last'.")
    return figure, keep


def is_elbo(objective: ELBO) -> bool:
    """Whether the expected loss of an objective is the −ELBO, which is always evaluated."""
    if isinstance(objective, Warmup):
        return is_elbo(objective.objective)
    return type(objective) in (Trace_ELBO, TraceMeanField_ELBO, TraceGraph_ELBO)


def mean_loss(objective: Any, vae: VAE, batches: Batches, seed: int = 0) -> float:
    """The mean loss of the data in nats, with the objective's final warm-up weights."""
    with (
        settled(objective),
        vae.evaluating(),
        seeded(seed, vae.device),
        pyro.validation_enabled(False),
    ):
        losses = [
            float(objective.loss(vae.model, vae.guide, *arguments))
            for arguments in batches.arguments()
        ]
    return float(torch.tensor(losses, dtype=torch.float64).sum()) / len(batches.part)
