import numpy as np
import pytest
import torch
from matplotlib.patches import StepPatch
from scipy.stats import binom

from pvae.plots.calibration import rank_histograms

RNG = np.random.default_rng(0)
RANKS = RNG.integers(100, size=(1000, 3))


def stairs(axes):
    """The band, the expected counts and the counts."""
    return [patch.get_data() for patch in axes.patches if isinstance(patch, StepPatch)]


def test_every_rank_is_counted_in_its_bin():
    axes = rank_histograms(torch.tensor(RANKS), 99).axes
    for latent, panel in enumerate(axes):
        _, expected, counts = stairs(panel)
        assert counts.values.tolist() == np.histogram(RANKS[:, latent], 20, (0, 100))[0].tolist()
        np.testing.assert_allclose(counts.edges, np.arange(0, 101, 5) - 0.5)
        np.testing.assert_allclose(expected.values, 50)
        assert panel.get_ylim()[0] == 0
        assert panel.get_ylim()[1] > counts.values.max()
    assert [panel.get_title() for panel in axes] == ["$z_{1}$", "$z_{2}$", "$z_{3}$"]


def test_the_band_holds_99_in_100_bars_of_uniform_ranks():
    band, _, _ = stairs(rank_histograms(RANKS, 99).axes[0])
    np.testing.assert_array_equal(band.baseline, binom.ppf(0.005, 1000, 0.05))
    np.testing.assert_array_equal(band.values, binom.ppf(0.995, 1000, 0.05))
    counts = RNG.multinomial(1000, [0.05] * 20, size=2000)
    inside = (counts >= band.baseline) & (counts <= band.values)
    assert 0.985 < inside.mean() < 0.998


def test_bins_that_cannot_be_equal_expect_what_they_hold():
    _, expected, counts = stairs(rank_histograms(RNG.integers(101, size=(1000, 1)), 100).axes[0])
    np.testing.assert_allclose(expected.values, 1000 * np.diff(counts.edges) / 101)
    assert counts.values.sum() == 1000


@pytest.mark.parametrize(("n", "num_samples"), [(1, 99), (12, 99), (500, 1), (500, 0)])
def test_few_ranks(n, num_samples, render):
    figure = rank_histograms(np.zeros((n, 2), int), num_samples)
    render(figure)
    assert stairs(figure.axes[0])[-1].values.sum() == n


@pytest.mark.parametrize(("latents", "rows"), [(1, 1), (4, 1), (6, 2), (16, 4)])
def test_all_latents_are_drawn_if_they_are_few(latents, rows, render):
    figure = rank_histograms(RNG.integers(100, size=(100, latents)), 99)
    render(figure)
    assert len(figure.axes) == latents
    assert len({round(axes.get_position().y0, 3) for axes in figure.axes}) == rows
    assert not any("latents" in text.get_text() for text in figure.legends[0].texts)
    # The lowest of each column says what its axis is.
    assert sum(bool(axes.get_xlabel()) for axes in figure.axes) == min(latents, 4)


def test_of_many_latents_it_says_how_many_are_drawn():
    figure = rank_histograms(RNG.integers(100, size=(100, 40)), 99)
    assert len(figure.axes) == 16
    assert [text.get_text() for text in figure.legends[0].texts] == [
        "100 ranks",
        "99% band if uniform",
        "first 16 of 40 latents",
    ]


def test_into_a_subfigure(render):
    from matplotlib.figure import Figure

    parts = Figure(layout="constrained").subfigures(1, 2)
    assert rank_histograms(RANKS, 99, figure=parts[1]) is parts[1]
    assert not parts[0].axes
    render(parts[0])


@pytest.mark.parametrize("wrong", [RANKS - 1, RANKS + 1.0, RANKS + 0.5])
def test_values_that_are_not_ranks_are_refused(wrong):
    with pytest.raises(ValueError, match="ranks must be whole numbers from 0 to num_samples"):
        rank_histograms(wrong, 99)


def test_one_column_a_latent():
    with pytest.raises(ValueError, match=r"ranks must have shape \(n, latent_dim\)"):
        rank_histograms(RANKS[:, 0], 99)
