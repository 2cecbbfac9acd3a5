"""Cells of a study: their values, and their differences from a reference."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from pvae.messages import shown
from pvae.plots.arrays import Array
from pvae.plots.cells import (
    AROUND,
    PANEL,
    check_number,
    checked_names,
    checked_values,
    width_of,
    wrapped,
)
from pvae.plots.style import BLUE, FAINT, INK, KEY_SIZE, Canvas, canvas, inches, style

_ROW = 0.22  # inches of a row
_TEXT = 0.18  # inches of a line of the title or label
_KEY_ENTRY = 1.5  # inches of an entry of the key
_LEAST_ROWS = 3  # whose height a picture has at least

# An interval that is beyond all values by more than so many times their range is cut off, and an
# arrow says so: else one long interval would leave no space for the values.
_LONGEST = 4
_LONGEST_DIFFERENCE = 10  # where the interval matters more

_VERDICTS = {
    "better": ("#009E73", "^", True),
    "worse": ("#D55E00", "v", True),
    "undecided": (FAINT, "o", False),
    "one seed": (FAINT, "D", False),
    "equal": (INK, "s", True),
    "no common seed": (FAINT, "x", False),
}
_BAND = "#DDDDDD"
_UNKNOWN: dict[str, Any] = {
    "facecolor": "none",
    "edgecolor": "#D5D5D5",
    "hatch": "////",
    "linewidth": 0,
}


@style()
def forest(
    names: Sequence[str],
    mean: Array | Sequence[float],
    low: Array | Sequence[float],
    high: Array | Sequence[float],
    *,
    by_seed: Sequence[Sequence[float]] | None = None,
    label: str = "",
    title: str = "",
    figure: Canvas | None = None,
) -> Canvas:
    """A forest plot: the mean of each cell with its interval, and the values of its seeds.

    Cells are in rows, in the order given. Where the ends of an interval are NaN, as of a single
    seed, none is drawn; where the mean is NaN, the row says so. A long interval beyond all values
    ends in an arrow. Long names are shortened.

    Args:
        names: of the cells, at most 60.
        mean: of each cell.
        low: the lower end of each interval.
        high: the upper end.
        by_seed: for each cell the values of its seeds.
        label: of the axis, with its unit.
        title: of the picture.
        figure: the figure or subfigure to plot into, by default a new one.

    Returns:
        The figure.

    Raises:
        TypeError: if values are not numbers.
        ValueError: if there is no cell or there are more than 60, or the lengths differ.

    Example:
        >>> from pvae import plots
        >>> figure = plots.forest(
        ...     ["StandardNormal", "VampPrior"],
        ...     mean=[90.1, 88.9],
        ...     low=[89.8, 88.7],
        ...     high=[90.4, 89.1],
        ...     by_seed=[[90.0, 90.2], [88.9, 88.9]],
        ...     label="test −ELBO (nats)",
        ... )
    """
    names = checked_names(names)
    mean, low, high = (
        checked_values(name, values, len(names))
        for name, values in (("mean", mean), ("low", low), ("high", high))
    )
    seeds = [np.array([])] * len(names)
    if by_seed is not None:
        check_number("by_seed", by_seed, len(names))
        seeds = [checked_values("by_seed", values) for values in by_seed]
    figure, axes = _rows(names, label, title, figure)
    limits = _limits(np.concatenate([mean, *seeds]), low, high, _LONGEST)
    for row, values in enumerate(seeds):
        # Below the mean, which would hide them.
        axes.plot(values, np.full(len(values), row + 0.28), "|", color=BLUE, ms=5, mew=1, alpha=0.7)
    for row in range(len(names)):
        _plot_interval(axes, row, low[row], high[row], limits, BLUE)
        if np.isnan(mean[row]):
            axes.text(limits[0], row, " no value", va="center", color=FAINT, fontsize=KEY_SIZE)
    axes.plot(mean, np.arange(len(names)), "o", color=BLUE, ms=4.5)
    axes.set_xlim(limits)
    handles = [Line2D([], [], ls="", marker="o", ms=4.5, color=BLUE, label="mean over seeds")]
    if np.isfinite(low).any():
        handles.append(Line2D([], [], color=BLUE, lw=1.2, label="95 % interval"))
    if any(len(values) for values in seeds):
        handles.append(Line2D([], [], ls="", marker="|", ms=5, color=BLUE, label="a seed"))
    _add_key(figure, handles)
    return figure


@style()
def differences(
    names: Sequence[str],
    mean: Array | Sequence[float],
    low: Array | Sequence[float],
    high: Array | Sequence[float],
    verdicts: Sequence[str],
    *,
    doubt: Array | Sequence[float] | None = None,
    label: str = "",
    title: str = "",
    figure: Canvas | None = None,
) -> Canvas:
    """The difference of each cell from a reference, with its interval and verdict.

    The verdict shows by colour and marker. Behind each row is the band of differences that the
    estimator itself may cause; it is hatched where that is unknown.

    Args:
        names: of the cells, at most 60.
        mean: of each difference.
        low: the lower end of each interval, NaN if unknown.
        high: the upper end.
        verdicts: ``"better"``, ``"worse"``, ``"undecided"``, ``"one seed"``, ``"equal"`` or
            ``"no common seed"``.
        doubt: by how much the estimator itself may be off, NaN if unknown.
        label: of the axis, with its unit.
        title: of the picture.
        figure: the figure or subfigure to plot into, by default a new one.

    Returns:
        The figure.

    Raises:
        TypeError: if values are not numbers.
        ValueError: if there is no cell or there are more than 60, the lengths differ, or there is
            no such verdict.

    Example:
        >>> from pvae import plots
        >>> figure = plots.differences(
        ...     ["VampPrior", "Flow"],
        ...     mean=[-1.2, 0.1],
        ...     low=[-1.5, -0.2],
        ...     high=[-0.9, 0.4],
        ...     verdicts=["better", "undecided"],
        ...     label="test −ELBO minus that of StandardNormal (nats)",
        ... )
    """
    names = checked_names(names)
    mean, low, high = (
        checked_values(name, values, len(names))
        for name, values in (("mean", mean), ("low", low), ("high", high))
    )
    width = checked_values("doubt", [0.0] * len(names) if doubt is None else doubt, len(names))
    check_number("verdicts", verdicts, len(names))
    for verdict in verdicts:
        if verdict not in _VERDICTS:
            raise ValueError(
                f"There is no verdict {shown(verdict)}: choose from {', '.join(_VERDICTS)}."
            )
    figure, axes = _rows(names, label, title, figure)
    limits = _limits(
        np.append(mean, 0.0),
        np.concatenate([low, -width]),
        np.concatenate([high, width]),
        _LONGEST_DIFFERENCE,
    )
    axes.axvline(0, color=INK, lw=0.8, zorder=1)
    for row, verdict in enumerate(verdicts):
        colour, marker, filled = _VERDICTS[verdict]
        _plot_doubt(axes, row, width[row], limits)
        _plot_interval(axes, row, low[row], high[row], limits, colour)
        face = colour if filled else "white"
        axes.plot(mean[row], row, marker, color=colour, mfc=face, ms=5.5)
        if np.isnan(mean[row]):
            axes.text(limits[0], row, " no value", va="center", color=FAINT, fontsize=KEY_SIZE)
    axes.set_xlim(limits)
    handles: list[Line2D | Patch] = [
        Line2D(
            [],
            [],
            color=colour,
            marker=marker,
            ms=5.5,
            mfc=colour if filled else "white",
            lw=1.2,
            label=verdict,
        )
        for verdict, (colour, marker, filled) in _VERDICTS.items()
        if verdict in verdicts
    ]
    if (width > 0).any():
        handles.append(Patch(color=_BAND, label="doubt of the estimator"))
    if np.isnan(width).any():
        handles.append(Patch(**_UNKNOWN, label="doubt unknown"))
    _add_key(figure, handles)
    return figure


def _rows(
    names: Sequence[str], label: str, title: str, figure: Canvas | None
) -> tuple[Canvas, Axes]:
    """Axes with a row for each cell, the first at the top."""
    width = PANEL + width_of(names)
    title = wrapped(title, width if figure is None else inches(figure)[0])
    lines = label.count("\n") + (title.count("\n") + 1 if title else 0)
    height = _ROW * max(len(names), _LEAST_ROWS) + AROUND + _TEXT * lines
    figure = canvas(figure, width, height)
    axes = figure.subplots()
    if title:
        figure.suptitle(title)
    axes.set_yticks(range(len(names)), names)
    beside = max(0, _LEAST_ROWS - len(names)) / 2
    axes.set_ylim(len(names) - 0.4 + beside, -0.6 - beside)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="x")
    axes.set_xlabel(label)
    return figure, axes


def _limits(
    values: np.ndarray, low: np.ndarray, high: np.ndarray, longest: float
) -> tuple[float, float]:
    """The ends of the axis: all values, and the intervals unless they are too long."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return (0.0, 1.0)
    least, most = known.min(), known.max()
    ends = np.concatenate([low, high])
    ends = ends[np.isfinite(ends)]
    if len(ends):
        room = longest * (most - least) or np.inf
        least = max(min(least, ends.min()), least - room)
        most = min(max(most, ends.max()), most + room)
    margin = 0.04 * (most - least) or 0.5
    return (least - margin, most + margin)


def _plot_interval(
    axes: Axes, row: int, low: float, high: float, limits: tuple[float, float], colour: str
) -> None:
    """A line from end to end, with an arrow at an end that is off scale."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return
    axes.plot([low, high], [row, row], color=colour, lw=1.2, solid_capstyle="butt")
    inset = 0.008 * (limits[1] - limits[0])
    for beyond, place, marker in (
        (low < limits[0], limits[0] + inset, 4),
        (high > limits[1], limits[1] - inset, 5),
    ):
        if beyond:
            axes.plot(place, row, marker=marker, color=colour, ms=5)


def _plot_doubt(axes: Axes, row: int, doubt: float, limits: tuple[float, float]) -> None:
    if np.isnan(doubt):
        axes.fill_betweenx([row - 0.4, row + 0.4], *limits, zorder=0, **_UNKNOWN)
    elif doubt > 0:
        axes.fill_betweenx([row - 0.4, row + 0.4], -doubt, doubt, color=_BAND, lw=0, zorder=0)


def _add_key(figure: Canvas, handles: Sequence[Line2D | Patch]) -> None:
    columns = max(1, int(inches(figure)[0] / _KEY_ENTRY))
    figure.legend(handles=[*handles], loc="outside lower center", ncols=min(len(handles), columns))
