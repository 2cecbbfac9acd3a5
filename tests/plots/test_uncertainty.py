from itertools import combinations

import pytest
import torch
from matplotlib import colormaps

from pvae import plots


@pytest.mark.parametrize("channels", [1, 3])
def test_deviations_have_colours_on_scales_of_their_own(channels, render):
    x = torch.linspace(0, 1, 3).reshape(3, 1, 1, 1).expand(3, channels, 14, 14)
    epistemic, aleatoric = x / 4, 0.4 + x / 10
    figure = plots.uncertainty_maps(x, 1 - x, epistemic, aleatoric)
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["$x$", "mean", "epistemic\ndeviation", "aleatoric\ndeviation"]
    colour = render(figure)
    for column in range(3):
        middle = 15 * column + 7
        for row, grey in enumerate((x, 1 - x)):
            expected = [float(grey[column, 0, 0, 0])] * 3
            assert colour(axes, middle, 15 * row + 7) == pytest.approx(expected, abs=0.01)
        for row, deviation in enumerate((epistemic, aleatoric), start=2):
            part = float(deviation[column, 0, 0, 0] / deviation.max())
            expected = colormaps["viridis"](part)[:3]
            assert colour(axes, middle, 15 * row + 7) == pytest.approx(expected, abs=0.02)
    scales = [[label.get_text() for label in bar.get_yticklabels()] for bar in axes.child_axes]
    assert scales == [["0", "0.25"], ["0", "0.5"]]
    boxes = [
        label.get_window_extent() for bar in axes.child_axes for label in bar.get_yticklabels()
    ]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_the_deviation_of_a_colour_image_is_over_its_channels():
    x = torch.rand(2, 3, 8, 8)
    figure = plots.uncertainty_maps(x, x, torch.tensor([0.3, 0, 0])[:, None, None].expand_as(x), x)
    top = figure.axes[0].child_axes[0].get_yticklabels()[1]
    assert top.get_text() == f"{0.3 / 3**0.5:.2g}"


def test_deviations_of_vectors_are_lines_to_their_greatest_value():
    x = torch.rand(3, 5)
    figure = plots.uncertainty_maps(x, x, 0.25 * torch.ones_like(x), 0 * x)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["$x$", "mean", "epistemic\nto 0.25", "aleatoric\nto 0"]


def test_bad_input():
    x = torch.rand(3, 1, 8, 8)
    with pytest.raises(ValueError, match="two finite, increasing numbers"):
        plots.uncertainty_maps(x, x, x, x, value_range=(0, 1, 2))
    with pytest.raises(ValueError, match="mean must have the shape of x"):
        plots.uncertainty_maps(x, x[:2], x, x)


def test_samples_have_a_row_for_each_draw_of_the_weights(render):
    figure = plots.samples_by_weights(torch.rand(2, 5, 1, 8, 8))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["weights 1", "weights 2"]
    assert axes.get_xlabel() == "each row a draw of the weights, each column the same z"
    render(figure)
    beside = figure.bbox.width - axes.get_window_extent().x1
    assert beside < 0.25 * figure.dpi
