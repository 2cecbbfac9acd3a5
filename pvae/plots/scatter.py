"""Scatter plots whose point size and opacity suit the number of points."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.colors import to_rgba_array
from matplotlib.ticker import MaxNLocator
from scipy.spatial import KDTree

# In a PDF or SVG more points than this are rasterized: as shapes they would be slow and many
# megabytes.
_RASTER_ABOVE = 5000

_SHARED = 4  # points at each place, on average, from which those that coincide are spread
_DISK = 0.4  # their greatest distance from their place, where that to the nearest place is 1


def plot_points(
    axes: Axes, points: np.ndarray, colours: np.ndarray, *, small: bool = False
) -> None:
    """Plot points ``(n, 2)`` in their colours ``(n,)``: the more, the smaller and fainter.

    Small points leave space for outlines around them.
    """
    n = len(points)
    # Sorted by class, the last class would cover all others.
    order = np.random.default_rng(0).permutation(n)
    axes.scatter(
        points[order, 0],
        points[order, 1],
        c=colours[order],
        s=_dot_area(axes, n) / (4 if small else 1),
        alpha=_opacity(n),
        linewidths=0,
        rasterized=n > _RASTER_ABOVE,
    )


def spread(points: np.ndarray) -> np.ndarray:
    """Move points ``(n, 2)`` that coincide into a disk around their place, if places are few.

    Of data encoded as codes all that have one code lie at one place, where the last would cover the
    others. The disks do not touch each other.
    """
    places, place, count = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    if not 1 < len(places) <= len(points) / _SHARED:
        return points
    nearest = KDTree(places).query(places, 2)[0][:, 1]
    place = place.reshape(-1)  # a column in one version of NumPy
    rank = np.empty(len(points), int)
    rank[np.argsort(place, kind="stable")] = np.concatenate([np.arange(n) for n in count])
    # A spiral whose points lie evenly in the disk (Vogel 1979).
    radius = _DISK * nearest[place] * np.sqrt((rank + 0.5) / count[place])
    angle = rank * np.pi * (3 - 5**0.5)
    return points + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)


def plot_outlines(axes: Axes, outlines: Collection, colours: np.ndarray) -> None:
    """Plot n shapes in their colours ``(n,)``, under the points: the more, the fainter."""
    n = len(colours)
    outlines.set(
        facecolors=to_rgba_array(colours, 0.2 * _opacity(n)),
        edgecolors=to_rgba_array(colours, 0.6 * _opacity(n)),
        linewidths=0.5,
        rasterized=n > _RASTER_ABOVE,
        zorder=0.9,
    )
    axes.add_collection(outlines)


def show_square(axes: Axes, low: np.ndarray, high: np.ndarray) -> None:
    """Show the box between two corners ``(2,)`` in a square, both axes to the same scale."""
    middle, half = (low + high) / 2, 0.53 * (high - low).max() or 1.0
    (left, bottom), (right, top) = middle - half, middle + half
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def _dot_area(axes: Axes, n: int) -> float:
    """Square points (1/72 inch) of each of n dots that together cover a quarter of the axes."""
    to_points = 72 / axes.figure.dpi
    area = axes.bbox.width * axes.bbox.height * to_points**2
    return float(np.clip(area / 4 / n, 1.2, 18))


def _opacity(n: int) -> float:
    """The opacity of each of n dots, from 0.85 for 100 dots to 0.35 for 60,000."""
    return float(np.clip(0.85 - 0.18 * np.log10(n / 100), 0.3, 0.85))
