from functools import partial

import numpy as np
import pytest
from PIL import Image

from pvae import plots


def tile(value, figure):
    plots.samples(np.full((1, 1, 4, 4), value), figure=figure)


@pytest.fixture
def points():
    spread = np.array([0.1, 2.0, 1.0]).reshape(3, 1, 1)
    return spread * np.random.default_rng(0).normal(size=(3, 60, 2))


PICTURES = [partial(tile, value) for value in (0.2, 0.4, 0.6)]
TITLES = ["before training", "epoch 1", "epoch 9"]


def test_maps_over_pictures(points, render):
    labels = np.arange(60) % 3
    figure = plots.over_training(
        points, PICTURES, TITLES, labels, ["a", "b", "c"], map_label="a map of 60 means"
    )
    colour = render(figure)
    maps, tiles = figure.axes[:3], figure.axes[3:]
    assert [axes.get_title() for axes in maps] == TITLES
    assert [axes.get_ylabel() for axes in maps] == ["a map of 60 means", "", ""]
    assert len({axes.get_xlim() for axes in maps}) == len({axes.get_ylim() for axes in maps}) == 1
    for above, below, value in zip(maps, tiles, (0.2, 0.4, 0.6), strict=True):
        assert colour(below, 2, 2) == pytest.approx([value] * 3, abs=0.01)
        one, other = above.get_window_extent(), below.get_window_extent()
        assert other.y1 < one.y0
        assert other.x0 + other.x1 == pytest.approx(one.x0 + one.x1, abs=60)
    # Every point of every moment is shown.
    low, high = maps[0].get_xlim()
    assert low < points[..., 0].min() < points[..., 0].max() < high
    (key,) = figure.subfigs[0].legends
    assert [text.get_text() for text in key.get_texts()] == ["a", "b", "c"]


def test_axes_have_ticks_only_if_they_are_named(points, render):
    silent = plots.over_training(points, PICTURES, TITLES)
    named = plots.over_training(points, PICTURES, TITLES, axis_labels=("$z_1$", "$z_2$"))
    render(silent), render(named)
    assert not len(silent.axes[0].get_xticks())
    assert len(named.axes[0].get_xticks())
    assert [axes.get_ylabel() for axes in named.axes[:3]] == ["$z_2$"] * 3


def test_frames_have_the_axes_of_the_last_map(points, tmp_path):
    limits = []

    def picture(value, figure):
        tile(value, figure)
        limits.append(figure.figure.axes[0].get_xlim())

    draws = plots.frames(points, [partial(picture, v) for v in (0.2, 0.4, 0.6)], map_label="map")
    plots.animate(draws, TITLES, tmp_path / "film.gif", aspect=2)
    assert len(set(limits)) == 1
    (low, high), last = limits[0], points[-1, :, 0]
    assert low < last.min() < last.max() < high
    assert high - low < np.ptp(points[1, :, 0])
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 3


def test_errors(points):
    with pytest.raises(ValueError, match="use pca_maps or tsne_maps for more than two latents"):
        plots.over_training(np.zeros((3, 60, 3)), PICTURES, TITLES)
    with pytest.raises(ValueError, match=r"points must have shape \(k, n, 2\)"):
        plots.frames(points[0], PICTURES)
    with pytest.raises(ValueError, match="3 moments, but there are 2 pictures and 3 titles"):
        plots.over_training(points, PICTURES[:2], TITLES)
    with pytest.raises(ValueError, match="2 pictures and 3 maps"):
        plots.frames(points, PICTURES[:2])
    with pytest.raises(ValueError, match="aspect must be positive"):
        plots.over_training(points, PICTURES, TITLES, aspect=0)
