"""The uncertainty of reconstructions pixel by pixel, and of samples by draws of the weights."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from pvae.plots.arrays import Array, as_events
from pvae.plots.style import Canvas, style
from pvae.plots.tiles import Grid, plot_rows, value_limits

# Inches kept free for the names of the rows, for the scales of the deviations, and for a line.
_DEVIATIONS, _WEIGHTS = 0.85, 0.75
_SCALES = 0.6
_LINE = 0.2

_MAP = colormaps["viridis"]  # tells greater deviations apart, which in grey are all nearly white


@style()
def uncertainty_maps(
    x: Array,
    mean: Array,
    epistemic: Array,
    aleatoric: Array,
    *,
    value_range: tuple[float, float] | None = None,
    figure: Canvas | None = None,
) -> Canvas:
    """Inputs, their reconstructions, and the standard deviation of each pixel by its two sources.

    The epistemic deviation is by uncertain weights, which more data would reduce, and the aleatoric
    one by latents and noise (Kendall and Gal 2017); see `pvae.evaluation.predictive`. Each of these
    two rows has a scale of its own, from 0 to its greatest value, which stands beside it. Of colour
    images the deviation is the root mean square over the channels.

    Args:
        x: the inputs, shape ``(n, *event)``, with images ``(1, H, W)`` or ``(3, H, W)``, or
            sequences ``(T, D)`` or vectors ``(D,)``, which are shown as small line plots.
        mean: their mean reconstructions, of the same shape.
        epistemic: standard deviations by the weights, of the same shape.
        aleatoric: standard deviations by latents and noise, of the same shape.
        value_range: the values of x shown as black and white, by default 0 and 1.
        figure: the figure or subfigure to plot into, by default a new one.

    Returns:
        The figure.

    Raises:
        TypeError: if an array does not hold real numbers.
        ValueError: if an array is empty, not finite or of another shape than x, or ``value_range``
            is not two finite, increasing numbers.

    Example:
        >>> import torch
        >>> from pvae import plots
        >>> x = torch.rand(8, 1, 28, 28)
        >>> figure = plots.uncertainty_maps(x, x.sqrt(), 0.1 * x, 0.3 * x)
    """
    given = {"x": x, "mean": mean, "epistemic": epistemic, "aleatoric": aleatoric}
    rows = {name: as_events(name, values, ("n",)) for name, values in given.items()}
    for name, row in rows.items():
        if row.shape != rows["x"].shape:
            raise ValueError(
                f"{name} must have the shape of x, {rows['x'].shape}, but its shape is {row.shape}."
            )
    low, high = value_limits(value_range, np.concatenate([rows["x"], rows["mean"]]))
    n, *event = rows["x"].shape
    of_images = len(event) == 3
    deviations = [rows["epistemic"], rows["aleatoric"]]
    if of_images:
        deviations = [np.sqrt((deviation**2).mean(1)) for deviation in deviations]
    most = [float(np.nanmax(deviation)) for deviation in deviations]
    parts = [deviation / (end or 1.0) for deviation, end in zip(deviations, most, strict=True)]
    if of_images:
        parts = [_coloured(part) for part in parts]
        said = ["deviation", "deviation"]
    else:
        said = [f"to {end:.2g}" for end in most]
    names = ["$x$", "mean", f"epistemic\n{said[0]}", f"aleatoric\n{said[1]}"]
    shown = [rows["x"], rows["mean"], *(low + (high - low) * part for part in parts)]
    if of_images:
        shown = [np.broadcast_to(row, (n, 3, *event[1:])) for row in shown]
    grid = Grid.of(len(shown), n, event)
    beside = _DEVIATIONS + (_SCALES if of_images else 0)
    tiles = np.concatenate(shown)
    figure = plot_rows(tiles, grid, names, (low, high), figure, beside=beside)
    if of_images:
        _add_scale(figure.axes[-1], grid, 2, most[0])
        _add_scale(figure.axes[-1], grid, 3, most[1])
    return figure


def _coloured(part: np.ndarray) -> np.ndarray:
    """Images of the colours of numbers from 0 to 1: shape ``(n, H, W)`` to ``(n, 3, H, W)``."""
    return np.moveaxis(_MAP(part)[..., :3], -1, 1)


def _add_scale(axes: Axes, grid: Grid, row: int, most: float) -> None:
    """Add the scale of the deviations of a row, right of it."""
    place = (
        1.012,
        1 - (grid.tops[row] + grid.cell[0]) / grid.height,
        0.012,
        grid.cell[0] / grid.height,
    )
    inset = axes.inset_axes(place)
    bar = axes.figure.colorbar(ScalarMappable(Normalize(0, most or 1.0), _MAP), cax=inset)
    bar.set_ticks([0, most or 1.0], labels=["0", f"{most:.2g}"])
    least, greatest = bar.ax.get_yticklabels()  # kept off those of the next scale
    least.set_verticalalignment("bottom")
    greatest.set_verticalalignment("top")
    bar.ax.tick_params(length=0)
    bar.outline.set_visible(False)


@style()
def samples_by_weights(
    x: Array,
    *,
    value_range: tuple[float, float] | None = None,
    figure: Canvas | None = None,
) -> Canvas:
    """Samples under different draws of the weights, a row for each draw, a column for each z.

    Args:
        x: shape ``(draws, n, *event)``, with images ``(1, H, W)`` or ``(3, H, W)``, or sequences
            ``(T, D)`` or vectors ``(D,)``, which are shown as small line plots.
        value_range: the values shown as black and white, by default 0 and 1; of line plots the
            bottom and the top, by default the least and the greatest value.
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
        >>> figure = plots.samples_by_weights(torch.rand(3, 8, 1, 28, 28))
    """
    x = as_events("x", x, ("draws", "n"))
    rows, columns, *event = x.shape
    names = [f"weights {number}" for number in range(1, rows + 1)]
    grid, tiles = Grid.of(rows, columns, event), x.reshape(-1, *event)
    figure = plot_rows(tiles, grid, names, value_range, figure, beside=_WEIGHTS, below=_LINE)
    figure.axes[-1].set_xlabel("each row a draw of the weights, each column the same z")
    return figure
