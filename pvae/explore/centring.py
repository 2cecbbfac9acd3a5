"""Where and how large the ink of pictures is, so that a drawing can be placed as the data are."""

from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor

ALIKE = 0.06  # standard deviation, in sides of the picture, up to which data are placed alike
BLANK = 0.9  # share of the data whose corners have no ink


class Centring(NamedTuple):
    """How the ink of pictures is placed, in pixels.

    Attributes:
        by: whether its centre of mass is always at the same place, or that of its bounding box.
        x: that place, from the left edge.
        y: that place, from the upper edge.
        side: the longer side of the bounding box.
    """

    by: Literal["mass", "box"]
    x: float
    y: float
    side: float


def find_centring(ink: Tensor) -> Centring | None:
    """Find how handwritten characters are placed, such as those of MNIST (LeCun et al. 1998).

    These are scaled to a box of 20 by 20 pixels, and their centre of mass is put into the middle of
    28 by 28.

    Args:
        ink: how much of each pixel is ink, from 0 to 1, shape (n, height, width).

    Returns:
        The placement; ``None`` if these are no characters on blank paper, or differ in size or
        place.
    """
    values = ink.double().numpy()
    height, width = values.shape[1:]
    marked = values > 0.5
    kept = marked.any((1, 2))
    values, marked = values[kept], marked[kept]
    corners = marked[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    if len(values) < 2 or (~corners.any(1)).mean() < BLANK:
        return None
    left, right = _bounds(np.any(marked, axis=1))
    upper, lower = _bounds(np.any(marked, axis=2))
    side = np.maximum(right - left, lower - upper)
    box = np.stack([left + right, upper + lower]) / 2
    across, down = np.arange(width) + 0.5, np.arange(height) + 0.5
    mass = np.stack([values.sum(1) @ across, values.sum(2) @ down]) / values.sum((1, 2))
    spread = {"mass": float(np.hypot(*mass.std(1))), "box": float(np.hypot(*box.std(1)))}
    by: Literal["mass", "box"] = "mass" if spread["mass"] < spread["box"] else "box"
    if max(float(side.std()), spread[by]) > ALIKE * max(height, width):
        return None
    x, y = np.median(mass if by == "mass" else box, axis=1).tolist()
    return Centring(by, x, y, float(np.median(side)))


def _bounds(marked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first marked position of each row, and that after the last."""
    return np.argmax(marked, axis=1), marked.shape[1] - np.argmax(marked[:, ::-1], axis=1)
