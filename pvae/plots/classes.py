"""Class labels in plots: names, colours and the legend."""

from collections.abc import Sequence
from math import ceil

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap, to_hex
from matplotlib.lines import Line2D

from pvae.plots.arrays import Array, as_numpy
from pvae.plots.style import BLUE, KEY_SIZE, PALETTE, Canvas, inches


class Classes:
    """The class of each of n points.

    Args:
        n: number of points.
        labels: the class of every point, integers of shape ``(n,)``; None if all are of one.
        names: the name of class 0, 1, ...; None to call each label by its number.

    Raises:
        TypeError: if the labels are not integers.
        ValueError: if their number is not n, one has no name, or there are names but no labels.

    Attributes:
        names: the name of each class, empty if there are no labels.
        colours: the colour of each class.
        index: the class of every point, shape ``(n,)``.
    """

    def __init__(self, n: int, labels: Array | None, names: Sequence[str] | None) -> None:
        if labels is None:
            if names is not None:
                raise ValueError("classes names the labels, but there are none: pass labels too.")
            self.names, self.colours, self.index = [], np.array([BLUE]), np.zeros(n, int)
            return
        labels = as_numpy("labels", labels)
        if labels.dtype.kind not in "bui":
            raise TypeError(f"labels must be integers, but their dtype is {labels.dtype}.")
        if labels.shape != (n,):
            raise ValueError(
                f"labels must have shape ({n},), one for each point, but their shape is "
                f"{labels.shape}."
            )
        if names is None:
            values, self.index = np.unique(labels.astype(int), return_inverse=True)
            self.names = [str(value) for value in values]
        else:
            if labels.min() < 0 or labels.max() >= len(names):
                raise ValueError(
                    f"labels must lie between 0 and {len(names) - 1}, as there are {len(names)} "
                    f"classes, but they lie between {labels.min()} and {labels.max()}."
                )
            self.names, self.index = list(names), labels.astype(int)
        self.colours = colours(len(self.names))

    @property
    def of_points(self) -> np.ndarray:
        """The colour of every point, shape ``(n,)``."""
        return self.colours[self.index]

    def add_key(self, figure: Canvas, axes: Sequence[Axes]) -> None:
        """Add a key to the colours below the axes; nothing if there are no labels."""
        if not self.names:
            return
        if len(self.names) > len(PALETTE):
            self._plot_bar(figure, axes)
        else:
            self._plot_legend(figure)

    def _plot_legend(self, figure: Canvas) -> None:
        rows = ceil(len(self.names) / self._how_many_fit(figure, apart=2.9))
        figure.legend(
            [Line2D([], [], marker="o", ls="", ms=5, color=colour) for colour in self.colours],
            self.names,
            loc="outside lower center",
            ncols=ceil(len(self.names) / rows),
            handlelength=1,
        )

    def _plot_bar(self, figure: Canvas, axes: Sequence[Axes]) -> None:
        k = len(self.names)
        bar = figure.colorbar(
            ScalarMappable(BoundaryNorm(np.arange(k + 1) - 0.5, k), ListedColormap(self.colours)),
            ax=axes,
            location="bottom",
            aspect=40,
        )
        named = np.arange(0, k, ceil(k / self._how_many_fit(figure, apart=0.8)))
        bar.set_ticks(named.tolist(), labels=[self.names[i] for i in named])
        bar.minorticks_off()
        bar.ax.tick_params(length=0)
        bar.outline.set_visible(False)

    def _how_many_fit(self, figure: Canvas, apart: float) -> int:
        """How many names fit beside each other, so many font sizes apart; about right is enough."""
        width = (0.55 * max(map(len, self.names)) + apart) * KEY_SIZE / 72
        return max(1, int(inches(figure)[0] / width))


def colours(k: int) -> np.ndarray:
    """One colour for each of k classes, shape ``(k,)``."""
    if k <= len(PALETTE):
        return np.array(PALETTE[:k])
    # So many cannot all be told apart: let neighbouring classes look alike. The bright end of
    # viridis would not be seen on white.
    shades = colormaps["viridis"](np.linspace(0, 0.95, k))
    return np.array([to_hex(shade) for shade in shades])
