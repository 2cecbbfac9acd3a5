"""The settings of a training run: the checked arguments of `pvae.fit`, with defaults resolved."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from torch.optim.lr_scheduler import LRScheduler

from pvae import factories
from pvae.data.dataset import Dataset
from pvae.messages import shown
from pvae.objectives.counting import nested
from pvae.objectives.semi_supervised import SemiSupervised
from pvae.objectives.wrapper import check_objective
from pvae.training.arguments import check_auto, check_numbers
from pvae.training.optimization import check_factory
from pvae.training.runs import Run
from pvae.training.selection import check_monitor, choose_patience, choose_warmup, compares
from pvae.vae import VAE


@dataclass(frozen=True)
class Settings:
    """The arguments of `pvae.fit` of these names.

    Raises:
        TypeError: if one has another type, such as a class instead of an instance.
        ValueError: if one is out of range.
    """

    epochs: int
    batch_size: int
    objective: Any  # an ELBO, which is Pyro's Trace_ELBO for None
    optimizer: Callable[..., torch.optim.Optimizer]
    scheduler: Callable[..., LRScheduler] | None
    clip_norm: float | None
    skip_norm: float | None
    spectral_limit: float | None
    warmup: Any
    monitor: Any
    keep: Any
    patience: Any
    compile: bool | str
    device: str
    seed: int
    snapshots: bool

    def __post_init__(self) -> None:
        numbers = ("epochs", "batch_size", "clip_norm", "skip_norm", "spectral_limit", "seed")
        check_numbers(**{name: getattr(self, name) for name in numbers})
        check_auto("warmup", self.warmup, 0)
        check_auto("patience", self.patience, 1)
        monitor, keep = check_monitor(self.monitor, self.keep)
        if not isinstance(self.compile, bool) and self.compile != "auto":
            raise ValueError(f"compile is {shown(self.compile)}: it must be 'auto', True or False.")
        if not isinstance(self.snapshots, bool):
            raise ValueError(f"snapshots is {shown(self.snapshots)}: it must be True or False.")
        objective = Trace_ELBO() if self.objective is None else check_objective(self.objective)
        check_factory("optimizer", self.optimizer)
        if self.scheduler is not None:
            check_factory("scheduler", self.scheduler)
        vars(self).update(monitor=monitor, keep=keep, objective=objective)

    def as_begun(self, run: Run) -> "Settings":
        """Resolve "auto" to the values of a resumed run, and disable features newer than it."""
        begun, lacking = run.config, run.lacking
        return replace(
            self,
            warmup=begun["warmup"] if self.warmup == "auto" else self.warmup,
            patience=begun.get("patience") if self.patience == "auto" else self.patience,
            monitor=lacking.get("monitor", self.monitor),
            keep=lacking.get("keep", self.keep),
            snapshots=lacking.get("snapshots", self.snapshots),
        )

    def for_labels(self, vae: VAE) -> "Settings":
        """Wrap the objective of a VAE with a classifier by `SemiSupervised`.

        Raises:
            ValueError: if the objective is that already, and the VAE has no classifier.
        """
        inner = [*nested(self.objective)]
        sums = any(isinstance(each, SemiSupervised) for each in inner)
        if sums and vae.classifier is None:
            raise ValueError(
                "SemiSupervised is for a VAE whose labels may be unknown: build it with "
                "classifier=, such as pvae.classifiers.Softmax."
            )
        if vae.classifier is None or sums or isinstance(inner[-1], TraceEnum_ELBO):
            return self
        return replace(self, objective=SemiSupervised(objective=self.objective))

    def planned(self, data: Dataset) -> "Settings":
        """Resolve "auto" for a data set, and keep the last epoch if there is no best one.

        Raises:
            ValueError: if the objective has no KL to warm up, or early stopping has no validation
                part.
        """
        steps = self.epochs * -(-len(data.train) // self.batch_size)
        held_out = data.validation is not None
        compared = compares(self.monitor, self.objective)
        return replace(
            self,
            warmup=choose_warmup(self.warmup, self.objective, steps),
            keep=self.keep if compared else "last",
            patience=choose_patience(
                self.patience, self.epochs, held_out, self.scheduler, compared
            ),
        )

    def describe(self, vae: VAE, data: Dataset) -> dict[str, Any]:
        """The configuration that reproduces the run, as far as it can be described."""
        made = vae.arguments
        parts = {
            part: _try(partial(_describe_part, made, part))
            for part in ("prior", "likelihood", "posterior", "network")
        }
        if vae.weights is not None:
            parts["weights"] = _try(partial(_describe_part, made, "weights"))
        classifier, scheduler = made.get("classifier"), self.scheduler
        return {
            "data": None,
            **data.arguments,
            "event_shape": list(vae.event_shape),
            "latent_dim": made.get("latent_dim", vae.latent_shape.numel()),
            "conditional": list(made.get("conditional", ())) or False,
            "classifier": classifier and _try(partial(_describe_part, made, "classifier")),
            "class_prior": made.get("class_prior", "uniform"),
            **parts,
            "objective": _try(lambda: factories.describe_instance("objective", self.objective)),
            "optimizer": _try(lambda: factories.describe("optimizer", self.optimizer)),
            "scheduler": scheduler and _try(lambda: factories.describe("scheduler", scheduler)),
            "epochs": int(self.epochs),
            "batch_size": int(self.batch_size),
            "clip_norm": None if self.clip_norm is None else float(self.clip_norm),
            "skip_norm": None if self.skip_norm is None else float(self.skip_norm),
            "spectral_limit": self.spectral_limit and float(self.spectral_limit),
            "warmup": self.warmup,
            "monitor": self.monitor,
            "keep": self.keep,
            "patience": self.patience,
            "compile": self.compile,
            "device": str(self.device),
            "seed": int(self.seed),
            "snapshots": self.snapshots,
        }


def _describe_part(made: Mapping[str, Any], part: str) -> dict[str, Any]:
    return factories.describe(part, made[part])


def _try(describe: Callable[[], dict]) -> dict | None:
    """A description, or None for an object that cannot be described."""
    try:
        return describe()
    except (ValueError, KeyError):
        return None
