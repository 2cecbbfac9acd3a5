"""The plane of two latents: decoded images on a grid over the prior, and posterior means.

Both axes are warped by Φ, the distribution function of N(0, 1), so that equal lengths hold equal
prior probability: the plane is the unit square, and a grid of evenly spaced percentiles is even.
"""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from pvae.checks import is_whole
from pvae.messages import shown
from pvae.plots.arrays import Array, as_events, as_posteriors, as_reals
from pvae.plots.classes import Classes
from pvae.plots.scatter import plot_outlines, plot_points, spread
from pvae.plots.style import WIDTH, Canvas, canvas, style
from pvae.plots.tiles import Grid, plot_tiles

# Inches kept free for the labels of an axis, and for the key to the classes.
_LABELS = 0.5
_KEY = 0.3

_TICKS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])


def percentiles(k: int) -> torch.Tensor:
    """The z at k evenly spaced percentiles of N(0, 1): Φ(z) = (i + 1/2) / k for i = 0, ..., k - 1.

    Args:
        k: number of percentiles.

    Returns:
        A tensor of shape ``(k,)``, increasing.

    Raises:
        ValueError: if ``k`` is less than 1.

    Example:
        >>> from pvae import plots
        >>> plots.percentiles(3)
        tensor([-0.9674,  0.0000,  0.9674])
    """
    if not is_whole(k) or k < 1:
        raise ValueError(f"k must be at least 1 and whole, but it is {shown(k)}.")
    probability = (torch.arange(k, dtype=torch.float64) + 0.5) / k
    return torch.special.ndtri(probability).to(torch.get_default_dtype())


@style()
def manifold(
    images: Array,
    coordinates: Array,
    *,
    value_range: tuple[float, float] | None = None,
    figure: Canvas | None = None,
) -> Canvas:
    """Images decoded on a grid over two latents, at evenly spaced percentiles of N(0, 1).

    Every tile stands for the same prior probability, and lies where its z lies on the axes, z₂
    upwards: ``images[0, 0]`` is the tile at the bottom left, ``images[0, -1]`` at the bottom right.

    Args:
        images: shape ``(k, k, *event)``, where ``images[i, j]`` is decoded at ``z =
            (coordinates[j], coordinates[i])``; images ``(1, H, W)`` or ``(3, H, W)``, or sequences
            ``(T, D)`` or vectors ``(D,)``, which are shown as small line plots.
        coordinates: ``percentiles(k)``, shape ``(k,)``.
        value_range: the values shown as black and white, by default 0 and 1; of line plots the
            bottom and the top, by default the least and the greatest value. Values beyond it are
            clipped to it.
        figure: the figure or subfigure to plot into, by default a new one.

    Returns:
        The figure.

    Raises:
        TypeError: if an array does not hold real numbers.
        ValueError: if ``images`` is empty, not finite or of another shape, ``coordinates`` are not
            the percentiles, or ``value_range`` is not two finite, increasing numbers.

    Example:
        >>> import torch
        >>> from pvae import plots
        >>> z = plots.percentiles(12)
        >>> z2, z1 = torch.meshgrid(z, z, indexing="ij")
        >>> decode = torch.nn.Sequential(torch.nn.Linear(2, 64), torch.nn.Sigmoid())
        >>> images = decode(torch.stack([z1, z2], -1)).reshape(12, 12, 1, 8, 8)
        >>> figure = plots.manifold(images, z)
    """
    images = _as_plane(images, coordinates)
    grid = _grid(images)
    width, height = grid.inches(most=5, tile=5)
    figure = canvas(figure, width + _LABELS, height + _LABELS)
    _plot_manifold(figure.subplots(), images, grid, value_range)
    return figure


@style()
def latent_plane(
    mean: Array,
    images: Array,
    coordinates: Array,
    labels: Array | None = None,
    scale: Array | None = None,
    classes: Sequence[str] | None = None,
    *,
    value_range: tuple[float, float] | None = None,
    figure: Canvas | None = None,
) -> Canvas:
    """The posterior means of two latents, and beside them the :func:`manifold` on the same axes.

    A point at z lies exactly where the other picture shows the image decoded at z. So both have
    warped axes: a point is plotted at Φ(z), with Φ the distribution function of N(0, 1), and the
    ticks give z. If the aggregate posterior matches the prior, the points fill the square evenly.

    Args:
        mean: the mean of q(z|x) for each datum, shape ``(n, 2)``.
        images: shape ``(k, k, *event)``, where ``images[i, j]`` is decoded at ``z =
            (coordinates[j], coordinates[i])``; images ``(1, H, W)`` or ``(3, H, W)``, or sequences
            ``(T, D)`` or vectors ``(D,)``, which are shown as small line plots.
        coordinates: ``percentiles(k)``, shape ``(k,)``.
        labels: the class of each datum, integers of shape ``(n,)``.
        scale: the standard deviations of q(z|x), shape ``(n, 2)``: the ellipse one standard
            deviation around each mean is then shown as well, warped as the axes are.
        classes: the name of class 0, 1, ...; by default each label is its own name.
        value_range: the values shown as black and white, by default 0 and 1; of line plots the
            bottom and the top, by default the least and the greatest value. Values beyond it are
            clipped to it.
        figure: the figure or subfigure to plot into, by default a new one.

    Returns:
        The figure.

    Raises:
        TypeError: if an array does not hold real numbers, or ``labels`` not integers.
        ValueError: if there are not two latents, an array is empty, not finite or of another shape,
            a scale is not positive, a label has no name, ``coordinates`` are not the percentiles,
            or ``value_range`` is not two finite, increasing numbers.

    Example:
        >>> import torch
        >>> from pvae import plots
        >>> z = plots.percentiles(12)
        >>> z2, z1 = torch.meshgrid(z, z, indexing="ij")
        >>> decode = torch.nn.Sequential(torch.nn.Linear(2, 64), torch.nn.Sigmoid())
        >>> images = decode(torch.stack([z1, z2], -1)).reshape(12, 12, 1, 8, 8)
        >>> figure = plots.latent_plane(torch.randn(500, 2), images, z)
    """
    mean, scale = as_posteriors(mean, scale)
    images = _as_plane(images, coordinates)
    members = Classes(len(mean), labels, classes)
    grid = _grid(images)
    most = WIDTH / 2 - _LABELS
    width, height = grid.inches(most, tile=most)
    height += _LABELS + (_KEY if members.names else 0)
    figure = canvas(figure, 2 * (width + _LABELS), height)
    left, right = figure.subplots(1, 2)
    _plot_manifold(right, images, grid, value_range)
    plot_points(left, spread(_warp(mean)), members.of_points, small=scale is not None)
    if scale is not None:
        angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        circle = np.stack([np.cos(angle), np.sin(angle)], -1)
        outlines = _warp(mean[:, None] + scale[:, None] * circle)
        plot_outlines(left, PolyCollection(list(outlines)), members.of_points)
    left.set_aspect(right.get_aspect())
    _label_axes(left)
    members.add_key(figure, [left, right])
    return figure


def _as_plane(images: Array, coordinates: Array) -> np.ndarray:
    """Check that the images are a square of events and the coordinates its percentiles."""
    images = as_events("images", images, ("k", "k"))
    k = len(images)
    if images.shape[1] != k:
        raise ValueError(
            f"images must have as many rows as columns, but their shape is {images.shape}."
        )
    coordinates = as_reals("coordinates", coordinates)
    if coordinates.shape != (k,) or not np.allclose(coordinates, percentiles(k), atol=0.01):
        raise ValueError(
            f"coordinates must be percentiles({k}), the places at which the {k} × {k} images are "
            "shown: decode them there."
        )
    return images


def _grid(images: np.ndarray) -> Grid:
    rows, columns, *event = images.shape
    return Grid.of(rows, columns, event, gap=0)


def _plot_manifold(
    axes: Axes, images: np.ndarray, grid: Grid, value_range: tuple[float, float] | None
) -> None:
    # The rows of the grid go downwards, z2 goes upwards.
    tiles = images[::-1].reshape(-1, *images.shape[2:])
    plot_tiles(axes, tiles, grid, value_range, extent=(0, 1, 0, 1))
    _label_axes(axes)


def _label_axes(axes: Axes) -> None:
    labels = [f"{z:.0f}".replace("-", "−") for z in _TICKS]
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="$z_1$", ylabel="$z_2$")
    axes.set_xticks(_warp(_TICKS), labels)
    axes.set_yticks(_warp(_TICKS), labels)


def _warp(z: np.ndarray) -> np.ndarray:
    """Φ(z), the position of z on the axes."""
    return torch.special.ndtr(torch.from_numpy(z)).numpy()
