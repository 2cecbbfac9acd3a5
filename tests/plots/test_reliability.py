"""The reliability diagram."""

import pytest

from pvae import plots


def test_it_shows_the_bins_that_hold_data():
    figure = plots.reliability([0.3, float("nan"), 0.9], [0.5, float("nan"), 0.8], [10, 0, 40])
    above, below = figure.axes
    assert above.containers[0].lines[0].get_xydata().tolist() == [[0.3, 0.5], [0.9, 0.8]]
    assert [bar.get_height() for bar in below.patches] == [10, 40]


@pytest.mark.parametrize("count", [[0, 0], [1]])
def test_bad_input(count):
    with pytest.raises(ValueError, match=r"shapes|count is 0"):
        plots.reliability([0.5, 0.9], [0.5, 0.9], count)
