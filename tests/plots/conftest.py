"""Every picture must leave matplotlib as it was."""

import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg


@pytest.fixture(autouse=True)
def _no_trace():
    before = matplotlib.rcParams.copy()
    yield
    changed = {k for k, v in matplotlib.rcParams.copy().items() if before[k] != v} - {"backend"}
    assert not changed
    if "matplotlib.pyplot" in sys.modules:
        assert not sys.modules["matplotlib.pyplot"].get_fignums()


@pytest.fixture
def render():
    """Draw a figure, and give the function that reads the colour drawn at a place in an axes."""

    def draw(figure):
        agg = FigureCanvasAgg(figure.figure)
        agg.draw()
        pixels = np.asarray(agg.buffer_rgba())[::-1, :, :3] / 255

        def colour(axes, x, y):
            column, row = axes.transData.transform((x, y))
            return pixels[int(row), int(column)]

        return colour

    return draw
