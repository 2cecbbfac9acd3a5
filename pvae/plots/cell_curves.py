"""The learning curves of the cells of a study."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from pvae.plots.cells import (
    AROUND,
    PANEL,
    check_number,
    checked_names,
    checked_values,
    width_of,
    wrapped,
)
from pvae.plots.classes import colours
from pvae.plots.curves import scale_epochs
from pvae.plots.style import FAINT, INK, KEY_SIZE, PALETTE, Canvas, canvas, inches, style

_LINE = 0.145  # inches of a name beside the curves
_KEY = 0.25  # inches of the key below them
_WIDTH = 0.9  # of a line, in points


@style()
def learning_curves(
    names: Sequence[str],
    curves: Sequence[Sequence[tuple[Sequence[float], Sequence[float | None]]]],
    *,
    label: str = "",
    title: str = "",
    figure: Canvas | None = None,
) -> Canvas:
    """The learning curves of all cells: a thin line a seed, in the colour of its cell.

    The name of each cell stands beside the mean of its last values. More than 50 epochs are on a
    logarithmic axis. If the first quarter of the epochs dwarfs the others, it is off scale, and a
    note says so. The key says that lines are seeds.

    Args:
        names: of the cells, at most 60.
        curves: for each cell, and each of its seeds, the epochs and the values at them, None or NaN
            where missing.
        label: of the values, with their unit.
        title: of the picture.
        figure: the figure or subfigure to plot into, by default a new one.

    Returns:
        The figure.

    Raises:
        TypeError: if values are not numbers.
        ValueError: if there is nothing to plot, there are more than 60 cells, or lengths differ.

    Example:
        >>> from pvae import plots
        >>> epochs = [1, 2, 3]
        >>> figure = plots.learning_curves(
        ...     ["StandardNormal", "VampPrior"],
        ...     [
        ...         [(epochs, [120.0, 101.0, 97.0]), (epochs, [118.0, 102.0, 98.0])],
        ...         [(epochs, [119.0, 99.0, 95.0])],
        ...     ],
        ...     label="validation −ELBO (nats)",
        ... )
    """
    names = checked_names(names)
    check_number("curves", curves, len(names))
    cells = [[_curve(*curve) for curve in seeds] for seeds in curves]
    known = [curve for seeds in cells for curve in seeds if len(curve[0])]
    if not known:
        raise ValueError("There is nothing to plot: no curve has a finite value.")
    epoch = np.unique(np.concatenate([x for x, _ in known]))
    grid = np.full((len(known), len(epoch)), np.nan)
    for row, (x, y) in zip(grid, known, strict=True):
        row[np.searchsorted(epoch, x)] = y
    figure = canvas(
        figure, PANEL + 0.5 + width_of(names), max(3.4, _LINE * len(names) + AROUND) + _KEY
    )
    axes = figure.subplots()
    scale_epochs(axes, epoch)
    ends = np.array([_end(seeds) for seeds in cells])
    # By rank, since of many colours only those far from each other can be told apart.
    ranks = np.argsort(np.argsort(ends)) if len(names) > len(PALETTE) else np.arange(len(names))
    shades = colours(len(names))[ranks]
    for seeds, colour in zip(cells, shades, strict=True):
        for x, y in seeds:
            axes.plot(x, y, color=colour, lw=_WIDTH, marker="o" if len(x) == 1 else None, ms=3)
    _show_the_end(axes, epoch, grid)
    axes.set(xlabel="epoch", ylabel=label)
    if title:
        figure.suptitle(wrapped(title, inches(figure)[0]))
    axes.set_xlim(axes.get_xlim()[0], epoch[-1] if len(epoch) > 1 else None)
    axes.grid(axis="y")
    _name_curves(axes, inches(figure)[1] - _KEY, names, ends, shades)
    seed = Line2D([], [], color=FAINT, lw=_WIDTH, label="each line a seed")
    figure.legend(handles=[seed], loc="outside lower center")
    return figure


def _end(seeds: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """The mean of the last values of the curves of a cell."""
    last = [y[-1] for x, y in seeds if len(x)]
    return float(np.mean(last)) if last else np.nan


def _show_the_end(axes: Axes, epoch: np.ndarray, curves: np.ndarray) -> None:
    """Scale the values so that the last three quarters of the epochs fill most of the axis."""
    late = curves[:, epoch >= epoch[0] + 0.25 * (epoch[-1] - epoch[0])]
    late = late if np.isfinite(late).any() else curves
    room = 1.5 * (np.nanmax(late) - np.nanmin(late)) or np.inf
    low = max(np.nanmin(curves), np.nanmin(late) - room)
    high = min(np.nanmax(curves), np.nanmax(late) + room)
    margin = 0.04 * (high - low) or 0.5
    axes.set_ylim(low - margin, high + margin)
    ends = {"up to": np.nanmax(curves) > high, "down to": np.nanmin(curves) < low}
    if any(ends.values()):
        most = {"up to": np.nanmax(curves), "down to": np.nanmin(curves)}
        beyond = ", ".join(f"{way} {most[way]:,.4g}" for way in ends if ends[way])
        axes.text(
            0.98,
            0.98,
            f"off scale: {beyond}".replace("-", "−"),  # as on the axis
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize="small",
        )


def _name_curves(
    axes: Axes, height: float, names: Sequence[str], ends: np.ndarray, shades: np.ndarray
) -> None:
    """Write each name right of the axes, as near to the end of its curves as others allow."""
    from scipy.optimize import isotonic_regression

    bottom, top = axes.get_ylim()
    known = np.flatnonzero(~np.isnan(ends))
    order = known[np.argsort(ends[known], kind="stable")]
    wanted = np.clip((ends[order] - bottom) / (top - bottom), 0, 1)
    gap = _LINE / max(height - AROUND, _LINE)
    steps = gap * np.arange(len(order))
    places = np.clip(isotonic_regression(wanted - steps).x, 0, max(0, 1 - steps[-1])) + steps
    for i, end, place in zip(order, wanted, places, strict=True):
        axes.plot(
            [1.01, 1.07, 1.09],
            [end, place, place],
            color=shades[i],
            lw=1.2,
            transform=axes.transAxes,
            clip_on=False,
        )
        axes.text(
            1.1,
            place,
            names[i],
            color=INK,
            va="center",
            fontsize=KEY_SIZE,
            transform=axes.transAxes,
        )


def _curve(
    epochs: Sequence[float], values: Sequence[float | None]
) -> tuple[np.ndarray, np.ndarray]:
    """The finite points of a curve."""
    y = checked_values("curves", [np.nan if value is None else value for value in values])
    x = checked_values("curves", epochs, len(y))
    return x[np.isfinite(y)], y[np.isfinite(y)]
