"""Plots of samples from the exact posterior and the density of the guide."""

from collections.abc import Sequence
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from pvae.plots.arrays import Array, as_reals
from pvae.plots.scatter import plot_points, show_square
from pvae.plots.style import BLUE, ORANGE, WIDTH, Canvas, canvas, style

MASSES = (0.5, 0.95)  # within the contours

_MOST_COLUMNS = 4
_GRID = 200  # points a side at which a density is estimated, within so many standard deviations
_MOST_DEVIATIONS = 8
_KEY, _TITLE = 0.35, 0.2  # inches


@style()
def posterior_draws(
    samples: Array,
    guide: Array,
    titles: Sequence[str] | None = None,
    *,
    figure: Canvas | None = None,
) -> Canvas:
    """Exact draws from p(z|x) of two latents as points, and contours of q(z|x); a panel per datum.

    The contours hold 50 % and 95 % of the mass of q(z|x), where it is densest: for an exact guide
    one point in twenty lies outside the outer one. The density of q(z|x) is estimated from its
    draws by normal kernels, and is smooth from about 100,000 draws on.

    Args:
        samples: draws from p(z|x) of n data, shape ``(n, samples, 2)``, such as those of
            `pvae.evaluation.posterior_samples`.
        guide: draws from q(z|x) of the same data, shape ``(n, draws, 2)``.
        titles: the title of each panel.
        figure: the figure or subfigure to plot into, by default a new one.

    Returns:
        The figure.

    Raises:
        TypeError: if an array does not hold real numbers.
        ValueError: if an array is empty, not finite or of another shape, the draws of the guide of
            a datum lie on a line, or the number of titles differs from that of the data.

    Example:
        >>> import torch
        >>> from pvae import plots
        >>> samples, guide = torch.randn(3, 500, 2), 0.8 * torch.randn(3, 100_000, 2)
        >>> figure = plots.posterior_draws(samples, guide)
    """
    samples, guide = _as_draws("samples", samples), _as_draws("guide", guide)
    n = len(samples)
    if len(guide) != n:
        raise ValueError(f"samples are of {n} data and guide of {len(guide)}: both must be of all.")
    if titles is not None and len(titles) != n:
        raise ValueError(f"titles must have one for each of {n} data, but there are {len(titles)}.")
    spread = [np.linalg.matrix_rank(draws - draws.mean(0)) for draws in guide]
    if min(spread) < 2:
        raise ValueError(
            f"The draws of guide of datum {spread.index(min(spread))} lie on a line: contours need "
            "draws of a density of two latents."
        )
    rows = ceil(n / _MOST_COLUMNS)
    columns = ceil(n / rows)
    side = WIDTH / max(columns, 2)
    height = rows * (side + (_TITLE if titles else 0)) + _KEY
    figure = canvas(figure, columns * side, height)
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for i, axes in enumerate(panels):
        if i >= n:
            axes.remove()
            continue
        plot_points(axes, samples[i], np.full(len(samples[i]), BLUE))
        shown = np.concatenate([samples[i], _plot_contours(axes, guide[i])])
        show_square(axes, shown.min(0), shown.max(0))
        axes.locator_params(nbins=4)  # in so narrow a panel more would run together
        axes.set(xlabel="$z_1$", ylabel="$z_2$", title=titles[i] if titles else "")
    masses = " and ".join(f"{100 * mass:g} %" for mass in MASSES)
    figure.legend(
        [Line2D([], [], marker="o", ls="", ms=4, color=BLUE), Line2D([], [], color=ORANGE)],
        ["draws from $p(z|x)$", f"$q(z|x)$, {masses} of its mass"],
        loc="outside lower center",
        ncols=2,
    )
    return figure


def _as_draws(name: str, draws: Array) -> np.ndarray:
    draws = as_reals(name, draws)
    if draws.ndim != 3 or draws.shape[2] != 2:
        raise ValueError(
            f"{name} must hold draws of two latents, shape (n, draws, 2), but the shape is "
            f"{draws.shape}."
        )
    return draws


def _plot_contours(axes: Axes, draws: np.ndarray) -> np.ndarray:
    """Plot the outlines of the densest regions that hold given masses; return their points."""
    from scipy.ndimage import gaussian_filter

    # Once the draws have unit covariance, one bandwidth, Scott's, suits all directions.
    mean, root = draws.mean(0), np.linalg.cholesky(np.cov(draws.T))
    white = np.linalg.solve(root, (draws - mean).T)
    reach = min(1.2 * np.abs(white).max(), _MOST_DEVIATIONS)
    edges = np.linspace(-reach, reach, _GRID + 1)
    counts, *_ = np.histogram2d(white[0], white[1], bins=[edges, edges])
    bandwidth = len(draws) ** (-1 / 6)
    density = gaussian_filter(counts, bandwidth / (edges[1] - edges[0]), mode="constant")
    falling = np.sort(density, axis=None)[::-1]
    within = np.cumsum(falling) / falling.sum()
    levels = [falling[np.searchsorted(within, mass)] for mass in reversed(MASSES)]
    middles = (edges[1:] + edges[:-1]) / 2
    x, y = np.tensordot(root, np.meshgrid(middles, middles, indexing="ij"), 1)
    contours = axes.contour(
        x + mean[0], y + mean[1], density, levels=levels, colors=ORANGE, linewidths=[1.2, 1.8]
    )
    return np.concatenate([path.vertices for path in contours.get_paths()])
