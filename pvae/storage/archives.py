"""Safe reading of torch and NumPy archives: without running code or expanding without bound."""

import io
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from pvae import memory
from pvae.messages import brief

# Deflate compresses zeros to a thousandth. The most compressible real data that we know, dSprites,
# are compressed to less than a hundredth: 3 GB in 26 MB.
_MOST_EXPANSION = 500
_SMALL = 2**28  # bytes that may have any compression ratio

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Objects(ValueError):
    """Raised for Python objects, which are not read because they could run code."""


def load_torch(file: BinaryIO) -> Any:
    """Read tensors and plain values that `torch.save` wrote, to the CPU.

    Raises:
        Objects: if it holds anything else.
        ValueError: if it is damaged, or would expand when read.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            # Torch does not compress or duplicate; an archive that does is not from torch.
            if sum(member.file_size for member in archive.infolist()) > file.seek(0, io.SEEK_END):
                raise ValueError("its members are larger than the file")
        file.seek(0)
        with warnings.catch_warnings():  # such as that it checks the indices of sparse tensors
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise Objects("it holds Python objects") from error
    except Exception as error:  # torch raises errors of many types for damaged archives
        raise ValueError(brief(error)) from error


def check_tensor(x: Tensor) -> None:
    """Raise if a tensor of an archive is not dense, or is larger than its storage.

    Raises:
        ValueError: if it is sparse, quantized or on no device, or expands its storage.
    """
    if x.layout != torch.strided or x.is_quantized or x.device.type != "cpu" or x.is_nested:
        raise ValueError("it holds a tensor that is not of plain numbers, such as a sparse one")
    _check_expansion(x.numel() * x.element_size(), x.untyped_storage().nbytes())


class Npz(Mapping):
    """The arrays of an .npz file by name, each read on access.

    Args:
        path: the file.

    Raises:
        ValueError: if the file is not such an archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as archive:
            self._members = {
                member.filename.removesuffix(".npy"): member
                for member in archive.infolist()
                if member.filename.endswith(".npy")
            }

    def __getitem__(self, name: str) -> np.ndarray:
        member = self._members[name]
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{name} is compressed in another way than NumPy's")
        _check_expansion(member.file_size, member.compress_size)
        with self._open() as archive, archive.open(member) as stream:
            return read_array(stream, member.file_size)

    def __contains__(self, name: object) -> bool:
        return name in self._members  # Mapping's own would read the array

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def _open(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self.path)


def read_array(stream: IO[bytes], size: int) -> np.ndarray:
    """Read an array in the format of .npy, after checking its header.

    Args:
        stream: the stream, at its beginning.
        size: the number of bytes in it.

    Raises:
        Objects: if it holds Python objects.
        ValueError: if it is damaged, or shorter than its header says.
    """
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"it is of version {version} of the format")
    shape, fortran, dtype = _HEADERS[version](stream)
    if dtype.hasobject:
        raise Objects("it holds Python objects")
    count, left = prod(shape), size - stream.tell()
    if min(shape, default=0) < 0 or dtype.itemsize == 0 or count * dtype.itemsize > left:
        raise ValueError(
            f"its header names shape {brief(shape, 60)} and {dtype}, and {left:,} bytes follow"
        )
    memory.check("its array", count * dtype.itemsize)
    x = np.empty(count, dtype)
    if count:
        view = memoryview(x.data).cast("B")
        if _read_into(stream, view) != len(view):
            raise ValueError("it ends early")
    return x.reshape(shape, order="F" if fortran else "C")


def _read_into(stream: Any, view: memoryview) -> int:
    done = 0
    while done < len(view):
        chunk = stream.readinto(view[done : done + 2**20])
        if not chunk:
            break
        done += chunk
    return done


def _check_expansion(size: int, stored: int) -> None:
    if size > _SMALL and size > _MOST_EXPANSION * stored:
        raise ValueError(f"{stored:,} bytes of it would expand to {size:,}")
    memory.check("its array", size)
