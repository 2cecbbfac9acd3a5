import numpy as np
import pytest
import torch

from pvae.plots.levels import level_kl, redraws


def test_a_bar_for_each_level_and_a_line_for_its_data():
    kl = np.random.default_rng(0).gamma(2.0, size=(200, 3))
    (axes,) = level_kl(torch.tensor(kl)).axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(kl.mean(0).tolist())
    (lines,) = axes.collections
    ends = np.array([segment[:, 0] for segment in lines.get_segments()])
    np.testing.assert_allclose(ends.T, np.percentile(kl, (5, 95), axis=0))
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "$z_{1}$",
        "$z_{2}$",
        "$z_{3}$",
    ]
    assert axes.yaxis_inverted()
    with pytest.raises(ValueError, match="kl must have shape"):
        level_kl(kl[0])


def test_a_row_for_each_number_of_levels_held():
    (axes,) = redraws(torch.rand(2, 6, 1, 8, 8)).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["$z_{1}$ held", "$z_{1:2}$ held"]
    with pytest.raises(ValueError, match="x must have shape"):
        redraws(torch.rand(6, 8))
