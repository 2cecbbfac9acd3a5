"""Image files as items of a data set, decoded when they are read."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils import data as torch_data

from pvae.data.images import Channels, to_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


class ImageFiles(torch_data.Dataset[Tensor]):
    """Image files that are decoded when they are read.

    Item i is the i-th image, ``uint8`` of shape ``(channels, *size)``.

    Args:
        paths: the files.
        size: height and width of every decoded image.
        crop: whether to cut rather than stretch images to ``size``.
        channels: 1 for grey or 3 for colours.

    Raises:
        ValueError: when an item is read whose file is not a readable image.

    Example:
        >>> from pvae.data import ImageFiles
        >>> ImageFiles(["a.png", "b.png"], size=(32, 32)).shape
        (2, 3, 32, 32)
    """

    def __init__(
        self,
        paths: Sequence[str],
        size: tuple[int, int],
        crop: bool = False,
        channels: Channels = 3,
    ) -> None:
        self.paths = tuple(paths)
        self.size = size
        self.crop = crop
        self.channels = channels

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape that a tensor of all items would have."""
        return (len(self), self.channels, *self.size)

    def subset(self, indices: Sequence[int]) -> ImageFiles:
        """Return the files of these indices, in their order."""
        paths = [self.paths[index] for index in indices]
        return ImageFiles(paths, self.size, self.crop, self.channels)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        path = self.paths[index]
        try:
            return torch.from_numpy(pixels(path, self.size, self.crop, self.channels))
        except Exception as error:  # Pillow raises errors of many types
            raise ValueError(
                f"{path} cannot be read as an image ({reason_of(error)}); repair or remove it."
            ) from error


def pixels(path: str, size: tuple[int, int], crop: bool, channels: Channels) -> np.ndarray:
    """Decode an image to bytes of shape ``(channels, *size)``."""
    with opened(path) as image:
        return to_bytes(image, size, crop, channels)


@contextmanager
def opened(path: str) -> Iterator[Image]:
    """Open an image of a supported format, with no more pixels than Pillow considers safe."""
    from PIL import Image

    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError("a folder, pipe or device")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path, formats=FORMATS) as image:
            yield image


def reason_of(error: Exception) -> str:
    """The reason why an image cannot be read."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image"  # the error's own message repeats the path
    return " ".join(str(error).split()) or type(error).__name__
