"""Training a VAE from a configuration, as the command line and studies do."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyro
import torch
from torch.optim.lr_scheduler import LRScheduler

from pvae.data.dataset import Dataset
from pvae.data.loading import load
from pvae.factories import restore
from pvae.training.arguments import check_numbers
from pvae.training.fit import fit
from pvae.training.history import History
from pvae.training.rebuild import build_from, select
from pvae.vae import VAE


def build_configured(config: Mapping[str, Any]) -> tuple[VAE, Dataset]:
    """Load the data of a configuration and build its VAE, with initial weights by its seed.

    Args:
        config: the arguments of `pvae train`, with parts described as in `Run.config`.

    Raises:
        ValueError: if an argument is out of range, or the parts do not fit the data.
    """
    if config["data"] is None:
        raise ValueError("This run was started on data given by value: continue it from Python.")
    data = load(**select(config, load))
    numbers = ("epochs", "batch_size", "clip_norm", "skip_norm", "spectral_limit", "seed")
    check_numbers(**{name: config[name] for name in numbers})
    pyro.set_rng_seed(config["seed"])
    sizes: dict[str, Any] = {"event_shape": data.event_shape}
    if config["conditional"]:
        sizes |= data.label_sizes()
    return build_from({**config, **sizes}), data


def fit_configured(
    vae: VAE,
    data: Dataset,
    config: Mapping[str, Any],
    run: str | Path,
    resume: bool = False,
    progress: bool = True,
    pause: Callable[[History], bool] | None = None,
) -> History:
    """Call `fit` with the arguments of a configuration.

    Args:
        vae: the VAE.
        data: its data.
        config: as for `build_configured`.
        run: the run folder.
        resume: whether to continue the run in it.
        progress: whether to show progress.
        pause: when to pause, as for `fit`.
    """
    scheduler = config["scheduler"]
    arguments = select(config, fit) | {
        "vae": vae,
        "data": data,
        "objective": restore("objective", config["objective"], pyro.infer.ELBO)(),
        "optimizer": restore("optimizer", config["optimizer"], torch.optim.Optimizer),
        "scheduler": scheduler and restore("scheduler", scheduler, LRScheduler),
        "run": run,
        "resume": resume,
        "progress": progress,
        "pause": pause,
    }
    return fit(**arguments)
