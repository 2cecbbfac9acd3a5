"""ROC curves: how well scores separate anomalies from normal data."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pvae.plots.arrays import Array, as_reals
from pvae.plots.style import FAINT, PALETTE, Canvas, canvas, style

_KEY = 0.2  # inches of a line of the key


@style()
def roc(
    false_positive_rate: Array | Mapping[str, Array],
    true_positive_rate: Array | Mapping[str, Array],
    area: float | Mapping[str, float] | None = None,
    *,
    figure: Canvas | None = None,
) -> Canvas:
    """ROC curves: the true positive rate over the false positive rate, anomalies being positive.

    A score that ranks at random lies on the dashed diagonal.

    Args:
        false_positive_rate: the fraction of normal data above each threshold, rising from 0 to 1,
            shape ``(k,)``; or of several scores, by their names.
        true_positive_rate: the fraction of anomalies above each threshold, rising from 0 to 1,
            shape ``(k,)``; or by the same names.
        area: the area under each curve, shown in the key.
        figure: the figure or subfigure to plot into, by default a new one.

    Returns:
        The figure.

    Raises:
        TypeError: if an array does not hold real numbers.
        ValueError: if an array is empty, not of rates that rise from 0 to 1, or of another length,
            if the names differ, or there are more curves than ten.

    Example:
        >>> import torch
        >>> from pvae import plots
        >>> figure = plots.roc(torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, 0.5, 1.0]), 0.75)
    """
    x, y, areas = map(_by_name, (false_positive_rate, true_positive_rate, area))
    if not x or x.keys() != y.keys() or (area is not None and x.keys() != areas.keys()):
        raise ValueError(
            "The curves must have the same names, at least one, but those of false_positive_rate "
            f"are {list(x)}, of true_positive_rate {list(y)} and of area {list(areas)}."
        )
    if len(x) > len(PALETTE):
        raise ValueError(f"{len(x)} curves cannot be told apart: plot at most {len(PALETTE)}.")
    curves = {name: _curve(name, x[name], y[name]) for name in x}

    figure = canvas(figure, 4.2, 4 + _KEY * len(curves))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=FAINT, ls="--", lw=0.9)
    for colour, (name, curve) in zip(PALETTE, curves.items(), strict=False):
        stated = "" if area is None else f"area {areas[name]:.3f}"
        axes.plot(*curve, color=colour, label=", ".join(filter(None, [name, stated])))
    axes.set(
        xlim=(-0.01, 1.01),
        ylim=(-0.01, 1.01),
        aspect="equal",
        xlabel="false positive rate",
        ylabel="true positive rate",
    )
    axes.grid()
    if area is not None or "" not in curves:
        # Below the axes: curves may run anywhere in them.
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17))
    return figure


def _by_name(given: Any) -> Mapping[str, Any]:
    """One curve as one of a single name, which is empty."""
    return given if isinstance(given, Mapping) else {"": given}


def _curve(name: str, x: Array, y: Array) -> tuple[np.ndarray, np.ndarray]:
    """Check the points of a curve and return them."""
    of = f" of {name}" if name else ""
    x = as_reals(f"false_positive_rate{of}", x)
    y = as_reals(f"true_positive_rate{of}", y)
    for rate in (x, y):
        if rate.ndim != 1 or rate.shape != x.shape or (np.diff(rate) < 0).any():
            break
        if rate[0] != 0 or rate[-1] != 1:
            break
    else:
        return x, y
    raise ValueError(
        f"The rates{of} must be of one shape (k,) and rise from 0 to 1, but their shapes are "
        f"{x.shape} and {y.shape}, from {x.min():g} to {x.max():g} and {y.min():g} to {y.max():g}."
    )
