"""Files that are whole or absent, and that run no code when they are read."""

import io
import os
import pickle
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor


def write(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, and rename it when it is complete.

    Raises:
        OSError: if the disk is full or cannot be written to; an older file is then still whole.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes it private
        os.replace(temporary, path)
    except OSError as error:
        os.unlink(temporary)
        raise _unwritable(path, error) from error
    except BaseException:
        os.unlink(temporary)
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Fill a folder under a temporary name, and rename it when it is complete.

    Raises:
        OSError: if the disk is full or cannot be written to; no folder has then appeared.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())  # mkdtemp makes it private
        os.rename(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _unwritable(path: Path, error: OSError) -> OSError:
    reason = error.strerror or str(error)
    return OSError(
        error.errno, f"{path} could not be written ({reason}): free or choose another disk"
    )


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
        ValueError: if the file is not whole, or holds anything but plain data.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} is refused: it holds more than tensors and plain values, and reading it "
            "could run code."
        ) from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise ValueError(f"{path} is not a whole checkpoint: {error}.") from error
