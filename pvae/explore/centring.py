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
    boxes = [_bounds(marked.any(axis)) for axis in (1, 2)]  # across, and down
    side = np.maximum(*(end - begin for begin, end in boxes))
    total = values.sum((1, 2))
    masses = [
        values.sum(axis) @ (np.arange(size) + 0.5) / total
        for axis, size in ((1, width), (2, height))
    ]
    middles = [(begin + end) / 2 for begin, end in boxes]
    longer = max(height, width)
    spread = {"mass": np.hypot(*map(np.std, masses)), "box": np.hypot(*map(np.std, middles))}
    by: Literal["mass", "box"] = "mass" if spread["mass"] < spread["box"] else "box"
    if max(np.std(side), spread[by]) > ALIKE * longer:
        return None
    x, y = map(np.median, masses if by == "mass" else middles)
    return Centring(by, float(x), float(y), float(np.median(side)))


def _bounds(marked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first marked position of each row, and that after the last."""
    return marked.argmax(1), marked.shape[1] - marked[:, ::-1].argmax(1)
