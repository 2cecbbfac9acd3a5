"""Conversion of arrays and tensors of any real dtype and common layout to data sets."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pvae.data.dataset import Dataset
from pvae.data.domains import detect
from pvae.data.labels import Labels, encode
from pvae.data.part import Part
from pvae.distributions.padded import check_lengths, padding

_CHANNELS = (1, 3, 4)
_REAL = {torch.bool, torch.float16, torch.bfloat16, torch.float32, torch.float64} | {
    getattr(torch, f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)
}


class Arrays(NamedTuple):
    """Values and labels of one part, before conversion, and the names of their columns if any."""

    x: np.ndarray | Tensor
    y: Labels | None = None
    columns: tuple[str, ...] | None = None


def as_items(x: np.ndarray | Tensor, event_shape: Sequence[int] | None = None) -> Tensor:
    """Convert values to a tensor of shape ``(N, *event_shape)``.

    ``(N, H, W)`` becomes ``(N, 1, H, W)``. ``(N, H, W, C)`` becomes ``(N, C, H, W)`` if the last
    dimension has 1, 3 or 4 entries and the second does not; four channels are kept. All other
    shapes stay unchanged.

    Args:
        x: booleans, whole or real numbers, the first dimension the items.
        event_shape: shape of one item, if it differs from the rule above. It may also be the
            shape that the rule gives, as a run folder has it.

    Returns:
        A tensor on the CPU: ``uint8`` and signed integers as they are, booleans as ``uint8``, other
        unsigned integers as ``int64``, real numbers as ``float32``.

    Raises:
        ValueError: if the values are not real numbers, have no dimension besides the items, or do
            not fit ``event_shape``.

    Example:
        >>> import numpy as np
        >>> from pvae.data.arrays import as_items
        >>> as_items(np.zeros((10, 28, 28, 3))).shape
        torch.Size([10, 3, 28, 28])
    """
    items = _real(x)
    if items.ndim < 2:
        raise ValueError(
            f"The data have shape {tuple(items.shape)}; expected items along the first dimension "
            f"and at least one more, such as (N, D) or (N, C, H, W)."
        )
    by_rule = items
    if items.ndim == 3:
        by_rule = items.unsqueeze(1)
    elif items.ndim == 4 and items.shape[3] in _CHANNELS and items.shape[1] not in _CHANNELS:
        by_rule = items.permute(0, 3, 1, 2).contiguous()
    if event_shape is not None and tuple(event_shape) != tuple(by_rule.shape[1:]):
        event_shape = tuple(event_shape)
        if prod(event_shape) != prod(items.shape[1:]):
            raise ValueError(
                f"Items of shape {tuple(items.shape[1:])} cannot take the event shape "
                f"{event_shape}: {prod(items.shape[1:])} values are not {prod(event_shape)}."
            )
        return items.reshape(-1, *event_shape)
    return by_rule


def from_arrays(
    name: str,
    parts: Mapping[str, Arrays],
    event_shape: Sequence[int] | None = None,
    classes: tuple[str, ...] | None = None,
) -> Dataset:
    """Make a data set from arrays; `pvae.data.domains.detect` finds its domain.

    Args:
        name: the name of the data set.
        parts: values and labels of ``"train"``, and of ``"validation"`` and ``"test"`` if any.
        event_shape: shape of one item, see `as_items`.
        classes: names of the labels if these are numbers.

    NaN may pad sequences of shape (T, D) to one length, see `pvae.likelihoods.Padded`; elsewhere it
    is refused.

    Raises:
        ValueError: if values or labels are invalid, or the parts differ in shape or dtype.

    Example:
        >>> import numpy as np
        >>> from pvae.data.arrays import Arrays, from_arrays
        >>> from_arrays("halves", {"train": Arrays(np.full((10, 2), 0.5))}).domain
        'unit interval'
    """
    items = {part: as_items(arrays.x, event_shape) for part, arrays in parts.items()}
    for part, x in items.items():
        if not len(x):
            raise ValueError(
                f"The {part} data of shape {tuple(x.shape)} hold no values; give at least one item"
                f"{'' if part == 'train' else ', or leave the part out'}."
            )
    kinds = {part: (tuple(x.shape[1:]), str(x.dtype)) for part, x in items.items()}
    for part, kind in kinds.items():
        if kind != kinds["train"]:
            raise ValueError(
                f"The {part} items have shape {kind[0]} and dtype {kind[1]} but the train items "
                f"{kinds['train'][0]} and {kinds['train'][1]}; give all parts the same."
            )
    domain, value_range = detect(_unpadded(torch.cat([*items.values()])))

    labels: dict[str, Tensor] = {}
    labelled = {part: arrays.y for part, arrays in parts.items() if arrays.y is not None}
    if labelled:
        encoded, names = encode(list(labelled.values()))
        labels = dict(zip(labelled, encoded, strict=True))
        classes = names or classes
    for part, y in labels.items():
        if len(y) != len(items[part]):
            raise ValueError(
                f"There are {len(y):,} labels for {len(items[part]):,} {part} items; "
                f"give one label per item."
            )
    made: dict[str, Any] = {part: Part(x, labels.get(part)) for part, x in items.items()}
    columns = parts["train"].columns
    return Dataset(
        name=name,
        domain=domain,
        value_range=value_range,
        classes=classes,
        columns=columns if items["train"].dim() == 2 else None,
        **made,
    )


def _unpadded(items: Tensor) -> Tensor:
    """The items, with any value of theirs where NaN pads sequences (T, D)."""
    if not items.is_floating_point():
        return items
    if items.dim() == 4 and items.shape[1] == 1 and bool(padding(items, 2).any()):
        raise ValueError(
            "The data end in NaN, as padded sequences do, and have the shape of images: give "
            f"event_shape={tuple(items.shape[2:])} for sequences, or replace the NaN of images."
        )
    if items.dim() != 3:
        return items
    pads = padding(items, 2)
    check_lengths(pads.squeeze(-1))
    return torch.where(pads, items[0, 0, 0], items)


def _real(x: np.ndarray | Tensor) -> Tensor:
    """Convert values to a tensor of a dtype that torch computes with, without rounding."""
    if isinstance(x, np.ndarray):
        if x.dtype.kind not in "biuf":
            raise ValueError(f"The data are of dtype {x.dtype}; expected real numbers.")
        if x.dtype.kind == "f" and x.itemsize > 8:
            x = x.astype(np.float64)
        # Torch takes arrays that are contiguous and writeable, in the byte order of the machine.
        dtype = x.dtype.newbyteorder("=")
        x = torch.from_numpy(np.require(x, dtype, ["C_CONTIGUOUS", "WRITEABLE"]))
    if x.dtype not in _REAL:
        raise ValueError(f"The data are of dtype {x.dtype}; expected real numbers.")
    if x.layout != torch.strided or x.is_nested or x.device.type == "meta":
        raise ValueError(
            "The data are a sparse, nested or meta tensor; expected a dense one, such as "
            ".to_dense() gives."
        )
    x = x.detach().cpu()
    if x.dtype == torch.uint64 and bool((x.view(torch.int64) < 0).any()):
        raise ValueError("The data hold whole numbers from 2**63, which are too large.")
    if x.is_floating_point():
        return x.float()
    if x.dtype == torch.bool:
        return x.to(torch.uint8)
    # Torch has few operators for the larger unsigned integers.
    return x.long() if x.dtype in (torch.uint16, torch.uint32, torch.uint64) else x
