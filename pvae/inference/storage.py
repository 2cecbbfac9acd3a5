"""Weights and training states on disk: whole or absent, and no code is run to read them."""

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from pvae.files import write


def write_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """Write named tensors as safetensors."""
    write(path, save_tensors({name: w.detach().cpu().contiguous() for name, w in weights.items()}))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read named tensors.

    Raises:
        ValueError: if the file is not whole safetensors.
    """
    try:
        return load_tensors(path.read_bytes())
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}.") from error


def write_state(path: Path, state: Any) -> None:
    """Write tensors, numbers, strings, lists and dictionaries of them."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write(path, buffer.getvalue())


def read_state(path: Path) -> Any:
    """Read what `write_state` wrote, to the CPU, and nothing that would run code.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not whole, or holds anything but plain data.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: there is nothing to continue from.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is refused: it holds more than tensors and plain values, and reading it "
            "could run code."
        ) from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise ValueError(f"{path} is not a whole checkpoint: {error}.") from error
