"""Reading arrays from .npy, .npz, .pt and .csv files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from torch import Tensor

from pvae import memory
from pvae.data.arrays import Arrays
from pvae.data.tables import read_table
from pvae.messages import brief
from pvae.storage import archives, files

T = TypeVar("T")

SUFFIXES = (".npy", ".npz", ".pt", ".csv")
"""Endings of the names of files that hold arrays."""

_VALUES = ("x", "images", "data")
_LABELS = ("y", "labels", "targets")
_PARTS = ("train", "validation", "test")


def read_file(path: Path, key: str | None = None) -> dict[str, Arrays]:
    """Read the values, and the labels if there are any, from a file.

    Of several arrays in one ``.npz`` or ``.pt`` file the values are the one named ``x``, ``images``
    or ``data``, or the only one besides the labels, which are named ``y``, ``labels`` or
    ``targets``. A file with ``x_train`` holds parts: ``x_train``, ``y_train``, ``x_validation``,
    ``y_validation``, ``x_test`` and ``y_test``. Nothing in a file is ever executed.

    Args:
        path: a file whose name ends in one of `SUFFIXES`.
        key: the name of the values, if the file has several arrays.

    Returns:
        The arrays of ``"train"``, and of ``"validation"`` and ``"test"`` if the file has them.

    Raises:
        ValueError: if the file is of another kind, damaged, holds anything but arrays of numbers,
            or several arrays none of which has a known name.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"{path} is not of a known kind; expected a folder of images or a file whose name "
            f"ends in {', '.join(SUFFIXES)}."
        )
    memory.check(str(path), files.check_regular(path))
    arrays: Arrays | np.ndarray | Tensor | Mapping[str, np.ndarray | Tensor]
    if suffix == ".csv":
        arrays = read_table(path)
    else:
        arrays = _read_numpy(path) if suffix in (".npy", ".npz") else _read_torch(path)
    if isinstance(arrays, Mapping):
        return _choose(path, arrays, key)
    if key is not None:
        raise ValueError(
            f"{path} holds no named arrays, so there is none to choose by key={key!r}."
        )
    return {"train": arrays if isinstance(arrays, Arrays) else Arrays(arrays)}


def _read_numpy(path: Path) -> np.ndarray | Mapping[str, np.ndarray]:
    if path.suffix.lower() == ".npz":
        arrays = _reading(path, "NumPy", lambda: archives.Npz(path))
        if {"format", "shape", "data"} <= arrays.keys():
            raise ValueError(
                f"{path} is a sparse matrix of scipy, which is not supported; save its .toarray() "
                "with numpy.save."
            )
        return arrays
    with path.open("rb") as file:
        return _reading(path, "NumPy", lambda: archives.read_array(file, path.stat().st_size))


def _read_torch(path: Path) -> Tensor | dict[str, Tensor]:
    with path.open("rb") as file:
        content = _reading(path, "torch", lambda: archives.load_torch(file))
    if isinstance(content, Tensor):
        _reading(path, "torch", lambda: archives.check_tensor(content))
        return content
    if isinstance(content, dict) and all(isinstance(value, Tensor) for value in content.values()):
        return {str(name): value for name, value in content.items()}
    raise ValueError(
        f"{path} holds a {type(content).__name__}; save a tensor or a dict of tensors."
    )


def _reading(path: Path, library: str, read: Callable[[], T]) -> T:
    """Read a file that may be damaged or malicious."""
    try:
        return read()
    except archives.Objects as error:
        raise ValueError(
            f"{path} holds Python objects, which are not read because they could run code; save "
            f"{'arrays of numbers' if library == 'NumPy' else 'a tensor or a dict of tensors'}."
        ) from error
    except Exception as error:  # readers raise errors of many types
        raise ValueError(
            f"{path} is damaged or not a {library} file ({brief(error)}); save it again with "
            f"{'numpy.save or numpy.savez' if library == 'NumPy' else 'torch.save'}."
        ) from error


def _choose(
    path: Path, arrays: Mapping[str, np.ndarray | Tensor], key: str | None
) -> dict[str, Arrays]:
    def take(name: str) -> np.ndarray | Tensor:
        if isinstance(arrays, archives.Npz):
            return _reading(path, "NumPy", lambda: arrays[name])
        values = arrays[name]
        if isinstance(values, Tensor):
            _reading(path, "torch", lambda: archives.check_tensor(values))
        return values

    labels = [name for name in _LABELS if name in arrays]
    if key is None and "x_train" in arrays:
        known = [f"{kind}_{part}" for part in _PARTS for kind in "xy"]
        for name in arrays:
            other = name.startswith(("x_", "y_")) and name not in known
            if other or (name in known and f"x_{name[2:]}" not in arrays):
                raise ValueError(
                    f"{path} holds {brief(name, 40)}, which is not the name of a part; expected "
                    f"{', '.join(known)}, and labels only together with their values."
                )
        return {
            part: Arrays(take(f"x_{part}"), take(f"y_{part}") if f"y_{part}" in arrays else None)
            for part in _PARTS
            if f"x_{part}" in arrays
        }
    if key is None:
        others = [name for name in arrays if name not in labels] or labels
        known = [name for name in others if name in _VALUES]
        key = known[0] if len(known) == 1 else others[0] if len(others) == 1 else None
    if key is None or key not in arrays:
        which = "none of them known to be the values" if key is None else f"none named {key!r}"
        raise ValueError(
            f"{path} holds the arrays {brief(', '.join(arrays), 100) if arrays else '(none)'}, "
            f"{which}; choose one of them by key=."
        )
    y = take(labels[0]) if labels and labels != [key] else None
    return {"train": Arrays(take(key), y)}
