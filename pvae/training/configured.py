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
from pvae.training.arguments import check_dataset, check_numbers
from pvae.training.device import choose_device
from pvae.training.fit import fit
from pvae.training.history import History
from pvae.training.rebuild import build_from, select
from pvae.training.settings import Settings
from pvae.training.trainer import Trainer
from pvae.vae import VAE


def build_configured(config: Mapping[str, Any], data: Dataset | None = None) -> tuple[VAE, Dataset]:
    """Load the data of a configuration and build its VAE, with initial weights by its seed.

    Args:
        config: the arguments of `pvae train`, with parts described as in `Run.config`.
        data: the data of the configuration, if they are loaded already.

    Raises:
        ValueError: if an argument is out of range, or the parts do not fit the data.
    """
    if config["data"] is None:
        raise ValueError("This run was started on data given by value: continue it from Python.")
    numbers = ("epochs", "batch_size", "clip_norm", "skip_norm", "spectral_limit", "seed")
    check_numbers(**{name: config[name] for name in numbers})
    data = load(**select(config, load)) if data is None else data
    pyro.set_rng_seed(config["seed"])
    sizes: dict[str, Any] = {"event_shape": data.event_shape}
    if config["classifier"] and not config["conditional"]:
        raise ValueError(
            "A classifier infers labels that other parts of the VAE see: give conditional=True "
            "with it, or leave it out."
        )
    if config["conditional"]:
        sizes |= data.label_sizes()
        if config["classifier"] and sizes["classes"] is None:
            raise ValueError(
                f"A classifier infers classes, and the labels of {data.name} are continuous: leave "
                "it out."
            )
    vae = build_from({**config, **sizes})
    if config.get("labelled") is not None and vae.classifier is None:
        raise ValueError(
            f"labelled={config['labelled']} has a use only if a classifier sums over the labels "
            "that are unknown: give conditional=True and classifier=Softmax with it, or leave it "
            "out."
        )
    return vae, data


def check_configured(vae: VAE, data: Dataset, config: Mapping[str, Any]) -> None:
    """Raise what `fit_configured` would raise before its first step, and train nothing.

    The steps are tried on the CPU, and not timed for ``compile="auto"``.
    """
    choose_device(str(config["device"]))
    compile = False if config["compile"] == "auto" else config["compile"]
    tried = {**config, **_restored(config), "device": "cpu", "compile": compile}
    check_dataset(vae, data)
    Trainer(vae, data, Settings(**select(tried, Settings))).start(None)


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
    arguments = select(config, fit) | {
        "vae": vae,
        "data": data,
        **_restored(config),
        "run": run,
        "resume": resume,
        "progress": progress,
        "pause": pause,
    }
    return fit(**arguments)


def _restored(config: Mapping[str, Any]) -> dict[str, Any]:
    """The objective, optimizer and schedule that a configuration describes, as `fit` takes them."""
    scheduler = config["scheduler"]
    return {
        "objective": restore("objective", config["objective"], pyro.infer.ELBO)(),
        "optimizer": restore("optimizer", config["optimizer"], torch.optim.Optimizer),
        "scheduler": scheduler and restore("scheduler", scheduler, LRScheduler),
    }
