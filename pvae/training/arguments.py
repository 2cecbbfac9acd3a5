"""Checks of the arguments of `pvae.fit`, made before anything runs."""

import os
from collections.abc import Sequence
from typing import Any

import torch

from pvae.checks import check_size, is_real, is_whole
from pvae.data.dataset import Dataset
from pvae.interfaces import option
from pvae.labels import Labels
from pvae.messages import kind_of, shown
from pvae.vae import VAE


def check_dataset(
    vae: VAE, data: Dataset, labelled: Sequence[str] = ("train", "validation", "test")
) -> None:
    """Raise if data do not have the event shape, domain, levels and labels of a VAE.

    Args:
        vae: the VAE.
        data: the data set.
        labelled: the parts whose labels the VAE must know.

    Raises:
        ValueError: if they do not; the message has both shapes.
    """
    data.check_model(vae)
    levels = option(vae.likelihood, "levels")
    if levels is not None and data.levels not in (None, levels):
        raise ValueError(
            f"The data {data.name} have {data.levels} levels, the likelihood "
            f"{type(vae.likelihood).__name__} {levels}: make it with levels={data.levels}."
        )
    if vae.labels is not None and vae.classifier is not None:
        check_known_labels(vae.labels, data)
    elif vae.labels is not None:
        for name, part in data.parts.items():
            if name not in labelled:
                continue
            if vae.labels.classes and part.y is not None and bool((part.y == -1).any()):
                raise ValueError(
                    f"Some labels of {data.name} are unknown, -1: give the VAE a classifier that "
                    "sums over them, classifier=Softmax."
                )
            vae.labels.check(part.y)


def check_known_labels(labels: Labels, data: Dataset) -> None:
    """Raise if data cannot train a VAE with a classifier: some of their labels may be unknown, -1.

    Raises:
        ValueError: if a known label is none of its classes, or only some classes have one to train
            on.
    """
    for part in data.parts.values():
        if part.y is not None:
            labels.check(part.y if part.y.dim() == 2 else part.y[part.y != -1])
    if data.train.y is None or bool((data.train.y == -1).all()):
        return
    missing = set(range(labels.size)) - {*data.train.y.tolist()}
    if missing:
        raise ValueError(
            f"No datum of {data.name} is labelled as class {min(missing)} to train on, and data of "
            "other classes are: label at least one of each class, or none at all for clusters."
        )


def check_sampler(vae: VAE, optimizer: object, keep: str, patience: Any) -> None:
    """Raise if an optimizer that samples has no draws to leave, or draws would be lost.

    Raises:
        ValueError: if only one of the optimizer and the weights is made for draws, the weights of
            an earlier epoch are kept, or training may stop early.
    """
    leaves = vae.weights is not None and vae.weights.samples
    if leaves != hasattr(optimizer, "is_draw"):
        raise ValueError(
            "Draws of the weights are left by an optimizer that samples: give "
            "weights=partial(Weights, posterior=AutoDelta, draws=...) and optimizer=SGHMC together."
        )
    if leaves and (keep, patience) != ("last", None):
        raise ValueError(
            "The draws of a sampler are of the whole run: with draws of the weights give "
            "keep='last' and patience=None."
        )


def check_numbers(**numbers: Any) -> None:
    """Raise if epochs, batch_size, a norm or its limit, or seed is not a valid number.

    Raises:
        ValueError: if one is out of range or not a number.
    """
    check_size("epochs", numbers["epochs"])
    check_size("batch_size", numbers["batch_size"])
    for name in ("clip_norm", "skip_norm", "spectral_limit"):
        norm = numbers[name]
        if norm is not None and not (is_real(norm) and norm > 0):
            raise ValueError(f"{name} is {shown(norm)}: it must be a positive number, or None.")
    seed = numbers["seed"]
    if not (is_whole(seed) and 0 <= seed < 2**32):
        raise ValueError(f"seed is {shown(seed)}: it must be a whole number from 0 to 4294967295.")


def check_auto(name: str, value: Any, least: int) -> None:
    """Raise if a number of steps or epochs is neither a whole number, "auto" nor ``None``.

    Raises:
        ValueError: if it is not one of these.
    """
    if value not in ("auto", None) and not (is_whole(value) and value >= least):
        raise ValueError(
            f"{name} is {shown(value)}: it must be 'auto', None, or a whole number of at least "
            f"{least}."
        )


def check_places(run: Any, device: Any) -> None:
    """Raise if the run folder is not a path, or the device not a name.

    Raises:
        TypeError: if one is of another type.
    """
    if run is not None and not isinstance(run, str | os.PathLike):
        raise TypeError(f"run is {kind_of(run)}: it must be the path of a folder, or None.")
    if not isinstance(device, str | torch.device):
        raise TypeError(
            f"device is {kind_of(device)}: it must be a name, such as 'auto', 'cpu' or 'cuda:1'."
        )
