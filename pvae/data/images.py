"""Conversion of PIL images of any mode and size to bytes of shape (C, H, W)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from pvae import memory

if TYPE_CHECKING:
    from PIL.Image import Image

Channels = Literal[1, 3]

_ORIENTATION = 0x0112  # the EXIF tag; its values from 5 on turn the picture on its side


def shape_of(image: Image) -> tuple[int, int]:
    """Return the height and width of an image in its EXIF orientation."""
    width, height = image.size
    return (width, height) if image.getexif().get(_ORIENTATION, 1) >= 5 else (height, width)


def is_grey(image: Image) -> bool:
    """Return whether the mode or the palette of an image has only greys."""
    if image.mode in ("P", "PA"):
        palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in ("1", "L", "LA") or image.mode.startswith("I")


def to_bytes(
    image: Image,
    size: tuple[int, int] | None = None,
    crop: bool = False,
    channels: Channels | None = None,
) -> np.ndarray:
    """Convert an image to bytes.

    The EXIF orientation is applied, transparency is flattened on black, 16-bit greys are scaled to
    bytes, and the first frame of an animation is taken. Images are resized by Pillow's antialiased
    bilinear filter, which stays in the range of the values.

    Args:
        image: the image.
        size: height and width to resize it to.
        crop: whether to keep its proportions and cut what exceeds ``size`` around the centre,
            rather than stretch it.
        channels: 1 for grey or 3 for colours; by default 1 if the image is grey.

    Returns:
        ``uint8`` of shape ``(channels, height, width)``.

    Raises:
        ValueError: if the pixels have no fixed range.

    Example:
        >>> from PIL import Image
        >>> from pvae.data.images import to_bytes
        >>> to_bytes(Image.new("L", (20, 10), 255), size=(8, 8)).shape
        (1, 8, 8)
    """
    from PIL import Image, ImageOps

    mode = "L" if (channels == 1 or (channels is None and is_grey(image))) else "RGB"
    if size is not None:
        # A large JPEG is decoded several times faster at a fraction of its size. Twice the final
        # size leaves the shrinking itself to the filter below.
        image.draft(None, (2 * max(size), 2 * max(size)))
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(_scale_to_bytes(np.asarray(image), image.mode))
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    image = image.convert(mode)
    if size is not None and image.size != size[::-1]:
        if crop:
            image = ImageOps.fit(image, size[::-1], method=Image.Resampling.BILINEAR)
        else:
            image = image.resize(size[::-1], resample=Image.Resampling.BILINEAR)
    pixels = np.array(image)
    return pixels[None] if mode == "L" else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def resize(
    x: Tensor, size: tuple[int, int] | None, crop: bool = False, channels: Channels | None = None
) -> Tensor:
    """Convert images of bytes to another size or number of channels.

    Args:
        x: ``uint8`` of shape ``(N, 1, H, W)`` or ``(N, 3, H, W)``.
        size: height and width to resize to, or None to keep them.
        crop: whether to cut rather than stretch, see `to_bytes`.
        channels: 1 or 3, or None to keep them.

    Returns:
        ``uint8`` of shape ``(N, channels, *size)``.

    Example:
        >>> import torch
        >>> from pvae.data.images import resize
        >>> resize(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), (4, 4)).shape
        torch.Size([2, 1, 4, 4])
    """
    from PIL import Image

    pixels = math.prod(size or x.shape[2:])
    memory.check("The resized images", 2 * len(x) * (channels or x.shape[1]) * pixels)
    pictures = x.squeeze(1) if x.shape[1] == 1 else x.permute(0, 2, 3, 1)
    resized = [to_bytes(Image.fromarray(p), size, crop, channels) for p in pictures.numpy()]
    return torch.from_numpy(np.stack(resized))


def common_shape(shapes: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Return the height and width that images share.

    Args:
        shapes: height and width of each.

    Raises:
        ValueError: if they differ.

    Example:
        >>> from pvae.data.images import common_shape
        >>> common_shape([(8, 8), (8, 8)])
        (8, 8)
    """
    ordered = sorted(set(shapes), key=lambda shape: (shape[0] * shape[1], shape))
    smallest, largest = ordered[0], ordered[-1]
    if smallest != largest:
        raise ValueError(
            f"The images differ in size, from {smallest[0]} x {smallest[1]} to "
            f"{largest[0]} x {largest[1]} pixels (height x width); pass the size to bring them to, "
            f"such as size=64."
        )
    return smallest


def _scale_to_bytes(pixels: np.ndarray, mode: str) -> np.ndarray:
    if mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError(
            f"An image of mode {mode} holds numbers without a fixed range; store them as an array."
        )
    return ((pixels.astype(np.int64) + 128) // 257).astype(np.uint8)  # 65535 = 255 * 257, rounded
