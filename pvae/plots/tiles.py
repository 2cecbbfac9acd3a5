"""Many small images, or many small line plots, laid out as the tiles of one axes."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection

from pvae.messages import shown
from pvae.plots.classes import colours
from pvae.plots.style import SAVE_DPI, WIDTH, Canvas, canvas

# Height and width of a line plot, in what would be pixels of an image.
_LINES_CELL = (40, 60)

# Lines of at most so many elements have a dot for each.
_DOTTED = 16

_MARGIN = 0.1  # inches above and below rows with names


@dataclass(frozen=True)
class Grid:
    """Where the tiles lie, in pixels of the images, from the top left.

    Attributes:
        rows: number of rows of tiles.
        columns: number of columns of tiles.
        cell: height and width of a tile.
        gap: space between neighbouring tiles.
        band: rows that belong together; a wider space follows each such band.
    """

    rows: int
    columns: int
    cell: tuple[int, int]
    gap: int
    band: int | None

    @classmethod
    def of(
        cls,
        rows: int,
        columns: int,
        event: Sequence[int],
        *,
        gap: int | None = None,
        band: int | None = None,
    ) -> "Grid":
        """The grid for events of this shape, by default with gaps that suit their size."""
        height, width = event[1:] if len(event) == 3 else _LINES_CELL
        if gap is None:
            gap = max(1, round(min(height, width) / 14))
        return cls(rows, columns, (height, width), gap, band)

    @property
    def tops(self) -> np.ndarray:
        """The upper edge of every row."""
        rows = np.arange(self.rows)
        bands = rows // self.band if self.band else np.zeros_like(rows)
        return rows * (self.cell[0] + self.gap) + bands * 3 * self.gap

    @property
    def lefts(self) -> np.ndarray:
        """The left edge of every column."""
        return np.arange(self.columns) * (self.cell[1] + self.gap)

    @property
    def height(self) -> int:
        """The height of all rows together."""
        return int(self.tops[-1]) + self.cell[0]

    @property
    def width(self) -> int:
        """The width of all columns together."""
        return int(self.lefts[-1]) + self.cell[1]

    def inches(self, most: float, tile: float = 1.2) -> tuple[float, float]:
        """Width and height of the grid: neither above ``most``, no tile larger than ``tile``.

        The size of a tile is that of the square of the same area.
        """
        scale = min(most / max(self.width, self.height), tile / sqrt(prod(self.cell)))
        return self.width * scale, self.height * scale


def plot_tiles(
    axes: Axes,
    tiles: np.ndarray,
    grid: Grid,
    value_range: tuple[float, float] | None,
    *,
    cells: np.ndarray | None = None,
    extent: tuple[float, float, float, float] | None = None,
) -> None:
    """Plot every tile in its cell of the grid, and nothing else: no frame, no ticks.

    Vectors are lines from element to element, and sequences have a line, of a colour of its own,
    for each value over the steps.

    Args:
        axes: where to plot.
        tiles: shape ``(n, *event)``; NaN is left out of lines.
        grid: where the tiles lie.
        value_range: the values shown as black and white, by default 0 and 1; of line plots the
            bottom and the top, by default the least and the greatest value.
        cells: the cell of every tile, counted row by row, shape ``(n,)``; by default the first n.
        extent: left, right, bottom and top of the grid in data coordinates; by default its own
            pixels, downwards from 0.

    Raises:
        ValueError: if ``value_range`` is not two finite, increasing numbers.
    """
    low, high = value_limits(value_range, tiles)
    scaled = ((tiles - low) / (high - low)).clip(0, 1)
    cells = np.arange(len(tiles)) if cells is None else cells
    corners = np.stack([grid.lefts[cells % grid.columns], grid.tops[cells // grid.columns]], -1)

    left, right, bottom, top = extent or (0, grid.width, grid.height, 0)
    to_data = np.array([(right - left) / grid.width, (bottom - top) / grid.height])
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
    axes.set_aspect(abs(to_data[0] / to_data[1]))
    axes.spines[:].set_visible(False)

    if tiles.ndim == 4:
        # Pixels are shown as pixels; downsampling without a filter would drop some of them.
        pixels = np.array([axes.bbox.width, axes.bbox.height]) * SAVE_DPI / axes.figure.dpi
        fits = (pixels >= (grid.width, grid.height)).all()
        axes.imshow(
            _mosaic(scaled, corners, grid),
            extent=(left, right, bottom, top),
            aspect=axes.get_aspect(),
            interpolation="nearest" if fits else "antialiased",
        )
        return
    series = scaled[:, None] if tiles.ndim == 2 else scaled.swapaxes(1, 2)
    frames, lines = _line_plots(series, corners, grid)
    frames, lines = (part * to_data + (left, top) for part in (frames, lines))
    axes.add_collection(
        PolyCollection(frames, facecolors="#F6F6F6", edgecolors="#DDDDDD", linewidths=0.5)
    )
    for line, colour in zip(lines.swapaxes(0, 1), colours(series.shape[1]), strict=True):
        axes.add_collection(LineCollection(line, colors=colour, linewidths=0.9))
        if series.shape[-1] <= _DOTTED:
            axes.plot(*line.reshape(-1, 2).T, ".", color=colour, markersize=2.5)


def plot_rows(
    tiles: np.ndarray,
    grid: Grid,
    names: Sequence[str],
    value_range: tuple[float, float] | None,
    figure: Canvas | None,
    *,
    beside: float,
    below: float = 0.0,
    cells: np.ndarray | None = None,
) -> Canvas:
    """Plot tiles with a name beside each row of the grid, as all of a figure.

    Args:
        tiles: shape ``(n, *event)``.
        grid: where the tiles lie.
        names: the name of each row.
        value_range: as of `plot_tiles`.
        figure: the figure or subfigure to plot into; ``None`` makes one that fits.
        beside: the inches kept free for the names.
        below: the inches kept free for a label of the columns.
        cells: as of `plot_tiles`.

    Returns:
        The figure.

    Raises:
        ValueError: if ``value_range`` is not two finite, increasing numbers.
    """
    width, height = grid.inches(most=WIDTH - beside)
    figure = canvas(figure, width + beside, height + _MARGIN + below)
    axes = figure.subplots()
    plot_tiles(axes, tiles, grid, value_range, cells=cells)
    axes.set_yticks(grid.tops + grid.cell[0] / 2, names)
    axes.tick_params(length=0)
    return figure


def value_limits(value_range: tuple[float, float] | None, tiles: np.ndarray) -> tuple[float, float]:
    """The values shown as black and white, or as the bottom and top of a line plot.

    Raises:
        ValueError: if ``value_range`` is not two finite, increasing numbers.
    """
    if value_range is not None:
        try:
            low, high = map(float, value_range)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"value_range must be two finite, increasing numbers, but it is "
                f"{shown(value_range)}."
            ) from error
        if not (np.isfinite([low, high]).all() and low < high):
            raise ValueError(
                f"value_range must be two finite, increasing numbers, but it is {value_range}."
            )
        return low, high
    if tiles.ndim == 4:
        return 0.0, 1.0
    low, high = np.nanmin(tiles), np.nanmax(tiles)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _mosaic(tiles: np.ndarray, corners: np.ndarray, grid: Grid) -> np.ndarray:
    """One RGBA image of all tiles, transparent between them."""
    height, width = grid.cell
    mosaic = np.zeros((grid.height, grid.width, 4), np.float32)
    for tile, (left, top) in zip(tiles, corners, strict=True):
        cell = mosaic[top : top + height, left : left + width]
        cell[..., :3] = np.moveaxis(tile, 0, -1)
        cell[..., 3] = 1
    return mosaic


def _line_plots(
    series: np.ndarray, corners: np.ndarray, grid: Grid
) -> tuple[np.ndarray, np.ndarray]:
    """Frames ``(n, 4, 2)`` and lines ``(n, k, T, 2)``, in the grid's pixels, of ``(n, k, T)``."""
    height, width = grid.cell
    frames = np.array([[0, 0], [width, 0], [width, height], [0, height]])
    across = (np.arange(series.shape[-1]) + 0.5) / series.shape[-1]
    down = 0.92 - 0.84 * series  # a margin, so that no line runs along its frame
    lines = np.stack([np.broadcast_to(across, series.shape), down], -1) * (width, height)
    return corners[:, None] + frames, corners[:, None, None] + lines
