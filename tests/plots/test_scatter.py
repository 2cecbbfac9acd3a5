import numpy as np
import pytest

from pvae.plots.scatter import plot_points, show_square, spread
from pvae.plots.style import canvas


def scatter(n, size=5):
    axes = canvas(None, size, size).subplots()
    plot_points(axes, np.random.default_rng(0).normal(size=(n, 2)), np.full(n, "#0072B2"))
    return axes.collections[0]


def test_the_more_points_the_smaller_and_fainter():
    few, some, many = scatter(100), scatter(5000), scatter(60_000)
    areas = [float(points.get_sizes()[0]) for points in (few, some, many)]
    assert areas == sorted(areas, reverse=True)
    assert areas[0] > 5 * areas[2]
    assert few.get_alpha() > some.get_alpha() > many.get_alpha() > 0.2


def test_the_smaller_the_axes_the_smaller_the_points():
    assert scatter(5000, size=2).get_sizes()[0] < scatter(5000, size=5).get_sizes()[0]


def test_only_many_points_are_one_picture():
    assert not scatter(5000).get_rasterized()
    assert scatter(5001).get_rasterized()


def test_points_that_coincide_lie_apart_around_their_place():
    places = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    points = places[np.random.default_rng(0).integers(3, size=90)]
    moved = spread(points)
    assert len(np.unique(moved.round(6), axis=0)) == 90
    distance = np.linalg.norm(moved[:, None] - places, axis=-1)
    assert (places[distance.argmin(1)] == points).all()
    at_left = points[:, 0] == 0
    low = points[:, 1] == 0
    assert 0.3 < distance[low & at_left, 0].max() < 0.5  # the nearest place is 1 away,
    assert 0.9 < distance[~low, 2].max() < 1.5  # or 3
    for left in (places, np.zeros((9, 2)), np.random.default_rng(0).normal(size=(50, 2))):
        assert spread(left) is left


def test_the_last_class_does_not_cover_the_others():
    axes = canvas(None, 5, 5).subplots()
    colours = np.repeat(["#0072B2", "#E69F00"], 500)
    plot_points(axes, np.zeros((1000, 2)), colours)
    drawn = axes.collections[0].get_facecolors()
    blue = (drawn[:, 2] > 0.5).astype(float)
    assert 0.4 < blue[:500].mean() < 0.6


@pytest.mark.parametrize(
    ("low", "high"), [([-1, -1], [1, 1]), ([0, 5], [10, 6]), ([2, 2], [2, 2]), ([0, 0], [0, 1e-6])]
)
def test_square(low, high, render):
    axes = canvas(None, 5, 3).subplots()
    show_square(axes, np.array(low, float), np.array(high, float))
    render(axes.figure)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert right - left == pytest.approx(top - bottom)
    assert left < low[0] <= high[0] < right
    assert bottom < low[1] <= high[1] < top
    box = axes.get_window_extent()
    assert box.width == pytest.approx(box.height)
