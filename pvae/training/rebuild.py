"""Rebuilding the VAE and the data of a run folder from its records."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pvae import factories, memory
from pvae.builder import build
from pvae.data.dataset import Dataset
from pvae.data.loading import load
from pvae.data.named import NAMES
from pvae.messages import brief
from pvae.vae import VAE

OPTIONAL = {"classifier", "weights"}  # what a VAE may be without


def build_from(config: Mapping[str, Any], weights: Mapping[str, torch.Tensor] | None = None) -> VAE:
    """Build the VAE that a configuration describes.

    Args:
        config: the configuration, as `Run.config` returns it.
        weights: the weights to be loaded, whose shapes the VAE must have.

    Raises:
        ValueError: if a part is missing, cannot be imported, or fails on its arguments, or the
            model does not match the weights or is too large for the memory.
    """
    arguments = select(config, build)
    arguments = {k: v for k, v in arguments.items() if k not in OPTIONAL or v is not None}
    small = memory.is_small(arguments)
    for name in arguments.keys() & {"prior", "likelihood", "posterior", "network", *OPTIONAL}:
        if arguments[name] is None:
            raise ValueError(
                f"The {name} of this run was made by code that a configuration cannot name: make "
                "the VAE yourself and pass it, pvae.load(run, vae=vae)."
            )
        arguments[name] = factories.restore(name, arguments[name], torch.nn.Module)
    try:
        state = None if small else memory.check_model(lambda: build(**arguments))
        vae = None
        if state is None:  # small, or of a part that cannot be made without memory
            vae = build(**arguments)
            state = vae.state_dict()
        if weights is not None:
            own, found = ({n: tuple(w.shape) for n, w in s.items()} for s in (state, weights))
            _check_same(own, found, "The file of weights")
        return build(**arguments) if vae is None else vae
    except ValueError:
        raise
    except Exception as error:  # parts may raise anything for wrong arguments
        raise ValueError(f"The configured model cannot be built: {brief(error)}.") from error


def load_like(data: str, arguments: Mapping[str, Any], event_shape: Sequence[int]) -> Dataset:
    """Load other data with the settings of a run's own data, in the event shape of its VAE.

    Nothing is held out: data without a test part of their own are one part, train.
    """
    kept: dict[str, Any] = {"binarization": arguments.get("binarization", "dynamic")}
    if data not in NAMES and not Path(data).is_dir():
        kept["event_shape"] = tuple(event_shape)
    elif len(event_shape) == 3:
        kept |= {"size": tuple(event_shape[1:]), "channels": event_shape[0]}
        kept["crop"] = arguments.get("crop", False)
    return load(data, validation=0, test=0, **kept)


def select(config: Mapping[str, Any], function: Callable[..., Any]) -> dict[str, Any]:
    """The entries of a configuration that are arguments of a function."""
    return {k: config[k] for k in inspect.signature(function).parameters if k in config}


def load_weights(vae: VAE, weights: Mapping[str, torch.Tensor], source: object) -> None:
    """Load weights into a VAE.

    Raises:
        ValueError: if a name, shape or dtype differs; the VAE is then unchanged.
    """
    check_tensors(vae.state_dict(), weights, source)
    vae.load_state_dict(weights)


def check_tensors(
    own: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor], source: object
) -> None:
    """Raise if tensors from a file differ from those of the model in name, shape or dtype.

    Raises:
        ValueError: if they do; the message names the first that differs.
    """
    kinds = [{n: _kind(w) for n, w in side.items()} for side in (own, found)]
    _check_same(kinds[0], kinds[1], source)


def _check_same(own: Mapping[str, Any], found: Mapping[str, Any], source: object) -> None:
    differing = [
        f"{brief(name, 60)}: {found.get(name, 'absent')} in the file, {own.get(name, 'absent')} "
        "in the model"
        for name in sorted(own.keys() | found.keys())
        if found.get(name) != own.get(name)
    ]
    if differing:
        more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
        raise ValueError(f"{source} does not match the model; {differing[0]}{more}.")


def _kind(tensor: torch.Tensor) -> str:
    return f"{tuple(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"
