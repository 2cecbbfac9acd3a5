"""Reading and writing weights and training states, with checksums and without running code."""

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
    """The checksum of a file's content."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def pack_weights(weights: Mapping[str, Tensor]) -> bytes:
    """Convert named tensors to the bytes of a safetensors file."""
    return save_tensors({name: w.detach().cpu().contiguous() for name, w in weights.items()})


def pack_state(state: Any) -> bytes:
    """Convert tensors, numbers, strings, lists and dictionaries to bytes by `torch.save`."""
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
        checksums: the checksums that it may have; empty for any.

    Raises:
        ValueError: if the file is not complete safetensors, or has another checksum.
    """
    content = files.read(path)
    try:
        weights = load_tensors(content)
    except (SafetensorError, KeyError) as error:  # KeyError: a dtype that torch lacks
        raise ValueError(f"{path} is not a complete safetensors file: {brief(error)}.") from error
    check_sum(path, content, checksums)
    return weights


def read_state(path: Path, checksums: Sequence[str] = ()) -> Any:
    """Read a state that `write_state` wrote, to the CPU, without running code.

    Args:
        path: the file.
        checksums: the checksums that it may have; empty for any.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, has another checksum, or holds anything but plain data.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: there is nothing to continue from.")
    content = files.read(path)
    check_sum(path, content, checksums)
    try:
        return archives.load_torch(io.BytesIO(content))
    except archives.Objects as error:
        raise ValueError(
            f"{path} is not safe: it holds more than tensors and plain values, and reading it "
            "could run code."
        ) from error
    except ValueError as error:
        raise ValueError(f"{path} is not a complete checkpoint: {error}.") from error


def check_sum(path: Path, content: bytes, checksums: Sequence[str]) -> None:
    """Raise if a file does not have one of its possible checksums, if any are known.

    Raises:
        ValueError: if its checksum differs.
    """
    if checksums and checksum(content) not in checksums:
        raise ValueError(
            f"{path} differs from what the run wrote: its checksum does not match, so at least "
            "one bit has changed; restore the file from a copy."
        )
