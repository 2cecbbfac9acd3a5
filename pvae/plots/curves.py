"""Loss curves: the loss and its two parts at each epoch."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from pvae.plots.style import BLUE, INK, ORANGE, WIDTH, Canvas, canvas, inches, style

# The column, the factor that it is plotted with, and its title.
_PANELS = (
    ("neg_elbo", 1, r"$-$ELBO"),
    ("log_likelihood", -1, r"$-\mathbb{E}_{q(z|x)}[\log p(x|z)]$"),
    ("kl", 1, r"$\mathrm{KL}(q(z|x)\,\|\,p(z))$"),
)
_COLOURS = {"train": ORANGE, "validation": BLUE}
_KEPT: dict[str, Any] = {"color": INK, "marker": "o", "markersize": 7, "markerfacecolor": "none"}

# With more epochs than these, the first ones are legible only on a logarithmic axis.
_MOST_LINEAR = 50
_MOST_DOTTED = 20

# Inches that the legend takes if its entries are in a row.
_LEGEND = 5.5

# The beginning of training may be off scale: the part of the axis it may take, and how many
# times the rest its range must be, but for a fraction of that.
_BEGINNING = 0.15
_DWARFS = 3
_NEARLY = 0.25
_FEWEST = 3  # epochs after the beginning, without which nothing is off scale


@runtime_checkable
class _Chosen(Protocol):
    """What else the history of `pvae.fit` knows: the epoch that was kept, and why."""

    @property
    def kept_epoch(self) -> int | None:
        """The epoch whose weights were kept."""

    @property
    def why_kept(self) -> str:
        """What this epoch has, in words, such as "lowest validation −ELBO, 90.12 nats"."""


@style()
def loss_curves(
    history: Mapping[str, Sequence[float | None]], *, figure: Canvas | None = None
) -> Canvas:
    """The negative ELBO and its two parts over the epochs, in nats per datum.

    −ELBO = −E[log p(x|z)] + KL(q(z|x) ‖ p(z)), each in its panel, for training and validation data.
    The epoch that training kept is marked in all three, and the legend says why it was chosen; of
    columns alone, which do not say it, the epoch of the lowest validation −ELBO is marked. More
    than 50 epochs are on a logarithmic axis. If the first epochs dwarf all others, they are off
    scale, and a note gives their values.

    Args:
        history: as `pvae.fit` returns it, or another mapping from the name of each column to a
            sequence, one element an epoch, None or NaN where missing: ``epoch``, increasing, and
            any of ``neg_elbo``, ``log_likelihood`` and ``kl``, each after ``train/`` or
            ``validation/``. Other columns are ignored.
        figure: the figure or subfigure to plot into, by default a new one.

    Returns:
        The figure.

    Raises:
        TypeError: if a column does not hold numbers.
        ValueError: if there is no epoch or nothing to plot, if the epochs do not increase, or the
            lengths differ.

    Example:
        >>> from pvae import plots
        >>> figure = plots.loss_curves(
        ...     {
        ...         "epoch": [1, 2, 3],
        ...         "train/neg_elbo": [180.0, 130.0, 121.0],
        ...         "validation/neg_elbo": [None, 128.0, 122.0],
        ...     }
        ... )
    """
    epoch, columns = _read(history)
    panels = [panel for panel in _PANELS if any(f"{s}/{panel[0]}" in columns for s in _COLOURS)]
    splits = [s for s in _COLOURS if any(f"{s}/{name}" in columns for name, *_ in panels)]
    handles = [Line2D([], [], color=_COLOURS[split], label=split) for split in splits]
    kept, label = _kept(history, epoch, columns)
    if kept is not None:
        handles.append(Line2D([], [], **_KEPT, ls=":", lw=1, label=label))

    figure = canvas(figure, WIDTH, 2.9)
    width, height = inches(figure)
    shape = (1, len(panels)) if width > 1.5 * height else (len(panels), 1)
    grid = figure.subplots(*shape, squeeze=False)
    for axes, (name, sign, title) in zip(grid.flat, panels, strict=True):
        curves = {s: sign * columns[f"{s}/{name}"] for s in splits if f"{s}/{name}" in columns}
        _plot_curves(axes, epoch, curves, kept)
        axes.set_title(title)
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    for axes in grid[:, 0]:
        axes.set_ylabel("nats per datum")
    in_a_row = len(handles) if width > _LEGEND else 1
    figure.legend(handles=handles, loc="outside lower center", ncols=in_a_row)
    return figure


def _plot_curves(
    axes: Axes, epoch: np.ndarray, curves: dict[str, np.ndarray], kept: int | None
) -> None:
    """Plot the curve of each split, and mark the epoch kept, on the last of them."""
    scale_epochs(axes, epoch)
    for split, curve in curves.items():
        present = ~np.isnan(curve)
        marker = "o" if present.sum() <= _MOST_DOTTED else None
        axes.plot(epoch[present], curve[present], color=_COLOURS[split], marker=marker, ms=3)
    if kept is not None:
        axes.axvline(epoch[kept], color=INK, ls=":", lw=1, zorder=1)
        axes.plot(epoch[kept], curve[kept], **_KEPT)
    _scale_values(axes, epoch, np.stack(list(curves.values())))
    axes.grid(axis="y")


def _kept(
    history: Mapping, epoch: np.ndarray, columns: dict[str, np.ndarray]
) -> tuple[int | None, str]:
    """The index of the epoch to be marked, ``None`` for none, and what the legend says of it."""
    if isinstance(history, _Chosen) and history.kept_epoch is not None:
        # A minus sign as on the axes.
        why = re.sub(r"-(?=\d)", "−", history.why_kept)
        return int(
            np.flatnonzero(epoch == history.kept_epoch)[0]
        ), f"kept: epoch {history.kept_epoch:,}, {why}"
    if "validation/neg_elbo" not in columns:
        return None, ""
    best = int(np.nanargmin(columns["validation/neg_elbo"]))
    lowest = _number(columns["validation/neg_elbo"][best])
    return best, f"lowest validation −ELBO: {lowest} at epoch {epoch[best]:,.0f}"


def _read(
    history: Mapping[str, Sequence[float | None]],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The epochs, and the columns to plot, NaN where missing."""
    names = [f"{split}/{name}" for name, *_ in _PANELS for split in _COLOURS]
    if not isinstance(history, Mapping):
        raise TypeError(
            f"history must be a mapping of columns, as pvae.fit returns, but it is of type "
            f"{type(history).__name__}."
        )
    if "epoch" not in history:
        raise ValueError(f"history must have a column epoch, but its columns are {list(history)}.")
    epoch = _column("epoch", history["epoch"])
    if len(epoch) == 0 or np.isnan(epoch).any() or (np.diff(epoch) <= 0).any():
        raise ValueError("The epochs of history must be increasing numbers, at least one.")
    columns = {name: _column(name, history[name]) for name in names if name in history}
    for name, column in columns.items():
        if len(column) != len(epoch):
            raise ValueError(
                f"Every column of history must be as long as epoch, {len(epoch)}, but {name} has "
                f"{len(column)} elements."
            )
    columns = {name: column for name, column in columns.items() if not np.isnan(column).all()}
    if not columns:
        raise ValueError(f"history holds nothing to plot: expected any of {', '.join(names)}.")
    return epoch, columns


def _column(name: str, values: Sequence[float | None]) -> np.ndarray:
    try:
        column = np.array([np.nan if value is None else float(value) for value in values])
    except (TypeError, ValueError) as error:
        raise TypeError(f"Column {name} of history must be a sequence of numbers.") from error
    # An infinite loss cannot be plotted either.
    return np.where(np.isfinite(column), column, np.nan)


def scale_epochs(axes: Axes, epoch: np.ndarray) -> None:
    """Scale the axis of the epochs, logarithmically if there are many."""
    first, last = epoch[0], epoch[-1]
    if last > _MOST_LINEAR * max(first, 1):
        # Linear up to 1, for there may be an epoch 0.
        axes.set_xscale("symlog", linthresh=1) if first < 1 else axes.set_xscale("log")
        if last < 1000:
            locator: Any = axes.xaxis.get_major_locator()  # of the logarithmic scale
            locator.set_params(subs=(1, 3))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    if first == last:
        axes.set(xlim=(first - 0.5, last + 0.5), xticks=[first])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _scale_values(axes: Axes, epoch: np.ndarray, curves: np.ndarray) -> None:
    """Show all values, unless the first ones leave little space for the others."""
    least, most = np.nanmin(curves), np.nanmax(curves)
    low, high = least, most
    place = axes.xaxis.get_transform().transform(epoch)
    rest = curves[:, place - place[0] > _BEGINNING * (place[-1] - place[0])]
    enough = (~np.isnan(rest)).any(0).sum() >= _FEWEST
    if enough and np.nanmin(rest) < np.nanmax(rest):
        margin = _DWARFS * (np.nanmax(rest) - np.nanmin(rest))
        low, high = np.nanmax(rest) - margin, np.nanmin(rest) + margin
        nearly = _NEARLY * margin  # what lies so little beyond is shown
        low = least if least > low - nearly else low
        high = most if most < high + nearly else high
    margin = 0.05 * (high - low) or 0.5
    axes.set_ylim(low - margin, high + margin)
    if most > high:
        _note_off_scale(axes, most, epoch[(curves == most).any(0)][0], 0.98, "top")
    if least < low:
        _note_off_scale(axes, least, epoch[(curves == least).any(0)][0], 0.02, "bottom")


def _note_off_scale(axes: Axes, value: float, epoch: float, height: float, edge: str) -> None:
    note = f"off scale: {_number(value)} at epoch {epoch:,.0f}"
    axes.text(
        0.98,
        height,
        note,
        transform=axes.transAxes,
        ha="right",
        va=edge,
        fontsize="small",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )


def _number(value: float) -> str:
    return f"{value:,.2f}".replace("-", "−")
