import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from pvae.plots.anomalies import roc
from pvae.plots.style import PALETTE

X, Y = torch.tensor([0.0, 0.0, 0.5, 1.0]), torch.tensor([0.0, 0.5, 1.0, 1.0])


def test_a_curve_over_the_diagonal(render):
    figure = roc(X, Y, 0.875)
    (axes,) = figure.axes
    chance, curve = axes.lines
    np.testing.assert_array_equal(chance.get_xydata(), [[0, 0], [1, 1]])
    np.testing.assert_array_equal(curve.get_xydata(), torch.stack([X, Y], -1))
    assert [text.get_text() for text in axes.get_legend().texts] == ["area 0.875"]
    render(figure)
    box = axes.get_window_extent()
    assert box.width == pytest.approx(box.height)
    # What lies on an edge is not cut off.
    assert axes.get_xlim()[0] < 0
    assert axes.get_ylim()[1] > 1


def test_no_area_no_key():
    assert roc(X, Y).axes[0].get_legend() is None


def test_several_curves_by_name():
    figure = roc({"plain": X, "typicality": Y}, {"plain": Y, "typicality": Y})
    (axes,) = figure.axes
    assert [line.get_color() for line in axes.lines[1:]] == list(PALETTE[:2])
    assert [text.get_text() for text in axes.get_legend().texts] == ["plain", "typicality"]
    # Their areas, whatever the order of the names.
    figure = roc({"a": X, "b": Y}, {"b": Y, "a": Y}, {"b": 0.5, "a": 0.875})
    texts = [text.get_text() for text in figure.axes[0].get_legend().texts]
    assert texts == ["a, area 0.875", "b, area 0.500"]


def test_it_draws_into_a_subfigure(render):
    figure = Figure(layout="constrained")
    left, _ = figure.subfigures(1, 2)
    assert roc(X, Y, figure=left) is left
    render(figure)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((X, Y[:3]), ValueError, r"must be of one shape \(k,\) and rise from 0 to 1"),
        ((X[:3], Y[:3]), ValueError, r"rise from 0 to 1, but .* from 0 to 0.5 and 0 to 1"),
        ((X.flip(0), Y), ValueError, "rise from 0 to 1"),
        ((X[None], Y[None]), ValueError, "must be of one shape"),
        ((X * torch.nan, Y), ValueError, "false_positive_rate holds NaN"),
        (({"a": X}, {"b": Y}), ValueError, r"the same names.* \['a'\], .* \['b'\]"),
        (({"a": X}, {"a": Y}, 0.5), ValueError, "the same names"),
        (({}, {}), ValueError, "the same names, at least one"),
        (({"a": X}, {"a": Y[:3]}), ValueError, "The rates of a must be"),
        ((dict.fromkeys(range(11), X), dict.fromkeys(range(11), Y)), ValueError, "at most 10"),
        ((np.array(["a"]), Y), TypeError, "must hold real numbers"),
    ],
)
def test_errors(arguments, error, match):
    with pytest.raises(error, match=match):
        roc(*arguments)
