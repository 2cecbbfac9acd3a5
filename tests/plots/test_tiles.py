import numpy as np
import pytest

from pvae.plots.style import canvas
from pvae.plots.tiles import Grid, plot_tiles


def drawn(tiles, grid, value_range=None, size=(6, 6), **options):
    axes = canvas(None, *size).subplots()
    plot_tiles(axes, tiles, grid, value_range, **options)
    return axes


def test_grid():
    grid = Grid.of(4, 3, (1, 28, 14), band=2)
    assert grid.gap == 1
    assert grid.lefts.tolist() == [0, 15, 30]
    assert grid.tops.tolist() == [0, 29, 61, 90]
    assert (grid.height, grid.width) == (118, 44)


@pytest.mark.parametrize("event", [(1, 8, 8), (3, 28, 280), (1, 64, 4)])
def test_grid_is_drawn_to_scale_within_bounds(event):
    grid = Grid.of(3, 5, event)
    width, height = grid.inches(most=6, tile=1)
    assert width / height == pytest.approx(grid.width / grid.height)
    assert max(width, height) <= 6 + 1e-9
    scale = width / grid.width
    assert event[1] * event[2] * scale**2 <= 1 + 1e-9


def test_pixels_are_those_of_the_tiles():
    tiles = np.random.default_rng(0).random((3, 3, 6, 4))
    grid = Grid.of(2, 2, (3, 6, 4))
    pixels = drawn(tiles, grid).images[0].get_array()
    assert pixels.shape == (13, 9, 4)
    corners = [(0, 0), (0, 5), (7, 0)]
    for tile, (top, left) in zip(tiles, corners, strict=True):
        cell = pixels[top : top + 6, left : left + 4]
        np.testing.assert_allclose(cell[..., :3], tile.transpose(1, 2, 0), rtol=1e-6)
        assert (cell[..., 3] == 1).all()
    assert (pixels[..., 3] == 0).sum() == 13 * 9 - 3 * 6 * 4


def test_grey_images_are_grey():
    tiles = np.random.default_rng(0).random((1, 1, 6, 4))
    pixels = drawn(tiles, Grid.of(1, 1, (1, 6, 4))).images[0].get_array()
    assert (pixels[..., 0] == pixels[..., 1]).all()
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_value_range():
    tiles = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]).reshape(5, 1, 1, 1)
    grid = Grid.of(1, 5, (1, 1, 1), gap=0)
    for value_range, expected in {None: [0, 0, 0, 1, 1], (-1, 1): [0, 0, 0.5, 1, 1]}.items():
        assert drawn(tiles, grid, value_range).images[0].get_array()[0, :, 0].tolist() == expected


@pytest.mark.parametrize("value_range", [(1, 0), (0, 0), (0, np.nan), (-np.inf, 0)])
def test_value_range_that_is_none(value_range):
    with pytest.raises(ValueError, match="value_range must be two finite, increasing numbers"):
        drawn(np.zeros((1, 1, 2, 2)), Grid.of(1, 1, (1, 2, 2)), value_range)


def test_extent_puts_the_first_row_on_top(render):
    tiles = np.array([0.2, 0.4, 0.6, 0.8]).reshape(4, 1, 1, 1) * np.ones((1, 1, 3, 3))
    axes = drawn(tiles, Grid.of(2, 2, (1, 3, 3), gap=0), extent=(-1, 1, -5, 5))
    colour = render(axes.figure)
    places = {(-0.5, 2.5): 0.2, (0.5, 2.5): 0.4, (-0.5, -2.5): 0.6, (0.5, -2.5): 0.8}
    for place, value in places.items():
        assert colour(axes, *place) == pytest.approx([value] * 3, abs=0.01)


@pytest.mark.parametrize("extent", [None, (0, 1, 0, 1)])
@pytest.mark.parametrize("event", [(1, 8, 8), (3, 6, 60), (1, 60, 6)])
def test_pixels_are_square(event, extent, render):
    grid = Grid.of(2, 2, event)
    axes = drawn(np.zeros((4, *event)), grid, extent=extent)
    render(axes.figure)
    box = axes.get_window_extent()
    assert box.width / box.height == pytest.approx(grid.width / grid.height, rel=1e-3)


def test_pixels_are_dropped_only_smoothly():
    for size, interpolation in {8: "nearest", 2000: "antialiased"}.items():
        axes = drawn(np.zeros((1, 1, size, size)), Grid.of(1, 1, (1, size, size)))
        assert axes.images[0].get_interpolation() == interpolation


@pytest.mark.parametrize("extent", [None, (0, 1, 0, 1)])
def test_line_plots(extent, render):
    tiles = np.array([[0.0, 1.0, 2.0], [3.0, 3.0, 3.0], [4.0, 1.0, 0.0]])
    axes = drawn(tiles, Grid.of(2, 2, (3,)), extent=extent)
    render(axes.figure)
    frames, lines = axes.collections
    to_display = axes.transData.transform
    boxes = [to_display(path.vertices[:4]) for path in frames.get_paths()]
    for k, (box, segment) in enumerate(zip(boxes, lines.get_segments(), strict=True)):
        (left, bottom), (right, top) = box.min(0), box.max(0)
        x, y = to_display(segment).T
        assert (np.diff(x) > 0).all()
        assert left < x.min() < x.max() < right
        assert bottom < y.min() <= y.max() < top
        # The range of all tiles, 0 to 4, spans the same height in each.
        height = (y - bottom) / (top - bottom)
        np.testing.assert_allclose(height, 0.08 + 0.84 * tiles[k] / 4)
    # The second lies right of the first, the third below it.
    assert boxes[1].min(0)[0] > boxes[0].max(0)[0]
    assert boxes[2].max(0)[1] < boxes[0].min(0)[1]


def test_sequences_have_a_line_for_each_value_and_none_where_they_are_padded(render):
    tiles = np.arange(24.0).reshape(2, 4, 3)
    tiles[1, 2:] = np.nan
    axes = drawn(tiles, Grid.of(1, 2, (4, 3)))
    render(axes.figure)
    _, *lines = axes.collections
    assert len({tuple(line.get_colors()[0]) for line in lines}) == len(lines) == 3
    low, high = 0, 17  # of what is not padded
    for value, line in enumerate(lines):
        first, second = line.get_segments()
        assert (len(first), np.isfinite(second[:, 1]).sum()) == (4, 2)
        heights = (0.92 - first[:, 1] / 40) / 0.84
        np.testing.assert_allclose(heights, (tiles[0, :, value] - low) / (high - low), atol=1e-9)


@pytest.mark.parametrize("dim", [1, 2, 500])
def test_constant_vectors_of_any_length(dim, render):
    render(drawn(np.full((2, dim), 7.0), Grid.of(1, 2, (dim,))).figure)


def test_short_vectors_have_dots():
    assert len(drawn(np.ones((2, 4)), Grid.of(1, 2, (4,))).lines[0].get_xdata()) == 8
    assert not drawn(np.ones((2, 400)), Grid.of(1, 2, (400,))).lines
