import numpy as np
import pytest
import torch
from matplotlib.collections import EllipseCollection
from matplotlib.colors import to_rgb

from pvae import plots
from pvae.plots.style import PALETTE

RNG = np.random.default_rng(0)
MEAN, LABELS = RNG.normal(size=(50, 2)), RNG.integers(10, size=50)
SCALE = RNG.uniform(0.05, 0.3, size=(50, 2))


def by_place(places, values):
    return {tuple(p): tuple(v) for p, v in zip(places.tolist(), values.tolist(), strict=True)}


def test_every_mean_is_a_point_in_the_colour_of_its_class():
    (points,) = plots.latent_scatter(torch.tensor(MEAN), torch.tensor(LABELS)).axes[0].collections
    colours = np.array([to_rgb(PALETTE[label]) for label in LABELS])
    drawn = by_place(np.asarray(points.get_offsets()), points.get_facecolors()[:, :3])
    assert drawn == by_place(MEAN, colours)


def test_every_posterior_is_an_ellipse_of_one_standard_deviation(render):
    (axes,) = plots.latent_scatter(MEAN, LABELS, SCALE).axes
    render(axes.figure)
    (ellipses,) = [c for c in axes.collections if isinstance(c, EllipseCollection)]
    np.testing.assert_allclose(ellipses.get_offsets(), MEAN)
    # What turns the unit circle into each ellipse.
    radii = ellipses.get_transforms()[:, :2, :2]
    np.testing.assert_allclose(radii, [np.diag(scale) for scale in SCALE])


def test_ellipses_are_drawn_in_data_units(render):
    figure = plots.latent_scatter(np.zeros((1, 2)), scale=np.array([[3.0, 1.0]]))
    (axes,) = figure.axes
    colour = render(figure)
    white = [1, 1, 1]
    for inside in [(2.8, 0), (-2.8, 0), (0, 0.9), (0, -0.9)]:
        assert colour(axes, *inside).tolist() != white
    for outside in [(3.1, 0), (0, 1.1), (2.8, 0.9)]:
        assert colour(axes, *outside).tolist() == white


@pytest.mark.parametrize("scale", [None, SCALE])
def test_everything_is_within_the_axes(scale):
    axes = plots.latent_scatter(MEAN, scale=scale).axes[0]
    reach = 0 if scale is None else scale
    for limits, column in zip((axes.get_xlim(), axes.get_ylim()), (0, 1), strict=True):
        assert limits[0] < (MEAN - reach)[:, column].min()
        assert (MEAN + reach)[:, column].max() < limits[1]


def test_points_leave_room_for_their_ellipses():
    alone, around = (
        plots.latent_scatter(MEAN, scale=scale).axes[0].collections[0] for scale in (None, SCALE)
    )
    assert around.get_sizes()[0] < alone.get_sizes()[0]


def test_axes():
    axes = plots.latent_scatter(MEAN).axes[0]
    assert axes.get_aspect() == 1
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("$z_1$", "$z_2$")


def test_classes_are_named():
    figure = plots.latent_scatter(MEAN, LABELS % 2, classes=["even", "odd"])
    assert [text.get_text() for text in figure.legends[0].texts] == ["even", "odd"]


@pytest.mark.parametrize("n", [1, 60_000])
def test_any_number_of_points(n, render):
    render(plots.latent_scatter(RNG.normal(size=(n, 2)), np.zeros(n, int)))


def test_into_a_subfigure(render):
    from matplotlib.figure import Figure

    parts = Figure(layout="constrained").subfigures(1, 2)
    assert plots.latent_scatter(MEAN, LABELS, SCALE, figure=parts[1]) is parts[1]
    assert not parts[0].axes
    assert parts[1].legends
    render(parts[0])


@pytest.mark.parametrize("shape", [(5, 1), (5, 3)])
def test_only_two_latents(shape):
    with pytest.raises(ValueError, match="mean must hold two latents"):
        plots.latent_scatter(torch.zeros(shape))
