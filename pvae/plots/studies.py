"""Cells of a study: their values, their differences from a reference, and learning curves."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from pvae.messages import shorten, shown
from pvae.plots.arrays import Array
from pvae.plots.classes import colours
from pvae.plots.curves import scale_epochs
from pvae.plots.style import BLUE, FAINT, INK, KEY_SIZE, PALETTE, Canvas, canvas, inches, style

MOST_CELLS = 60
"""Cells that one picture shows at the most."""

_MOST_LETTERS = 60
_LETTER = 0.066  # inches
_PANEL = 4.2  # inches of what is beside the names
_ROW = 0.22  # inches of a row
_AROUND = 1.0  # inches of the axis, its label and the key
_TEXT = 0.18  # inches of a line of the title or label
_KEY_ENTRY = 1.5  # inches of an entry of the key
_LINE = 0.145  # inches of a name beside the curves
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
}
_IN_AN_INCH = 14  # letters of a title
_BAND = "#DDDDDD"
_UNKNOWN = {"facecolor": "none", "edgecolor": "#D5D5D5", "hatch": "////", "linewidth": 0}


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
    names = _names(names)
    mean, low, high = (
        _values(name, values, len(names))
        for name, values in (("mean", mean), ("low", low), ("high", high))
    )
    seeds = [np.array([])] * len(names)
    if by_seed is not None:
        _check_number("by_seed", by_seed, len(names))
        seeds = [_values("by_seed", values) for values in by_seed]
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
        verdicts: ``"better"``, ``"worse"``, ``"undecided"``, ``"one seed"`` or ``"equal"``.
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
    names = _names(names)
    mean, low, high = (
        _values(name, values, len(names))
        for name, values in (("mean", mean), ("low", low), ("high", high))
    )
    width = _values("doubt", [0.0] * len(names) if doubt is None else doubt, len(names))
    _check_number("verdicts", verdicts, len(names))
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
    handles = [
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
    note says so.

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
    names = _names(names)
    _check_number("curves", curves, len(names))
    cells = [[_curve(*curve) for curve in seeds] for seeds in curves]
    known = [curve for seeds in cells for curve in seeds if len(curve[0])]
    if not known:
        raise ValueError("There is nothing to plot: no curve has a finite value.")
    epoch = np.unique(np.concatenate([x for x, _ in known]))
    grid = np.full((len(known), len(epoch)), np.nan)
    for row, (x, y) in zip(grid, known, strict=True):
        row[np.searchsorted(epoch, x)] = y
    figure = canvas(figure, _PANEL + 0.5 + _beside(names), max(3.4, _LINE * len(names) + _AROUND))
    axes = figure.subplots()
    scale_epochs(axes, epoch)
    ends = np.array([_end(seeds) for seeds in cells])
    # By rank, since of many colours only those far from each other can be told apart.
    ranks = np.argsort(np.argsort(ends)) if len(names) > len(PALETTE) else np.arange(len(names))
    shades = colours(len(names))[ranks]
    for seeds, colour in zip(cells, shades, strict=True):
        for x, y in seeds:
            axes.plot(x, y, color=colour, lw=0.9, marker="o" if len(x) == 1 else None, ms=3)
    _show_the_end(axes, epoch, grid)
    axes.set(xlabel="epoch", ylabel=label)
    if title:
        figure.suptitle(_wrapped(title, inches(figure)[0]))
    axes.set_xlim(axes.get_xlim()[0], epoch[-1] if len(epoch) > 1 else None)
    axes.grid(axis="y")
    _name_curves(axes, inches(figure)[1], names, ends, shades)
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
            f"off scale: {beyond}",
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
    gap = _LINE / max(height - _AROUND, _LINE)
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
    y = _values("curves", [np.nan if value is None else value for value in values])
    x = _values("curves", epochs, len(y))
    return x[np.isfinite(y)], y[np.isfinite(y)]


def _names(names: Sequence[str]) -> list[str]:
    """The names of the cells, shortened, and numbered where they are then the same."""
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TypeError(f"names is {shown(names)}: give a list of the names of the cells.")
    if not 0 < len(names) <= MOST_CELLS:
        raise ValueError(
            f"There are {len(names):,} cells: a picture shows 1 to {MOST_CELLS}; plot a part of "
            "them, such as the best."
        )
    # A dollar sign would begin mathematics.
    short = [shorten(" ".join(str(n).split()), _MOST_LETTERS).replace("$", r"\$") for n in names]
    return [f"{name} ({i + 1})" if short.count(name) > 1 else name for i, name in enumerate(short)]


def _values(name: str, values: Array | Sequence[float], n: int | None = None) -> np.ndarray:
    """Numbers as an array; those that are infinite cannot be plotted and become NaN."""
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must hold numbers, but it is {shown(values)}.") from error
    if array.ndim != 1:
        raise ValueError(f"{name} must be a list of numbers, but its shape is {array.shape}.")
    if n is not None:
        _check_number(name, array, n)
    return np.where(np.isfinite(array), array, np.nan)


def _check_number(name: str, values: Sequence[object] | np.ndarray, n: int) -> None:
    if len(values) != n:
        raise ValueError(f"{name} has {len(values)} elements: {n} are expected.")


def _rows(
    names: Sequence[str], label: str, title: str, figure: Canvas | None
) -> tuple[Canvas, Axes]:
    """Axes with a row for each cell, the first at the top."""
    width = _PANEL + _beside(names)
    title = _wrapped(title, width if figure is None else inches(figure)[0])
    lines = label.count("\n") + (title.count("\n") + 1 if title else 0)
    height = _ROW * max(len(names), _LEAST_ROWS) + _AROUND + _TEXT * lines
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


def _beside(names: Sequence[str]) -> float:
    """Inches of the longest name."""
    return _LETTER * max(map(len, names))


def _wrapped(title: str, width: float) -> str:
    """A title broken into lines of so many inches."""
    return textwrap.fill(title, max(20, int(_IN_AN_INCH * width)))


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


def _add_key(figure: Canvas, handles: list[Line2D | Patch]) -> None:
    columns = max(1, int(inches(figure)[0] / _KEY_ENTRY))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), columns))
