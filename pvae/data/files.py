"""Files of arrays: .npy, .npz, .pt and .csv."""

import pickle
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pvae.data.arrays import Arrays
from pvae.data.tables import read_table

SUFFIXES = (".npy", ".npz", ".pt", ".csv")
"""Endings of the names of files that hold arrays."""

_VALUES = ("x", "images", "data")
_LABELS = ("y", "labels", "targets")
_PARTS = ("train", "validation", "test")


def read_file(path: Path, key: str | None = None) -> dict[str, Arrays]:
    """Read the values, and the labels if there are any, that a file holds.

    Of several arrays in one ``.npz`` or ``.pt`` file the values are the one named ``x``, ``images``
    or ``data``, or the only one besides the labels, which are named ``y``, ``labels`` or
    ``targets``. A file with ``x_train`` holds parts: ``x_train``, ``y_train``, ``x_validation``,
    ``y_validation``, ``x_test`` and ``y_test``. Nothing in a file is ever executed.

    Args:
        path: a file whose name ends in one of `SUFFIXES`.
        key: which of several arrays the values are.

    Returns:
        The arrays of ``"train"``, and of ``"validation"`` and ``"test"`` if the file has them.

    Raises:
        ValueError: if the file is of another kind, damaged, holds anything but arrays of numbers,
            or several of which none is known to be the values.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"{path} is of no known kind; expected a folder of images or a file whose name ends in "
            f"{', '.join(SUFFIXES)}."
        )
    if suffix == ".csv":
        arrays = read_table(path)
    else:
        arrays = _read_numpy(path) if suffix in (".npy", ".npz") else _read_torch(path)
    if isinstance(arrays, Mapping) and {"format", "shape", "data"} <= arrays.keys():
        raise ValueError(
            f"{path} holds a sparse matrix of SciPy, which is not supported: save it dense, "
            f"numpy.save(file, matrix.toarray())."
        )
    if isinstance(arrays, Mapping):
        return _choose(path, arrays, key)
    if key is not None:
        raise ValueError(
            f"{path} holds no named arrays, so there is none to choose by key={key!r}."
        )
    return {"train": arrays if isinstance(arrays, Arrays) else Arrays(arrays)}


def _read_numpy(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    with path.open("rb") as file:  # NumPy does not close a damaged file that it opened itself
        try:
            content = np.load(file, allow_pickle=False)
            return content if isinstance(content, np.ndarray) else dict(content)
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            if "Object arrays" in str(error):
                raise ValueError(
                    f"{path} holds Python objects, which are not read because they could run code; "
                    f"save arrays of numbers."
                ) from error
            raise ValueError(
                f"{path} is damaged or not a NumPy file; save it again with numpy.save or "
                f"numpy.savez."
            ) from error


def _read_torch(path: Path) -> Tensor | dict[str, Tensor]:
    # torch.save has written zip archives since 2020; torch.load takes all else for a bare pickle.
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is damaged or not a torch file; save it again with torch.save.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds Python objects, which are not read because they could run code; "
            f"save a tensor or a dict of tensors."
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise ValueError(
            f"{path} is damaged or not a torch file; save it again with torch.save."
        ) from error
    if isinstance(content, Tensor):
        return content
    if isinstance(content, dict) and all(isinstance(value, Tensor) for value in content.values()):
        return {str(name): value for name, value in content.items()}
    raise ValueError(
        f"{path} holds a {type(content).__name__}; save a tensor or a dict of tensors."
    )


def _choose(
    path: Path, arrays: Mapping[str, np.ndarray | Tensor], key: str | None
) -> dict[str, Arrays]:
    labels = [name for name in _LABELS if name in arrays]
    if key is None and "x_train" in arrays:
        return {
            part: Arrays(arrays[f"x_{part}"], arrays.get(f"y_{part}"))
            for part in _PARTS
            if f"x_{part}" in arrays
        }
    if key is None:
        others = [name for name in arrays if name not in labels] or labels
        known = [name for name in others if name in _VALUES]
        key = known[0] if len(known) == 1 else others[0] if len(others) == 1 else None
    if key not in arrays:
        which = "none of them known to be the values" if key is None else f"none named {key!r}"
        raise ValueError(
            f"{path} holds the arrays {', '.join(arrays) or '(none)'}, {which}; "
            f"choose one of them by key=."
        )
    return {"train": Arrays(arrays[key], arrays[labels[0]] if labels and labels != [key] else None)}
