"""Rank histograms, which are flat if a posterior is calibrated."""

from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from pvae.plots.arrays import Array, as_points
from pvae.plots.style import BLUE, FAINT, WIDTH, Canvas, canvas, style

# The fraction of the bars of uniform ranks that lie within the band.
_WITHIN = 0.99
_BAND = "#DDDDDD"

_MOST_BINS = 20
_IN_A_BIN = 5

_MOST_PANELS = 16
_COLUMNS = 4

# Inches of a panel, of the narrowest figure, and of what is written below the panels.
_PANEL = (2.1, 1.7)
_LEAST_WIDTH = 4.5
_KEY = 0.6


@style()
def rank_histograms(ranks: Array, num_samples: int, *, figure: Canvas | None = None) -> Canvas:
    """Histograms of the ranks of simulation-based calibration (Talts et al. 2018), one a latent.

    For an exact posterior they are flat: 99 of 100 bars lie in the grey band, the central 99% of a
    binomial distribution. A posterior that is too narrow gives a U shape, one that is too wide a
    hill, and a shifted one a slope. Of more than 16 latents the first 16 are shown, and a note
    says so.

    Args:
        ranks: whole numbers from 0 to ``num_samples``, shape ``(n, latent_dim)``, as of
            `pvae.evaluation.simulation_based_calibration`.
        num_samples: the greatest rank there could be.
        figure: the figure or subfigure to plot into, by default a new one.

    Returns:
        The figure.

    Raises:
        TypeError: if the ranks are not real numbers.
        ValueError: if they are not whole numbers from 0 to ``num_samples`` of shape
            ``(n, latent_dim)``, or there are none.

    Example:
        >>> import torch
        >>> from pvae import plots
        >>> figure = plots.rank_histograms(torch.randint(100, (1000, 3)), num_samples=99)
    """
    ranks = as_points("ranks", ranks)
    if not ((ranks == ranks.round()) & (ranks >= 0) & (ranks <= num_samples)).all():
        raise ValueError(
            f"ranks must be whole numbers from 0 to num_samples, which is {num_samples}, but they "
            f"lie between {ranks.min():g} and {ranks.max():g}."
        )
    n, latents = ranks.shape
    shown = min(latents, _MOST_PANELS)
    columns = min(shown, _COLUMNS)
    rows = ceil(shown / columns)
    width = min(WIDTH, max(_LEAST_WIDTH, columns * _PANEL[0]))
    figure = canvas(figure, width, rows * _PANEL[1] + _KEY)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[shown:]:
        axes.remove()
    for latent, axes in enumerate(grid.flat[:shown]):
        _plot_histogram(axes, ranks[:, latent].astype(int), num_samples)
        axes.set_title(f"$z_{{{latent + 1}}}$")
        if latent + columns >= shown:
            axes.set_xlabel(f"rank among {num_samples:,} draws")
        else:
            axes.tick_params(labelbottom=False)
    for axes in grid[:, 0]:
        axes.set_ylabel("count")
    _add_key(figure, n, f"first {shown} of {latents} latents" if shown < latents else None)
    return figure


def _plot_histogram(axes: Axes, ranks: np.ndarray, num_samples: int) -> None:
    """Plot the number of ranks in each bin, over the band for uniform ranks."""
    from scipy.stats import binom

    n = len(ranks)
    bins = max(1, min(_MOST_BINS, num_samples + 1, n // _IN_A_BIN))
    bin_of_rank = np.arange(num_samples + 1) * bins // (num_samples + 1)
    wide = np.bincount(bin_of_rank)
    edges = np.concatenate([[0], wide.cumsum()]) - 0.5
    counts = np.bincount(bin_of_rank[ranks], minlength=bins)
    part = wide / (num_samples + 1)
    low, high = binom.interval(_WITHIN, n, part)
    axes.stairs(high, edges, baseline=low, fill=True, color=_BAND, zorder=0)
    axes.stairs(n * part, edges, baseline=None, color=FAINT, lw=0.8, zorder=1)
    axes.stairs(counts, edges, baseline=None, color=BLUE, lw=1.2, zorder=2)
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, 1.08 * max(counts.max(), high.max())))
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))


def _add_key(figure: Canvas, n: int, note: str | None) -> None:
    """Add a key, with a note on what is left out."""
    handles = [
        Line2D([], [], color=BLUE, lw=1.2, label=f"{n:,} ranks"),
        Patch(color=_BAND, label=f"{_WITHIN:.0%} band if uniform"),
    ]
    if note is not None:
        handles.append(Line2D([], [], ls="", label=note))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
