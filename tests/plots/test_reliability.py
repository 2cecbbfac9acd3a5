"""The reliability diagram."""

import numpy as np
import pytest

from pvae import plots


def test_it_shows_the_bins_that_hold_data():
    figure = plots.reliability([0.3, float("nan"), 0.9], [0.5, float("nan"), 0.8], [10, 0, 40])
    above, below = figure.axes
    assert above.containers[0].lines[0].get_xydata().tolist() == [[0.3, 0.5], [0.9, 0.8]]
    assert [bar.get_height() for bar in below.patches] == [10, 40]


def test_every_bin_has_an_interval_and_nothing_is_cut_off(render):
    p, n = np.array([0.0, 0.5, 1.0]), np.array([3, 40, 1])
    figure = plots.reliability([0.2, 0.5, 1.0], p, n)
    render(figure)
    above, _ = figure.axes
    (bars,) = above.containers[0].lines[2]
    low, high = np.stack(bars.get_segments())[:, :, 1].T
    # Wilson's interval are the shares of which p is 1.96 standard deviations away.
    for end in (low, high):
        inside = (end > 1e-9) & (end < 1 - 1e-9)
        deviation = np.sqrt(end * (1 - end) / n)[inside]
        assert np.abs(p - end)[inside] / deviation == pytest.approx(1.96, abs=0.01)
    assert (low[0], high[2]) == pytest.approx((0, 1))
    assert (high - low > 0.25).all()
    for limits in (above.get_xlim(), above.get_ylim()):
        assert limits[0] < 0 < 1 < limits[1]


def test_it_says_what_is_shown(render):
    figure = plots.reliability([0.6, 0.9], [0.5, 0.95], [10, 90])
    render(figure)
    above, below = figure.axes
    assert above.get_ylabel().startswith("accuracy")
    assert below.get_xlabel().startswith("confidence")
    assert below.get_ylabel() == "items"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == [
        "items of a bin of confidence, 95 % interval",
        "calibrated: as often right as confident",
    ]
    assert legend.get_window_extent().width < figure.bbox.width


@pytest.mark.parametrize("count", [[0, 0], [1]])
def test_bad_input(count):
    with pytest.raises(ValueError, match=r"shapes|count is 0"):
        plots.reliability([0.5, 0.9], [0.5, 0.9], count)
