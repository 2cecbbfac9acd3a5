"""One part of a data set, and the interface of the data set that it is from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from pvae.data.domains import Binarization
from pvae.data.image_files import ImageFiles
from pvae.interfaces import Domain


@runtime_checkable
class Source(Protocol):
    """The interface of a `pvae.data.Dataset` that `pvae.data.Batches` uses."""

    name: str
    domain: Domain
    value_range: tuple[float, float]
    binarization: Binarization

    @property
    def levels(self) -> int | None:
        """Number of levels a value can take if the values are bytes, else None."""
        ...


@dataclass(eq=False, repr=False)
class Part:
    """Items of one part of a data set, as they are stored.

    Args:
        x: values of shape ``(N, *event_shape)``, bytes kept as ``uint8``; or image files that are
            decoded when they are read.
        y: labels if there are any: ``int64`` of shape ``(N,)``, -1 where they are unknown, or
            continuous ones, ``float32`` of shape ``(N, d)``.
        files: the file of each item, if each has its own.

    Example:
        >>> import torch
        >>> from pvae.data import Part
        >>> Part(torch.zeros(5, 1, 8, 8))
        Part(5 items of shape (1, 8, 8))
    """

    x: Tensor | ImageFiles
    y: Tensor | None = None
    files: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not hasattr(self.x, "shape"):
            raise TypeError(
                f"x is of type {type(self.x).__name__}: expected a tensor of shape "
                "(N, *event_shape) or image files; pvae.data.load makes a data set of arrays, "
                "files and folders."
            )

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one item."""
        return tuple(self.x.shape[1:])

    def subset(self, indices: Sequence[int]) -> Part:
        """Return the items of these indices, in their order."""
        rows = torch.tensor(indices, dtype=torch.int64)
        x = self.x[rows] if isinstance(self.x, Tensor) else self.x.subset(indices)
        files = None if self.files is None else [self.files[i] for i in indices]
        return Part(x, None if self.y is None else self.y[rows], files)

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        labels = "" if self.y is None else " with labels"
        return f"Part({len(self):,} items of shape {self.event_shape}{labels})"
