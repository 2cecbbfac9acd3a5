"""Images of simple shapes whose factors of variation are known."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pvae import memory
from pvae.checks import check_size

FACTORS = ("shape", "scale", "rotation", "x", "y")
COUNTS = (3, 4, 8, 8, 8)
CLASSES = ("square", "ellipse", "heart")
SIZE = 32

_LARGEST = 0.2  # half the side of the largest square, as a fraction of the image's side
_STEP = 1 / 16  # between neighbouring positions


class Shapes(NamedTuple):
    """Images and the factors that made them.

    Attributes:
        images: binary, ``uint8`` of shape (6144, 1, size, size).
        factors: the level of each factor from 0, ``int64`` of shape (6144, 5); the last varies
            fastest from image to image.
        names: of the factors: ``shape``, ``scale``, ``rotation``, ``x`` and ``y``.
    """

    images: Tensor
    factors: Tensor
    names: tuple[str, ...]


def shapes(size: int = SIZE) -> Shapes:
    """Render every combination of 5 factors once: white shapes on black, after dSprites.

    The factors are 3 shapes (square, ellipse, heart), 4 scales (the smallest half of the largest),
    8 rotations, 8 positions along x from left to right, and 8 along y from top to bottom. Rotations
    are counterclockwise by multiples of 11.25°, within the quarter turn after which a square
    repeats, so that no two images of the default size are the same: in dSprites some are.

    ``pvae.data.load("shapes")`` has the same images, split in parts, with the shape as the label.
    Measures of disentanglement are over all combinations of the factors, so they take all of these
    images, in this order.

    Args:
        size: height and width of the images.

    Raises:
        ValueError: if the size is not a whole number of at least 1.

    References:
        Matthey, Higgins, Hassabis, Lerchner, "dSprites: Disentanglement testing Sprites dataset",
        2017.

    Example:
        >>> from pvae.data import shapes
        >>> images, factors, names = shapes()
        >>> images.shape, factors[-1].tolist()
        (torch.Size([6144, 1, 32, 32]), [2, 3, 7, 7, 7])
    """
    check_size("size", size)
    # The images, and several floats at a time for every scale, rotation and position.
    memory.check("The shapes", size**2 * (math.prod(COUNTS) + 8 * 8 * math.prod(COUNTS[1:4])))
    _, scales, rotations, xs, ys = COUNTS
    # Coordinates from the centre, in fractions of a side; dimensions are factors, rows, columns.
    pixel = (np.arange(size) + 0.5) / size - 0.5
    x = (pixel - _positions(xs)[:, None])[:, None, None, :]
    y = (_positions(ys)[:, None] - pixel)[:, :, None]
    scale = (_LARGEST * np.linspace(0.5, 1, scales)).reshape(-1, 1, 1, 1, 1, 1)
    angle = (np.pi / 2 * np.arange(rotations) / rotations).reshape(-1, 1, 1, 1, 1)
    u = (x * np.cos(angle) + y * np.sin(angle)) / scale
    v = (y * np.cos(angle) - x * np.sin(angle)) / scale
    images = np.stack([_square(u, v), _ellipse(u, v), _heart(u, v)])
    factors = np.stack(np.unravel_index(np.arange(np.prod(COUNTS)), COUNTS), -1)
    return Shapes(
        torch.from_numpy(images.reshape(-1, 1, size, size).astype(np.uint8)),
        torch.from_numpy(factors),
        FACTORS,
    )


def _positions(count: int) -> np.ndarray:
    return (np.arange(count) - (count - 1) / 2) * _STEP


def _square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(abs(u), abs(v)) <= 1


def _ellipse(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (u / 1.4) ** 2 + (v / 0.7) ** 2 <= 1


def _heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    u, v = u / 0.88, v / 0.88
    inside = u * u + v * v - 1
    return inside * inside * inside <= u * u * v * v * v  # much faster than powers
