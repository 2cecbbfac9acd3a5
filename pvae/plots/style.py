"""The style and figure sizes that all plots share."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import matplotlib.figure
import matplotlib.style
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import FigureBase, SubFigure

Canvas: TypeAlias = matplotlib.figure.Figure | SubFigure

WIDTH = 8.5
"""Inches: the widest figure. At 100 pixels an inch it fills the text column of a README."""

SAVE_DPI = 150
"""Pixels per inch of what is written to files."""

KEY_SIZE = 8.5
"""Points: the font size of keys and legends."""

INK = "#222222"
FAINT = "#8A8A8A"

BLUE, ORANGE = "#0072B2", "#E69F00"

# The colours of Okabe and Ito (2008), their yellow darkened to be seen on white, and two more:
# in no kind of dichromacy are any two nearer to each other than the nearest two of the original.
PALETTE = (
    BLUE,
    ORANGE,
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
    "#E0D000",
    "#661100",
    "#332288",
    "#000000",
)

_STYLE = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": KEY_SIZE,
    "figure.titlesize": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.7,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.width": 0.5,
    "ytick.minor.width": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "legend.handletextpad": 0.4,
    "legend.columnspacing": 1.4,
    "figure.constrained_layout.w_pad": 0.08,  # inches: names beside rows keep off the edge
    "pdf.fonttype": 42,  # text stays text
    "svg.hashsalt": "pvae",  # equal figures give equal files
}


@contextmanager
def style() -> Iterator[None]:
    """Plot in the package's style, and leave the user's own style unchanged."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


class Figure(matplotlib.figure.Figure):
    """A figure that shows itself in a notebook, without pyplot.

    A figure made by pyplot stays in pyplot's registry until it is closed, and a plain
    :class:`matplotlib.figure.Figure` is shown only once pyplot has set up the notebook. This one
    renders itself as PNG.
    """

    def draw(self, renderer: RendererBase) -> None:
        """Render in the package's style: matplotlib makes ticks, for example, only now."""
        with style():
            super().draw(renderer)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        # Twice the pixels, shown at the figure's nominal size: sharp on dense screens.
        buffer = io.BytesIO()
        with style():
            self.savefig(buffer, format="png", dpi=2 * self.dpi)
        width, height = (round(side * self.dpi) for side in self.get_size_inches())
        return buffer.getvalue(), {"width": width, "height": height}


def canvas(figure: Canvas | None, width: float, height: float) -> Canvas:
    """The figure to plot into: the one given, else a new one of this many inches."""
    if figure is not None and not isinstance(figure, FigureBase):
        raise TypeError(
            f"figure must be a figure or subfigure of matplotlib, but it is of type "
            f"{type(figure).__name__}; plots.save writes a figure to a file."
        )
    if figure is None:
        return Figure(figsize=(width, height), layout="constrained")
    return figure


def inches(figure: Canvas) -> tuple[float, float]:
    """Width and height of a figure or subfigure."""
    return figure.bbox.width / figure.dpi, figure.bbox.height / figure.dpi
