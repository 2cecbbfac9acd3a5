import pytest
import torch

from pvae import plots


def test_uncertainty_is_shown_to_its_own_greatest_value():
    x = torch.rand(3, 1, 8, 8)
    figure = plots.uncertainty_maps(x, x, 0.25 * torch.ones_like(x), 0 * x)
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["$x$", "mean", "epistemic\nto 0.25", "aleatoric\nto 0"]
    with pytest.raises(ValueError, match="two finite, increasing numbers"):
        plots.uncertainty_maps(x, x, x, x, value_range=(0, 1, 2))
    with pytest.raises(ValueError, match="mean must have the shape of x"):
        plots.uncertainty_maps(x, x[:2], x, x)


def test_samples_have_a_row_for_each_draw_of_the_weights():
    figure = plots.samples_by_weights(torch.rand(2, 5, 1, 8, 8))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["$w_{1}$", "$w_{2}$"]
