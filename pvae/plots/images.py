"""Images decoded by a VAE: reconstructions, samples and interpolations."""

from collections.abc import Sequence
from math import ceil, sqrt

import numpy as np

from pvae.checks import check_size
from pvae.plots.arrays import Array, as_events
from pvae.plots.style import WIDTH, Canvas, canvas, style
from pvae.plots.tiles import Grid, plot_rows, plot_tiles

# Inches kept free for the labels of the rows.
_ROW_LABELS = 0.45
_COLUMN_LABELS = 0.2
_TITLE = 0.25
_MARGIN = 0.1
_LETTER = 0.08


@style()
def samples(
    x: Array,
    *,
    labels: Sequence[str] | None = None,
    columns: int | None = None,
    title: str = "",
    value_range: tuple[float, float] | None = None,
    figure: Canvas | None = None,
) -> Canvas:
    """Events in a grid, by default as square as their number and shape allow.

    Args:
        x: shape ``(n, *event)``, with images ``(1, H, W)`` or ``(3, H, W)``, or sequences ``(T,
            D)`` or vectors ``(D,)``, which are shown as small line plots.
        labels: a label of each event, such as the name of its class; written beside rows whose
            events all have the same.
        columns: the number of events in a row, by default that of a square grid.
        title: of the picture.
        value_range: the values shown as black and white, by default 0 and 1; of line plots the
            bottom and the top, by default the least and the greatest value. Values beyond it are
            clipped to it.
        figure: the figure or subfigure to plot into, by default a new one.

    Returns:
        The figure.

    Raises:
        TypeError: if ``x`` does not hold real numbers.
        ValueError: if ``x`` is empty, not finite or of another shape, there is not a label for
            each event, columns is below 1, or ``value_range`` is not two finite, increasing
            numbers.

    Example:
        >>> import torch
        >>> from pvae import plots
        >>> figure = plots.samples(torch.rand(64, 1, 28, 28))
    """
    x = as_events("x", x, ("n",))
    event = x.shape[1:]
    columns = square(len(x), event) if columns is None else check_size("columns", columns)
    grid = Grid.of(ceil(len(x) / columns), columns, event)
    names = []
    if labels is not None:
        if len(labels) != len(x):
            raise ValueError(
                f"There are {len(labels)} labels for {len(x)} events: give one for each."
            )
        rows = [labels[i : i + columns] for i in range(0, len(x), columns)]
        names = [str(row[0]) if len({str(label) for label in row}) == 1 else "" for row in rows]
    beside = _LETTER * max(map(len, names)) + _MARGIN if names else 0
    width, height = grid.inches(most=6)
    figure = canvas(figure, width + beside, height + (_TITLE if title else 0))
    axes = figure.subplots()
    plot_tiles(axes, x, grid, value_range)
    if title:
        figure.suptitle(title)
    if names:
        axes.set_yticks(grid.tops + grid.cell[0] / 2, names)
        axes.tick_params(length=0)
    return figure


def square(n: int, event: Sequence[int]) -> int:
    """How many of n events are in a row of the grid that is nearest to a square.

    Args:
        n: how many there are.
        event: the shape of each.
    """
    height, width = Grid.of(1, 1, event).cell
    return min(n, max(1, ceil(sqrt(n * height / width))))


@style()
def reconstructions(
    x: Array,
    x_mean: Array,
    *,
    value_range: tuple[float, float] | None = None,
    figure: Canvas | None = None,
) -> Canvas:
    """Inputs in one row, their reconstructions in the row below; many take several such pairs.

    Args:
        x: the inputs, shape ``(n, *event)``, with images ``(1, H, W)`` or ``(3, H, W)``, or
            sequences ``(T, D)`` or vectors ``(D,)``, which are shown as small line plots.
        x_mean: the mean of p(x|z) for each, of the same shape.
        value_range: the values shown as black and white, by default 0 and 1; of line plots the
            bottom and the top, by default the least and the greatest value. Values beyond it are
            clipped to it.
        figure: the figure or subfigure to plot into, by default a new one.

    Returns:
        The figure.

    Raises:
        TypeError: if an array does not hold real numbers.
        ValueError: if an array is empty, not finite or of another shape, if the two shapes differ,
            or ``value_range`` is not two finite, increasing numbers.

    Example:
        >>> import torch
        >>> from pvae import plots
        >>> x = torch.rand(10, 1, 28, 28)
        >>> figure = plots.reconstructions(x, x.sqrt())
    """
    x, x_mean = as_events("x", x, ("n",)), as_events("x_mean", x_mean, ("n",))
    if x.shape != x_mean.shape:
        raise ValueError(
            f"x and x_mean must have the same shape, but theirs are {x.shape} and {x_mean.shape}."
        )
    grid = _pairs(len(x), x.shape[1:])
    pair, column = np.divmod(np.arange(len(x)), grid.columns)
    above = 2 * pair * grid.columns + column
    cells = np.concatenate([above, above + grid.columns])
    tiles, names = np.concatenate([x, x_mean]), [r"$x$", r"$\mathbb{E}[x|z]$"] * (grid.rows // 2)
    return plot_rows(tiles, grid, names, value_range, figure, beside=_ROW_LABELS, cells=cells)


@style()
def interpolations(
    x: Array,
    *,
    value_range: tuple[float, float] | None = None,
    figure: Canvas | None = None,
) -> Canvas:
    """Decoded points on paths between latent points, a row for each path.

    Args:
        x: shape ``(rows, steps, *event)``, with images ``(1, H, W)`` or ``(3, H, W)``, or sequences
            ``(T, D)`` or vectors ``(D,)``, which are shown as small line plots.
        value_range: the values shown as black and white, by default 0 and 1; of line plots the
            bottom and the top, by default the least and the greatest value. Values beyond it are
            clipped to it.
        figure: the figure or subfigure to plot into, by default a new one.

    Returns:
        The figure.

    Raises:
        TypeError: if ``x`` does not hold real numbers.
        ValueError: if ``x`` is empty, not finite or of another shape, or ``value_range`` is not
            two finite, increasing numbers.

    Example:
        >>> import torch
        >>> from pvae import plots
        >>> start, end = torch.rand(2, 4, 1, 1, 28, 28)
        >>> weight = torch.linspace(0, 1, 9).reshape(-1, 1, 1, 1)
        >>> figure = plots.interpolations(start.lerp(end, weight))
    """
    x = as_events("x", x, ("rows", "steps"))
    rows, steps, *event = x.shape
    grid = Grid.of(rows, steps, event)
    width, height = grid.inches(most=WIDTH)
    figure = canvas(figure, width, height + _COLUMN_LABELS)
    axes = figure.subplots()
    plot_tiles(axes, x.reshape(-1, *event), grid, value_range)
    if steps > 1:
        axes.set_xticks(grid.lefts[[0, -1]] + grid.cell[1] / 2, ["start", "end"])
        axes.tick_params(length=0)
    return figure


def _pairs(n: int, event: tuple[int, ...]) -> Grid:
    """The grid of n tiles over n tiles, in as many pairs of rows as keep the tiles legible."""
    height, width = Grid.of(1, 1, event).cell
    most = max(1, round(12 * sqrt(height / width)))
    pairs = ceil(n / most)
    return Grid.of(2 * pairs, ceil(n / pairs), event, band=2)
