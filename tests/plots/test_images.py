import numpy as np
import pytest
import torch

from pvae import plots

EVENTS = [(1, 8, 8), (3, 8, 8), (5,), (6, 3)]


def constants(*batch):
    """Grey tiles of distinct values, 0 to 1 in the order of the array."""
    values = torch.linspace(0, 1, int(np.prod(batch))).reshape(*batch, 1, 1, 1)
    return values.expand(*batch, 1, 14, 14)


def place(row, column, band=0):
    """The middle of a tile of 14 × 14 pixels with gaps of 1, as (x, y)."""
    return 15 * column + 7, 15 * row + 3 * band + 7


def test_samples_are_laid_out_row_by_row(render):
    x = constants(10)
    figure = plots.samples(x)
    (axes,) = figure.axes
    colour = render(figure)
    for k in range(10):
        expected = [float(x[k, 0, 0, 0])] * 3
        assert colour(axes, *place(*divmod(k, 4))) == pytest.approx(expected, abs=0.01)
    assert colour(axes, *place(2, 2)).tolist() == [1, 1, 1]
    assert colour(axes, *place(2, 3)).tolist() == [1, 1, 1]


def test_samples_in_rows_of_a_length_under_a_title(render):
    x = constants(10)
    figure = plots.samples(x, columns=3, labels=[*"aaabbbabbc"], title="the first 2 of 3 classes")
    (axes,) = figure.axes
    colour = render(figure)
    for k in range(10):
        expected = [float(x[k, 0, 0, 0])] * 3
        assert colour(axes, *place(*divmod(k, 3))) == pytest.approx(expected, abs=0.01)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "", "c"]
    assert figure.get_suptitle() == "the first 2 of 3 classes"
    with pytest.raises(ValueError, match="columns is 0"):
        plots.samples(x, columns=0)


@pytest.mark.parametrize("event", [(1, 8, 8), (3, 8, 64), (1, 64, 8), (9,)])
@pytest.mark.parametrize("n", [1, 2, 7, 64, 100])
def test_samples_are_near_a_square(n, event):
    image = plots.samples(np.zeros((n, *event)))
    width, height = image.get_size_inches()
    if n >= 64:
        assert 0.6 < width / height < 1.7


def test_reconstructions_lie_below_their_inputs(render):
    x, x_mean = constants(2, 15)
    figure = plots.reconstructions(x, x_mean)
    (axes,) = figure.axes
    colour = render(figure)
    # Two bands of eight and seven.
    for k in range(15):
        band, column = divmod(k, 8)
        for offset, tiles in enumerate((x, x_mean)):
            expected = [float(tiles[k, 0, 0, 0])] * 3
            at = place(2 * band + offset, column, band)
            assert colour(axes, *at) == pytest.approx(expected, abs=0.01)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["$x$", r"$\mathbb{E}[x|z]$"] * 2
    assert axes.get_yticks().tolist() == [place(r, 0, r // 2)[1] for r in range(4)]


def test_interpolations_go_from_left_to_right(render):
    x = constants(3, 5)
    figure = plots.interpolations(x)
    (axes,) = figure.axes
    colour = render(figure)
    for row in range(3):
        for step in range(5):
            expected = [float(x[row, step, 0, 0, 0])] * 3
            assert colour(axes, *place(row, step)) == pytest.approx(expected, abs=0.01)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["start", "end"]
    assert axes.get_xticks().tolist() == [place(0, 0)[0], place(0, 4)[0]]


def test_a_single_step_has_no_start_and_end():
    assert not len(plots.interpolations(constants(3, 1)).axes[0].get_xticks())


@pytest.mark.parametrize("event", EVENTS)
def test_all_draw_all_events_into_a_subfigure(event, render):
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    parts = figure.subfigures(1, 3)
    x = torch.rand(6, *event)
    assert plots.samples(x, figure=parts[0]) is parts[0]
    assert plots.reconstructions(x, x, figure=parts[1]) is parts[1]
    assert plots.interpolations(x.reshape(2, 3, *event), figure=parts[2]) is parts[2]
    assert [len(part.axes) for part in parts] == [1, 1, 1]
    render(figure)


def test_all_take_the_value_range():
    x = torch.full((2, 1, 4, 4), 127.5)
    for figure in (
        plots.samples(x, value_range=(0, 255)),
        plots.reconstructions(x, x, value_range=(0, 255)),
        plots.interpolations(x[None], value_range=(0, 255)),
    ):
        assert figure.axes[0].images[0].get_array()[0, 0].tolist() == [0.5, 0.5, 0.5, 1.0]


def test_inputs_and_reconstructions_share_their_limits():
    figure = plots.reconstructions(torch.zeros(1, 2), torch.full((1, 2), 3.0))
    (above, below) = figure.axes[0].collections[1].get_segments()
    frames = [path.get_extents() for path in figure.axes[0].collections[0].get_paths()]
    # y goes downwards: 0 lies at the lower edge of the upper frame, 3 at the upper of the lower.
    assert frames[0].y1 - above[0, 1] == pytest.approx(below[0, 1] - frames[1].y0)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="x and x_mean must have the same shape"):
        plots.reconstructions(torch.zeros(3, 1, 4, 4), torch.zeros(2, 1, 4, 4))


@pytest.mark.parametrize(
    ("draw", "shape", "expected"),
    [
        (plots.samples, (3, 2, 8, 8), r"\(n, 1, H, W\)"),
        (plots.samples, (3,), r"\(n, D\)"),
        (plots.interpolations, (3, 1, 2, 8, 8), r"\(rows, steps, 1, H, W\)"),
    ],
)
def test_shapes_that_cannot_be_drawn(draw, shape, expected):
    with pytest.raises(ValueError, match=expected):
        draw(torch.zeros(shape))
