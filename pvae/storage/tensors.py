"""Weights and training states as bytes: checked when read, and no code is run to read them."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from pvae.messages import brief
from pvae.storage import archives, files


def checksum(content: bytes) -> str:
    """A text that other bytes would almost surely not give."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def pack_weights(weights: Mapping[str, Tensor]) -> bytes:
    """Named tensors as safetensors."""
    return save_tensors({name: w.detach().cpu().contiguous() for name, w in weights.items()})


def pack_state(state: Any) -> bytes:
    """Tensors, numbers, strings, lists and dictionaries of them, as `torch.save` writes them."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write named tensors as safetensors."""
    files.write(path, pack_weights(weights))


def write_state(path: Path, state: Any) -> None:
    """Write tensors, numbers, strings, lists and dictionaries of them."""
    files.write(path, pack_state(state))


def read_weights(path: Path, checksums: Sequence[str] = ()) -> dict[str, Tensor]:
    """Read named tensors.

    Args:
        path: the file.
        checksums: those it may have; any where there are none.

    Raises:
        ValueError: if the file is not whole safetensors, or of another checksum.
    """
    content = files.read(path)
    try:
        weights = load_tensors(content)
    except (SafetensorError, KeyError) as error:  # KeyError: a dtype that torch lacks
        raise ValueError(f"{path} is not a whole safetensors file: {brief(error)}.") from error
    check_sum(path, content, checksums)
    return weights


def read_state(path: Path, checksums: Sequence[str] = ()) -> Any:
    """Read what `write_state` wrote, to the CPU, and nothing that would run code.

    Args:
        path: the file.
        checksums: those it may have; any where there are none.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not whole, of another checksum, or holds anything but plain data.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: there is nothing to continue from.")
    content = files.read(path)
    check_sum(path, content, checksums)
    try:
        return archives.load_torch(io.BytesIO(content))
    except archives.Objects as error:
        raise ValueError(
            f"{path} is refused: it holds more than tensors and plain values, and reading it "
            "could run code."
        ) from error
    except ValueError as error:
        raise ValueError(f"{path} is not a whole checkpoint: {error}.") from error


def check_sum(path: Path, content: bytes, checksums: Sequence[str]) -> None:
    """Check that a file has one of the checksums it may have, where any are known.

    Raises:
        ValueError: if it has another.
    """
    if checksums and checksum(content) not in checksums:
        raise ValueError(
            f"{path} is not what the run wrote: its checksum differs, so that at least one bit "
            "has changed; restore the file from a copy."
        )
