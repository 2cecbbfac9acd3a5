"""Images with missing pixels, and their imputations by a VAE."""

from math import ceil, sqrt

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb

from pvae.plots.arrays import Array, as_events, as_numpy, as_reals
from pvae.plots.style import WIDTH, Canvas, canvas, style
from pvae.plots.tiles import Grid, plot_tiles, value_limits

# No grey, and paler than the colours of classes.
_MISSING = "#8FC3E8"

# Inches kept free for the names of the rows.
_ROW_LABELS = 0.65
_MARGIN = 0.1


@style()
def imputations(
    x: Array,
    mask: Array,
    imputed: Array,
    draws: Array | None = None,
    *,
    original: Array | None = None,
    value_range: tuple[float, float] | None = None,
    figure: Canvas | None = None,
) -> Canvas:
    """Data as they were observed, and their imputations below; a column for every datum.

    Missing elements are light blue. From the top the rows are the original, if it is given, its
    observed elements, its expectation, and multiple imputations, each equally plausible: they
    differ where the observed elements do not determine x.

    Args:
        x: the data, shape ``(n, *event)``, with images ``(1, H, W)`` or ``(3, H, W)``, or sequences
            ``(T, D)`` or vectors ``(D,)``, which are shown as small line plots; anything where they
            are missing.
        mask: which elements are observed, of booleans or 0 and 1, of a shape that broadcasts to
            that of x.
        imputed: E[x|x observed], of the shape of x.
        draws: multiple imputations, shape ``(draws, n, *event)``.
        original: the data before anything was missing, of the shape of x.
        value_range: the values shown as black and white, by default 0 and 1; of line plots the
            bottom and the top, by default the least and the greatest value. Values beyond it are
            clipped to it.
        figure: the figure or subfigure to plot into, by default a new one.

    Returns:
        The figure.

    Raises:
        TypeError: if an array does not hold real numbers.
        ValueError: if an array is empty, not finite where it is shown or of another shape, the mask
            holds other values, or ``value_range`` is not two finite, increasing numbers.

    Example:
        >>> import torch
        >>> from pvae import plots
        >>> x, mask = torch.rand(10, 1, 28, 28), torch.arange(28) < 14
        >>> figure = plots.imputations(x, mask, torch.where(mask, x, 0.5))
    """
    observed = _as_mask(mask, np.shape(x))
    x = as_events("x", np.where(observed, as_numpy("x", x), 0), ("n",))
    rows = {r"$x_o$": x, r"$\mathbb{E}[x|x_o]$": as_events("imputed", imputed, ("n",))}
    if original is not None:
        rows = {"$x$": as_events("original", original, ("n",)), **rows}
    names, tiles = list(rows), list(rows.values())
    if draws is not None and len(draws):
        imputed_rows = as_events("draws", draws, ("draws", "n"))
        names, tiles = [*names, *["draw"] * len(imputed_rows)], [*tiles, *imputed_rows]
    for name, row in zip(names, tiles, strict=True):
        if row.shape != x.shape:
            raise ValueError(
                f"Every row must have the shape of x, {x.shape}, but that of {name} is {row.shape}."
            )
    hole = names.index(r"$x_o$")

    grid = _bands(len(names), len(x), x.shape[1:])
    width, height = grid.inches(most=WIDTH - _ROW_LABELS)
    figure = canvas(figure, width + _ROW_LABELS, height + _MARGIN)
    axes = figure.subplots()
    band, column = np.divmod(np.arange(len(x)), grid.columns)
    cells = [(band * len(names) + row) * grid.columns + column for row in range(len(names))]
    if x.ndim == 4:
        low, high = value_limits(value_range, x)
        colour = low + (high - low) * np.array(to_rgb(_MISSING)).reshape(3, 1, 1)
        tiles = [np.broadcast_to(row, (len(x), 3, *x.shape[2:])) for row in tiles]
        tiles[hole] = np.where(observed.all(1, keepdims=True), tiles[hole], colour)
    else:
        is_sequence = x.ndim == 3
        tiles[hole] = np.where(observed, x, np.nan) if is_sequence else _bridged(x, observed)
        _cover(axes, np.any(observed, -1) if is_sequence else observed, cells[hole], grid)
    plot_tiles(axes, np.concatenate(tiles), grid, value_range, cells=np.concatenate(cells))
    bands = grid.rows // len(names)
    axes.set_yticks(grid.tops + grid.cell[0] / 2, names * bands)
    axes.tick_params(length=0)
    return figure


def _as_mask(mask: Array, shape: tuple[int, ...]) -> np.ndarray:
    mask = as_reals("mask", mask)
    if not np.isin(mask, (0, 1)).all():
        raise ValueError("mask has values other than 0 and 1: give True where x is observed.")
    try:
        return np.broadcast_to(mask == 1, shape)
    except ValueError as error:
        raise ValueError(
            f"mask has shape {mask.shape}: it must broadcast to that of x, {tuple(shape)}."
        ) from error


def _bands(rows: int, n: int, event: tuple[int, ...]) -> Grid:
    """The grid of n columns of so many rows, in as many bands as keep the tiles legible."""
    height, width = Grid.of(1, 1, event).cell
    bands = ceil(n / max(1, round(12 * sqrt(height / width))))
    return Grid.of(rows * bands, ceil(n / bands), event, band=rows)


def _bridged(x: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Vectors with straight lines over missing elements, which will be covered."""
    at = np.arange(x.shape[1])
    level = x[observed].mean() if observed.any() else 0.0
    return np.stack(
        [
            np.interp(at, at[seen], row[seen]) if seen.any() else np.full(len(row), level)
            for row, seen in zip(x, observed, strict=True)
        ]
    )


def _cover(axes: Axes, observed: np.ndarray, cells: np.ndarray, grid: Grid) -> None:
    """Cover the missing elements of line plots, each with a bar from top to bottom."""
    datum, element = np.nonzero(~observed)
    height, width = grid.cell
    step = width / observed.shape[1]
    left = grid.lefts[cells[datum] % grid.columns] + element * step
    top = grid.tops[cells[datum] // grid.columns]
    corners = np.array([[0, 0], [step, 0], [step, height], [0, height]])
    bars = np.stack([left, top], -1)[:, None] + corners
    axes.add_collection(
        PolyCollection(bars, facecolors=_MISSING, edgecolors=_MISSING, linewidths=0.3, zorder=3)
    )
