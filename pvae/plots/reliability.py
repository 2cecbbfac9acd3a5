"""The reliability diagram: whether probabilities of classes are as often right as they say."""

import numpy as np

from pvae.plots.arrays import Array, as_numpy
from pvae.plots.style import BLUE, FAINT, Canvas, canvas, style

_SIZE = (4.2, 5.1)
_SHARES = (4, 1)  # the heights of the diagram and of the counts below it
_BEYOND = 0.03  # of the axes, so that no marker at 0 or 1 is cut off
_QUANTILE = 1.96  # standard deviations of an interval of 95 %


@style()
def reliability(
    confidence: Array, accuracy: Array, count: Array, *, figure: Canvas | None = None
) -> Canvas:
    """Plot accuracy over confidence, with the number of data below it (Guo et al. 2017).

    Points of a calibrated classifier lie on the diagonal, below it if it is too sure. Each has the
    95 % interval of Wilson (1927), which is sound for few data, and where all or none are right.

    Args:
        confidence: the mean confidence in each bin, shape ``(bins,)``, as of
            `pvae.evaluation.classification`; NaN in an empty one.
        accuracy: the accuracy in each bin, shape ``(bins,)``.
        count: the number of data in each bin, shape ``(bins,)``.
        figure: the figure or subfigure to plot into, by default a new one.

    Returns:
        The figure.

    Raises:
        ValueError: if the shapes differ, or there are no data.

    Example:
        >>> from pvae import plots
        >>> figure = plots.reliability([0.6, 0.9], [0.5, 0.95], [10, 90])
    """
    confidence, accuracy, count = (
        as_numpy(name, values).astype(float)
        for name, values in (("confidence", confidence), ("accuracy", accuracy), ("count", count))
    )
    if confidence.ndim != 1 or not confidence.shape == accuracy.shape == count.shape:
        raise ValueError(
            f"confidence, accuracy and count have shapes {confidence.shape}, {accuracy.shape} and "
            f"{count.shape}: expected (bins,) for each."
        )
    if not count.sum() > 0:
        raise ValueError("count is 0 in every bin: give the bins of at least one datum.")
    figure = canvas(figure, *_SIZE)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=_SHARES)
    full = count > 0
    (diagonal,) = above.plot([0, 1], [0, 1], color=FAINT, lw=0.8)
    p, n = accuracy[full], count[full]
    points = above.errorbar(
        confidence[full],
        p,
        yerr=np.abs(_wilson(p, n) - p),
        color=BLUE,
        ls="",
        elinewidth=1.2,
        marker="o",
        ms=4,
        capsize=2,
    )
    limits = (-_BEYOND, 1 + _BEYOND)
    above.set(ylabel="accuracy: share of right classes", xlim=limits, ylim=limits)
    below.bar(confidence[full], n, width=0.6 / len(count), color=BLUE)
    below.set(xlabel="confidence: probability of the most probable class", ylabel="items")
    figure.legend(
        [points, diagonal],
        ["items of a bin of confidence, 95 % interval", "calibrated: as often right as confident"],
        loc="outside lower center",
    )
    return figure


def _wilson(p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """The ends of the interval around each share p of n, shape (2, bins)."""
    z2 = _QUANTILE**2 / n
    half = np.sqrt(z2 * (p * (1 - p) + z2 / 4))
    return (p + z2 / 2 + np.stack([-half, half])) / (1 + z2)
