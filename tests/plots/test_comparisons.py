import os
from functools import partial

import numpy as np
import pytest
from PIL import Image

from pvae import plots
from pvae.plots import comparisons


def grey(value):
    """A function that fills its subfigure with one grey."""
    return lambda figure: figure.set_facecolor(str(value))


def constant(value):
    """A function that draws one tile of one grey."""
    return lambda figure: plots.samples(np.full((1, 1, 4, 4), value), figure=figure)


def frames(path):
    with Image.open(path) as film:
        result = []
        for k in range(film.n_frames):
            film.seek(k)
            result.append((film.info["duration"], np.asarray(film.convert("L")) / 255))
        return result, film.info["loop"]


@pytest.mark.parametrize(("n", "rows"), [(1, 1), (4, 1), (5, 2), (6, 2), (9, 3)])
def test_side_by_side(n, rows, render):
    parts = []

    def draw(value, figure):
        parts.append(figure)
        constant(value)(figure)

    figure = plots.side_by_side(
        [partial(draw, (k + 1) / 10) for k in range(n)], [f"epoch {k}" for k in range(n)]
    )
    colour = render(figure)
    boxes = [part.axes[0].get_window_extent() for part in parts]
    titles = [text for part in figure.subfigs[:n] for text in part.subfigs[0].texts]
    assert [title.get_text() for title in titles] == [f"epoch {k}" for k in range(n)]
    for k, part in enumerate(parts):
        assert colour(part.axes[0], 2, 2) == pytest.approx([(k + 1) / 10] * 3, abs=0.01)
        assert titles[k].get_window_extent().y0 > boxes[k].y1
    columns = -(-n // rows)
    # In reading order.
    for k in range(1, n):
        if k % columns:
            assert boxes[k].x0 > boxes[k - 1].x1
        else:
            assert boxes[k].y1 < boxes[k - 1].y0


def test_titles_of_several_lines_leave_pictures_in_line(render):
    parts = []

    def draw(figure):
        parts.append(figure)
        constant(0.5)(figure)

    titles = ["StandardNormal", "VampPrior(components=500), ImportanceWeighted(num_samples=5)", "g"]
    figure = plots.side_by_side([draw] * 3, titles)
    render(figure)
    boxes = [part.axes[0].get_window_extent() for part in parts]
    assert len({(round(box.y0, 6), round(box.y1, 6)) for box in boxes}) == 1
    shown = [text.get_window_extent() for part in figure.subfigs for text in part.subfigs[0].texts]
    assert all(box.y1 < title.y0 for box, title in zip(boxes, shown, strict=True))
    assert all(title.y1 < figure.bbox.height for title in shown)


def test_aspect():
    sizes = [
        plots.side_by_side([constant(0)] * 2, ["a", "b"], aspect=aspect).get_size_inches()
        for aspect in (1, 2)
    ]
    assert sizes[0][0] == sizes[1][0] == 8.5
    assert sizes[0][1] - sizes[1][1] == pytest.approx(8.5 / 2 / 2)


def test_pictures_can_be_nested(render):
    inner = partial(plots.side_by_side, [constant(0.2), constant(0.4)], ["a", "b"])
    figure = plots.side_by_side([lambda f: inner(figure=f), constant(0.6)], ["c", "d"])
    render(figure)
    assert [axes.images[0].get_array()[0, 0, 0] for axes in figure.axes] == pytest.approx(
        [0.2, 0.4, 0.6]
    )


def test_animation(tmp_path):
    path = tmp_path / "new" / "film.gif"
    values = [0.0, 0.3, 0.6]
    plots.animate(
        [constant(v) for v in values],
        ["epoch 1", "epoch 2", "epoch 4"],
        path,
        seconds_per_frame=0.5,
    )
    shown, loop = frames(path)
    assert [duration for duration, _ in shown] == [500, 500, 2000]
    assert loop == 0
    assert len({pixels.shape for _, pixels in shown}) == 1
    for (_, pixels), value in zip(shown, values, strict=True):
        height, width = pixels.shape
        assert pixels[height // 2, width // 2] == pytest.approx(value, abs=0.03)
    # The titles differ, what is beside the pictures does not flicker.
    tops = [pixels[:25] for _, pixels in shown]
    assert not np.array_equal(tops[0], tops[1])
    assert len({pixels[-2, 2] for _, pixels in shown}) == 1
    assert os.listdir(path.parent) == ["film.gif"]


def test_frames_have_the_same_size_whatever_they_draw(tmp_path):
    draws = [
        constant(0.5),
        partial(_scatter, np.random.default_rng(0).normal(size=(20, 2))),
        partial(_scatter, 1000 * np.random.default_rng(0).normal(size=(20, 2))),
    ]
    plots.animate(draws, ["a", "b", "c"], tmp_path / "film.gif", aspect=1.5)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.size == (750, 525)
        assert film.n_frames == 3


def _scatter(mean, figure):
    plots.latent_scatter(mean, np.arange(20), figure=figure)


def test_rare_colours_survive(tmp_path):
    from matplotlib.colors import to_rgb

    from pvae.plots.style import PALETTE

    def draw(figure):
        plots.latent_plane(
            np.random.default_rng(0).normal(size=(10, 2)),
            np.random.default_rng(0).random((10, 10, 1, 8, 8)),
            plots.percentiles(10),
            np.arange(10),
            figure=figure,
        )

    plots.animate([draw, draw], ["a", "b"], tmp_path / "film.gif", aspect=2)
    with Image.open(tmp_path / "film.gif") as film:
        pixels = np.asarray(film.convert("RGB")).reshape(-1, 3) / 255
    for colour in PALETTE:
        assert np.abs(pixels - to_rgb(colour)).max(-1).min() < 0.03


def test_greys_stay_grey_beside_colours(tmp_path):
    def draw(figure):
        left, right = figure.subfigures(1, 2)
        plots.latent_scatter(np.random.default_rng(0).normal(size=(10, 2)), range(10), figure=left)
        plots.samples(np.linspace(0, 1, 64).reshape(1, 1, 8, 8), figure=right)

    plots.animate([draw, draw], ["a", "b"], tmp_path / "film.gif", aspect=2)
    with Image.open(tmp_path / "film.gif") as film:
        pixels = np.asarray(film.convert("RGB")).astype(int)
    assert (np.ptp(pixels[60:-60, -200:-150], axis=-1) == 0).all()
    assert (pixels[-3, 3] == 255).all()


def test_a_film_is_bounded(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).random((2, 25, 3, 48, 48))
    sizes = []
    for most in (1_500_000, 250_000):  # all noise in 2 frames is below the first
        monkeypatch.setattr(comparisons, "_MOST_BYTES", most)
        plots.animate([partial(_samples, x) for x in noise], ["a", "b"], tmp_path / "film.gif")
        sizes.append((tmp_path / "film.gif").stat().st_size)
    assert sizes[1] < 250_000 < sizes[0]


def _samples(x, figure):
    plots.samples(x, figure=figure)


def test_a_failure_leaves_the_file_of_before(tmp_path):
    path = tmp_path / "film.gif"
    path.write_bytes(b"before")

    def fail(figure):
        raise RuntimeError("cannot draw")

    with pytest.raises(RuntimeError, match="cannot draw"):
        plots.animate([constant(0), fail], ["a", "b"], path)
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["film.gif"]


@pytest.mark.parametrize(
    ("draws", "titles", "options", "match"),
    [
        ([], [], {}, "pictures is empty"),
        ([grey(0)], [], {}, "1 pictures and 0 titles"),
        ([grey(0)], ["a"], {"aspect": 0}, "aspect must be positive"),
        ([grey(0)], ["a"], {"aspect": float("nan")}, "aspect must be positive"),
    ],
)
def test_errors(draws, titles, options, match, tmp_path):
    with pytest.raises(ValueError, match=match):
        plots.side_by_side(draws, titles, **options)
    with pytest.raises(ValueError, match=match):
        plots.animate(draws, titles, tmp_path / "film.gif", **options)


def test_animation_errors(tmp_path):
    with pytest.raises(ValueError, match=r"saved as \.gif"):
        plots.animate([grey(0)] * 2, ["a", "b"], tmp_path / "film.mp4")
    for seconds in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="seconds_per_frame must be at least"):
            plots.animate(
                [grey(0)] * 2, ["a", "b"], tmp_path / "film.gif", seconds_per_frame=seconds
            )
    with pytest.raises(ValueError, match="at least 2 frames, but there is one picture"):
        plots.animate([grey(0)], ["a"], tmp_path / "film.gif")
    assert not os.listdir(tmp_path)
