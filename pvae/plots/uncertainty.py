"""The uncertainty of reconstructions pixel by pixel, and of samples by draws of the weights."""

import numpy as np

from pvae.plots.arrays import Array, as_events
from pvae.plots.style import Canvas, style
from pvae.plots.tiles import Grid, plot_rows, value_limits

_ROW_LABELS = 0.95  # inches kept free for the names of the rows


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
    two rows is scaled to its own greatest value, which stands beside it.

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
    names = ["$x$", "mean"]
    tiles = [rows["x"], rows["mean"]]
    for name in ("epistemic", "aleatoric"):
        most = float(np.abs(rows[name]).max())
        names.append(f"{name}\nto {most:.2g}")
        tiles.append(low + (high - low) * rows[name] / (most or 1.0))
    n, *event = rows["x"].shape
    grid = Grid.of(len(tiles), n, event)
    return plot_rows(np.concatenate(tiles), grid, names, (low, high), figure, beside=_ROW_LABELS)


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
    names = [f"$w_{{{number}}}$" for number in range(1, rows + 1)]
    grid, tiles = Grid.of(rows, columns, event), x.reshape(-1, *event)
    return plot_rows(tiles, grid, names, value_range, figure, beside=_ROW_LABELS)
