"""What pictures of the cells of a study share: names, values and sizes."""

import re
import textwrap
from collections.abc import Sequence

import numpy as np

from pvae.messages import shorten, shown
from pvae.plots.arrays import Array

MOST_CELLS = 60
"""Cells that one picture shows at the most."""

PANEL = 4.2  # inches of what is beside the names
AROUND = 1.0  # inches of the axis, its label and the key

_MOST_LETTERS = 60
_LETTER = 0.066  # inches
_IN_AN_INCH = 14  # letters of a title


def checked_names(names: Sequence[str]) -> list[str]:
    """The names of the cells, shortened, and numbered where they are then the same."""
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TypeError(f"names is {shown(names)}: give a list of the names of the cells.")
    if not 0 < len(names) <= MOST_CELLS:
        raise ValueError(
            f"There are {len(names):,} cells: a picture shows 1 to {MOST_CELLS}; plot a part of "
            "them, such as the best."
        )
    # A dollar sign would begin mathematics.
    short = [shorten(" ".join(str(n).split()), _MOST_LETTERS).replace("$", r"\$") for n in names]
    return [f"{name} ({i + 1})" if short.count(name) > 1 else name for i, name in enumerate(short)]


def checked_values(name: str, values: Array | Sequence[float], n: int | None = None) -> np.ndarray:
    """Numbers as an array; those that are infinite cannot be plotted and become NaN."""
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must hold numbers, but it is {shown(values)}.") from error
    if array.ndim != 1:
        raise ValueError(f"{name} must be a list of numbers, but its shape is {array.shape}.")
    if n is not None:
        check_number(name, array, n)
    return np.where(np.isfinite(array), array, np.nan)


def check_number(name: str, values: Sequence[object] | np.ndarray, n: int) -> None:
    """Raise if there is not one value for each of n cells."""
    if len(values) != n:
        raise ValueError(f"{name} has {len(values)} elements: {n} are expected.")


def width_of(names: Sequence[str]) -> float:
    """Inches of the longest name."""
    return _LETTER * max(map(len, names))


def wrapped(title: str, width: float) -> str:
    """A title in lines of so many inches: broken after a colon, or into lines about as long."""
    most = max(20, int(_IN_AN_INCH * width))
    halves = re.split("(?<=:) ", title, maxsplit=1)
    if len(title) > most and len(halves) == 2 and max(map(len, halves)) <= most:
        return "\n".join(halves)
    lines = textwrap.wrap(title, most)
    for shorter in range(most - 1, max(map(len, title.split()), default=0), -1):
        even = textwrap.wrap(title, shorter)
        if len(even) > len(lines):
            break
        lines = even
    return "\n".join(lines)
