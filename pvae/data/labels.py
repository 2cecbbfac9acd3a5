"""Labels: whole numbers, or names that are given numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

Labels = np.ndarray | Tensor | Sequence[Any]
"""One label per item: whole numbers of any dtype, or strings."""


def encode(groups: Sequence[Labels]) -> tuple[list[Tensor], tuple[str, ...] | None]:
    """Number the labels of one or more parts alike.

    Args:
        groups: labels of each part, of shape ``(N,)`` or ``(N, 1)``.

    Returns:
        Labels of each part, ``int64`` of shape ``(N,)``; and the names they stand for if they were
        strings, in alphabetical order.

    Raises:
        ValueError: if labels are neither whole numbers nor strings, or not one per item.

    Example:
        >>> from pvae.data.labels import encode
        >>> encode([["b", "a"], ["b"]])
        ([tensor([1, 0]), tensor([1])], ('a', 'b'))
    """
    arrays = [_flat(group) for group in groups]
    everything = np.concatenate(arrays)
    if everything.dtype.kind == "U":
        names, numbers = np.unique(everything, return_inverse=True)
        classes = tuple(names.tolist())
    else:
        numbers, classes = everything.astype(np.int64), None
    ends = np.cumsum([len(array) for array in arrays])[:-1]
    return [torch.from_numpy(part.copy()) for part in np.split(numbers, ends)], classes


def _flat(labels: Labels) -> np.ndarray:
    array = labels.numpy(force=True) if isinstance(labels, Tensor) else np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"The labels have shape {array.shape}; expected (N,), one label per item.")
    if array.dtype.kind in "OT" and all(isinstance(label, str) for label in array):
        array = array.astype(np.str_)  # the strings of a table of pandas, or of variable width
    whole = array.dtype.kind == "f" and bool(
        (np.isfinite(array) & (array == np.round(array))).all()
    )
    if array.dtype.kind not in "biuU" and not whole:
        raise ValueError(
            f"The labels are of dtype {array.dtype}; expected whole numbers or strings."
        )
    return array
