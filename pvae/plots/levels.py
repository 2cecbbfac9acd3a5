"""Levels of a hierarchy: how much each holds, and what it decides."""

import numpy as np

from pvae.plots.arrays import Array, as_events, as_points
from pvae.plots.style import BLUE, FAINT, Canvas, canvas, style
from pvae.plots.tiles import Grid, plot_rows

_LEVEL = 0.32  # inches of a bar with its gap
_AROUND = 0.75  # inches above and below the bars
_ROW_LABELS = 0.65
_RANGE = (5, 95)  # percentiles of the data that the lines span


@style()
def level_kl(kl: Array, *, figure: Canvas | None = None) -> Canvas:
    """The KL of each level of a hierarchy: the mean over the data, and the middle 90% of them.

    A level whose KL is near 0 is unused.

    Args:
        kl: of each datum and level, from the top down, in nats, shape ``(n, levels)``, as of
            `pvae.evaluation.kl_by_level`.
        figure: the figure or subfigure to plot into, by default a new one.

    Returns:
        The figure.

    Raises:
        TypeError: if the KL are not real numbers.
        ValueError: if they are not finite, of another shape, or there are none.

    Example:
        >>> import torch
        >>> from pvae import plots
        >>> figure = plots.level_kl(torch.rand(100, 3))
    """
    kl = as_points("kl", kl)
    levels = kl.shape[1]
    figure = canvas(figure, 5.0, _LEVEL * levels + _AROUND)
    axes = figure.subplots()
    places = np.arange(levels)
    axes.barh(places, kl.mean(0), height=0.6, color=BLUE)
    axes.hlines(places, *np.percentile(kl, _RANGE, axis=0), color=FAINT)
    axes.set_yticks(places, [f"$z_{{{i + 1}}}$" for i in places])
    axes.invert_yaxis()
    axes.set_xlabel("KL (nats): mean, and the middle 90% of the data")
    return figure


@style()
def redraws(
    x: Array,
    *,
    value_range: tuple[float, float] | None = None,
    figure: Canvas | None = None,
) -> Canvas:
    """Decoded draws with the upper levels held: one level in the first row, two in the second, ...

    Tiles of a row differ by what the levels below those that are held decide.

    Args:
        x: shape ``(levels - 1, draws, *event)``, with images ``(1, H, W)`` or ``(3, H, W)``, or
            sequences ``(T, D)`` or vectors ``(D,)``, which are shown as small line plots.
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
        >>> figure = plots.redraws(torch.rand(2, 6, 1, 8, 8))
    """
    x = as_events("x", x, ("rows", "draws"))
    rows, draws, *event = x.shape
    names = ["$z_{1}$ held" if i == 0 else f"$z_{{1:{i + 1}}}$ held" for i in range(rows)]
    grid, tiles = Grid.of(rows, draws, event), x.reshape(-1, *event)
    return plot_rows(tiles, grid, names, value_range, figure, beside=_ROW_LABELS)
