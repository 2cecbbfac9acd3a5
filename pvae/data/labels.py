"""Conversion of labels: whole numbers, names of classes, or continuous values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

Labels = np.ndarray | Tensor | Sequence[Any]
"""One label per item: whole numbers of any dtype, strings, or one or more real numbers."""


def encode(groups: Sequence[Labels]) -> tuple[list[Tensor], tuple[str, ...] | None]:
    """Convert the labels of one or more parts, with the same numbers for the same names.

    Args:
        groups: labels of each part, of shape ``(N,)``, or for continuous ones ``(N, d)``.

    Returns:
        Labels of each part, ``int64`` of shape ``(N,)``, -1 where whole numbers are NaN, or
        ``float32`` of shape ``(N, d)`` where they are not whole numbers; and the names they stand
        for if they were strings, in alphabetical order.

    Raises:
        ValueError: if labels are neither finite numbers nor strings, or not one per item (NaN
            stands for an unknown class); or if they are -1 and 1 alone, which may be two classes.

    Example:
        >>> from pvae.data.labels import encode
        >>> encode([["b", "a"], ["b"]])
        ([tensor([1, 0]), tensor([1])], ('a', 'b'))
    """
    given = [_flat(group) for group in groups]
    whole = all(array.ndim == 1 and array.dtype.kind != "U" for array in given)
    if whole and {*np.concatenate(given).tolist()} == {-1, 1}:
        raise ValueError(
            "The labels are -1 and 1 alone, and -1 stands for an unknown class: number two classes "
            "0 and 1, or give NaN for unknown labels."
        )
    arrays = [_whole(array) for array in given]
    if any(array.ndim == 2 for array in arrays):
        arrays = [array.reshape(len(array), -1).astype(np.float32) for array in arrays]
    everything = np.concatenate(arrays)
    if everything.ndim == 2:
        numbers, classes = everything, None
    elif everything.dtype.kind == "U":
        names, numbers = np.unique(everything, return_inverse=True)
        classes = tuple(names.tolist())
    else:
        numbers, classes = everything, None
    ends = np.cumsum([len(array) for array in arrays])[:-1]
    return [torch.from_numpy(part.copy()) for part in np.split(numbers, ends)], classes


def _flat(labels: Labels) -> np.ndarray:
    try:
        array = labels.numpy(force=True) if isinstance(labels, Tensor) else np.asarray(labels)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists, sparse tensors
        raise ValueError(
            "The labels are not an array, such as lists of different lengths; expected (N,), one "
            "label per item."
        ) from error
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind in "OT" and all(isinstance(label, str) for label in array.flat):
        array = array.astype(np.str_)  # the strings of a table of pandas, or of variable width
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.dtype.kind not in "fiu"):
        raise ValueError(
            f"The labels have shape {array.shape}; expected (N,), one label per item, or (N, d) "
            "real numbers."
        )
    if array.ndim == 1 and array.dtype.kind == "f":
        known = array[~np.isnan(array)]
        if np.isfinite(known).all() and (known == np.round(known)).all():
            return array  # of classes, some unknown; a continuous label must be known
    if array.dtype.kind not in "biuUf" or not (array.dtype.kind != "f" or np.isfinite(array).all()):
        raise ValueError(
            f"The labels are of dtype {array.dtype}; expected finite numbers or strings."
        )
    if array.ndim == 1 and array.dtype.kind == "f" and (array != np.round(array)).any():
        return array[:, None]
    return array


def _whole(array: np.ndarray) -> np.ndarray:
    """Whole numbers as int64, which must hold each exactly."""
    if array.ndim == 2 or array.dtype.kind == "U":
        return array
    if array.dtype.kind == "f":
        array = np.where(np.isnan(array), -1.0, array)
    limit = 2**53 if array.dtype.kind == "f" else 2**63
    if array.size and not -limit <= int(array.min()) <= int(array.max()) < limit:
        raise ValueError(
            f"The labels go from {array.min()} to {array.max()}, which are too large to be told "
            "apart; number them from 0."
        )
    return array.astype(np.int64)


def keep(y: Tensor, n: int, seed: int) -> Tensor:
    """Keep n labels, as evenly over the classes as possible, and replace all others by -1.

    Args:
        y: labels, ``int64`` of shape ``(N,)``.
        n: how many to keep; 0 for none.
        seed: of the choice.

    Raises:
        ValueError: if there are fewer labels than n, or n is below the number of classes.

    Example:
        >>> import torch
        >>> from pvae.data.labels import keep
        >>> keep(torch.tensor([0, 0, 0, 1, 1, 1]), 2, seed=0).sort().values
        tensor([-1, -1, -1, -1,  0,  1])
    """
    classes, total = y[y >= 0].unique(), int((y >= 0).sum())
    if n > total:
        raise ValueError(f"labelled is {n:,}: there are only {total:,} labels to choose from.")
    if 0 < n < len(classes):
        raise ValueError(
            f"labelled is {n}, fewer than the {len(classes)} classes: keep at least one label of "
            "each, or 0 for clusters."
        )
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(y), generator=generator)
    # The first of each class in this order, then the second of each, and so on.
    turns = []
    for label in classes[torch.randperm(len(classes), generator=generator)]:
        found = order[y[order] == label]
        turns.append(torch.stack([torch.arange(len(found)), found], dim=-1))
    chosen = torch.cat(turns)
    rows = chosen[chosen[:, 0].argsort(stable=True), 1][:n]
    kept = torch.full_like(y, -1)
    kept[rows] = y[rows]
    return kept
