"""Maps of the same data at several moments of training, each with a picture of that moment."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from pvae.plots.arrays import Array, as_reals
from pvae.plots.classes import Classes
from pvae.plots.scatter import plot_points, show_square, spread
from pvae.plots.style import WIDTH, Canvas, canvas, style

_TITLE = 0.25  # inches
_KEY = 0.3  # inches
_MARGIN = 0.1  # on each side of the last map of a film


@style()
def over_training(
    points: Array,
    pictures: Sequence[Callable[[SubFigure], Any]],
    titles: Sequence[str],
    labels: Array | None = None,
    classes: Sequence[str] | None = None,
    *,
    map_label: str | None = None,
    axis_labels: tuple[str, str] | None = None,
    aspect: float = 1.0,
    figure: Canvas | None = None,
) -> Canvas:
    """A row of maps of the same data, one for each moment of training, over a row of pictures.

    All maps have the same axes, so that a point that moves has moved.

    Args:
        points: where each of n data lies at each of k moments, shape ``(k, n, 2)``: two latents, or
            the maps of :func:`tsne_maps` or :func:`pca_maps`.
        pictures: for each moment a function that plots a picture into the subfigure it is given.
        titles: the title of each moment.
        labels: the class of each datum, integers of shape ``(n,)``.
        classes: the name of class 0, 1, ...; by default each label is its own name.
        map_label: what the maps are, such as "t-SNE of 400 means", written beside the first.
        axis_labels: names of the axes, which then have ticks; by default the axes say nothing.
        aspect: width over height of each picture, if the figure is a new one.
        figure: the figure or subfigure to plot into, by default a new one.

    Returns:
        The figure.

    Raises:
        TypeError: if ``points`` does not hold real numbers, or ``labels`` not integers.
        ValueError: if ``points`` is empty, not finite or of another shape, there is not a picture
            and a title for each moment, a label has no name, or ``aspect`` is not positive.

    Example:
        >>> import torch
        >>> from pvae import plots
        >>> points = torch.randn(3, 100, 2) * torch.tensor([0.1, 0.5, 1.0]).reshape(3, 1, 1)
        >>> x, x_means = torch.rand(6, 1, 8, 8), torch.rand(3, 6, 1, 8, 8)
        >>> figure = plots.over_training(
        ...     points,
        ...     [lambda f, m=m: plots.reconstructions(x, m, figure=f) for m in x_means],
        ...     ["before training", "epoch 1", "epoch 10"],
        ...     aspect=2.5,
        ... )
    """
    points, members = _as_maps(points, labels, classes)
    k = len(points)
    if not len(pictures) == len(titles) == k:
        raise ValueError(
            f"There must be a picture and a title for each of {k} moments, but there are "
            f"{len(pictures)} pictures and {len(titles)} titles."
        )
    if not aspect > 0:
        raise ValueError(f"aspect must be positive, but it is {aspect}.")
    side = WIDTH / k
    key = _KEY if members.names else 0
    figure = canvas(figure, WIDTH, _TITLE + side + side / aspect + key)
    heights = [_TITLE + side + key, side / aspect]
    (above,), (below,) = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)
    box = points.min((0, 1)), points.max((0, 1))
    row = above.subplots(1, k, squeeze=False)[0]
    for axes, at, title in zip(row, points, titles, strict=True):
        _plot_map(axes, at, box, members, axis_labels)
        axes.set_title(title)
    row[0].set_ylabel(map_label or row[0].get_ylabel())
    members.add_key(above, row)
    for part, plot in zip(below.subfigures(1, k, squeeze=False)[0], pictures, strict=True):
        plot(part)
    return figure


def frames(
    points: Array,
    pictures: Sequence[Callable[[SubFigure], Any]],
    labels: Array | None = None,
    classes: Sequence[str] | None = None,
    *,
    map_label: str | None = None,
) -> list[Callable[[SubFigure], Any]]:
    """The frames of a film of training: in each a map of the data, beside another picture.

    The maps of all frames have the same axes, so that a point that moves has moved. They suit the
    last map, with a margin of a fifth; points that earlier lie beyond are not shown.

    Args:
        points: where each of n data lies in each of k frames, shape ``(k, n, 2)``, as
            :func:`pca_maps` returns it.
        pictures: for each frame a function that plots a picture into the subfigure it is given.
        labels: the class of each datum, integers of shape ``(n,)``.
        classes: the name of class 0, 1, ...; by default each label is its own name.
        map_label: what the maps are, written beside them.

    Returns:
        A function for each frame, for :func:`animate` with aspect 2.

    Raises:
        TypeError: if ``points`` does not hold real numbers, or ``labels`` not integers.
        ValueError: if ``points`` is empty, not finite or of another shape, there is not a picture
            for each frame, or a label has no name.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from pvae import plots
        >>> points = plots.pca_maps(torch.randn(3, 100, 8))
        >>> x = torch.rand(3, 36, 1, 8, 8)
        >>> pictures = [lambda figure, x=x: plots.samples(x, figure=figure) for x in x]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plots.animate(
        ...         plots.frames(points, pictures),
        ...         ["step 0", "step 1", "step 2"],
        ...         f"{folder}/film.gif",
        ...         aspect=2,
        ...     )
    """
    points, members = _as_maps(points, labels, classes)
    if len(pictures) != len(points):
        raise ValueError(
            f"There must be a picture for each frame, but there are {len(pictures)} pictures and "
            f"{len(points)} maps."
        )
    low, high = points[-1].min(0), points[-1].max(0)
    box = low - _MARGIN * (high - low), high + _MARGIN * (high - low)
    return [
        partial(_plot_frame, at, box, members, picture, map_label)
        for at, picture in zip(points, pictures, strict=True)
    ]


def _plot_frame(
    at: np.ndarray,
    box: tuple[np.ndarray, np.ndarray],
    members: Classes,
    picture: Callable[[SubFigure], Any],
    map_label: str | None,
    figure: SubFigure,
) -> None:
    ((left, right),) = figure.subfigures(1, 2, squeeze=False)
    axes = left.subplots()
    _plot_map(axes, at, box, members, None)
    axes.set_ylabel(map_label or "")
    members.add_key(left, [axes])
    picture(right)


def _plot_map(
    axes: Axes,
    at: np.ndarray,
    box: tuple[np.ndarray, np.ndarray],
    members: Classes,
    axis_labels: tuple[str, str] | None,
) -> None:
    """Plot the points of one moment, shape ``(n, 2)``, on axes that show a box."""
    plot_points(axes, at, members.of_points)
    show_square(axes, *box)
    if axis_labels is None:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    else:
        axes.set(xlabel=axis_labels[0], ylabel=axis_labels[1])


def _as_maps(
    points: Array, labels: Array | None, classes: Sequence[str] | None
) -> tuple[np.ndarray, Classes]:
    points = as_reals("points", points)
    if points.ndim != 3 or points.shape[2] != 2:
        raise ValueError(
            f"points must have shape (k, n, 2), n points at k moments, but its shape is "
            f"{points.shape}: use pca_maps or tsne_maps for more than two latents."
        )
    return np.stack([spread(at) for at in points]), Classes(points.shape[1], labels, classes)
