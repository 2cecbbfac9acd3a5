import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from pvae.plots.imputation import _MISSING, imputations


def constants(n, value):
    """Grey tiles of 14 × 14, the k-th lighter by k / 100."""
    return (value + torch.arange(n) / 100).reshape(n, 1, 1, 1).expand(n, 1, 14, 14)


def place(row, column, band=0):
    """Left of the middle of a tile of 14 × 14 pixels with gaps of 1, as (x, y)."""
    return 15 * column + 3, 15 * row + 3 * band + 7


def test_rows_from_the_original_to_the_draws(render):
    n, mask = 3, torch.arange(14) >= 7
    rows = [constants(n, value) for value in (0.1, 0.3, 0.5, 0.7, 0.9)]
    x = torch.where(mask, rows[1], torch.nan)
    figure = imputations(x, mask, rows[2], torch.stack(rows[3:]), original=rows[0])
    (axes,) = figure.axes
    colour = render(figure)
    for row, tiles in enumerate(rows):
        for k in range(n):
            grey = [float(tiles[k, 0, 0, 0])] * 3
            left, y = place(row, k)
            assert colour(axes, left + 7, y) == pytest.approx(grey, abs=0.01)
            missing = list(to_rgb(_MISSING))
            expected = missing if row == 1 else grey
            assert colour(axes, left, y) == pytest.approx(expected, abs=0.01)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["$x$", "$x_o$", r"$\mathbb{E}[x|x_o]$", "draw", "draw"]
    assert axes.get_yticks().tolist() == [place(r, 0)[1] for r in range(5)]


def test_what_is_not_given_has_no_row():
    x = constants(2, 0.5)
    for draws in (None, torch.empty(0, *x.shape)):
        figure = imputations(x, torch.ones(1), x, draws)
        assert len(figure.axes[0].get_yticks()) == 2


def test_many_are_in_bands(render):
    x = constants(15, 0.2)
    figure = imputations(x, torch.arange(14) >= 7, x + 0.3)
    (axes,) = figure.axes
    colour = render(figure)
    for k in range(15):
        band, column = divmod(k, 8)
        expected = [0.5 + k / 100] * 3
        assert colour(axes, *place(2 * band + 1, column, band)) == pytest.approx(expected, abs=0.01)
        missing = colour(axes, *place(2 * band, column, band))
        assert missing == pytest.approx(to_rgb(_MISSING), abs=0.01)
    assert len(axes.get_yticks()) == 4


def test_missing_has_its_colour_whatever_the_range(render):
    x = torch.full((1, 3, 14, 14), 200.0)
    mask = torch.ones(3, 14, 14)
    mask[0, :, :7] = 0  # a pixel that lacks one channel is missing
    figure = imputations(x, mask, x, value_range=(100, 300))
    colour = render(figure)
    left, y = place(0, 0)
    assert colour(figure.axes[0], left, y) == pytest.approx(to_rgb(_MISSING), abs=0.01)
    assert colour(figure.axes[0], left + 7, y) == pytest.approx([0.5] * 3, abs=0.01)


def test_line_plots_are_covered_where_missing(render):
    x = torch.tensor([[1.0, torch.nan, 3.0, 4.0], [torch.nan] * 4])
    mask = x.isfinite()
    figure = imputations(x, mask, torch.full((2, 4), 2.0))
    (axes,) = figure.axes
    colour = render(figure)
    # A tile is 60 wide and 40 high, an element 15 wide; there is a gap of 3.
    for k, row in enumerate(mask.tolist()):
        for j, observed in enumerate(row):
            found = colour(axes, 63 * k + 15 * j + 3, 1.5)
            assert (found == pytest.approx(to_rgb(_MISSING), abs=0.01)) is not observed
    lines = next(c for c in axes.collections if hasattr(c, "get_segments")).get_segments()
    heights = (40 - lines[0][:, 1] - 3.2) / 33.6  # from the least value, 1, to the greatest, 4
    np.testing.assert_allclose(heights, [0, 1 / 3, 2 / 3, 1], atol=1e-9)


def test_sequences_are_covered_at_steps_without_any_value(render):
    x = torch.rand(1, 4, 2)
    mask = torch.tensor([[[1, 1], [0, 1], [0, 0], [0, 0]]])
    figure = imputations(torch.where(mask == 1, x, torch.nan), mask, x)
    (axes,) = figure.axes
    colour = render(figure)
    for step, covered in enumerate([False, False, True, True]):
        found = colour(axes, 15 * step + 3, 1.5)
        assert (found == pytest.approx(to_rgb(_MISSING), abs=0.01)) is covered
    lines = [c.get_segments() for c in axes.collections if hasattr(c, "get_segments")]
    assert [len(line[0]) for line in lines] == [1, 2]  # points that are drawn


@pytest.mark.parametrize("event", [(1, 8, 8), (3, 8, 16), (5,), (100,), (6, 3)])
def test_all_events_into_a_subfigure(event, render):
    figure = Figure(layout="constrained")
    left, _ = figure.subfigures(1, 2)
    x = torch.rand(4, *event)
    found = imputations(x, torch.rand(4, *event) < 0.5, x, torch.rand(2, 4, *event), figure=left)
    assert found is left
    render(figure)


def test_errors():
    x, mask = torch.rand(3, 1, 4, 4), torch.ones(4, 4)
    for arguments, options, sentence in (
        ((x, mask / 2, x), {}, "mask has values other than 0 and 1"),
        ((x, mask[:3], x), {}, r"mask has shape \(3, 4\): it must broadcast .* \(3, 1, 4, 4\)"),
        ((x, mask, x[:2]), {}, r"the shape of x, \(3, 1, 4, 4\), but that of .* is \(2, 1, 4, 4\)"),
        ((x, mask, x, x[None, :2]), {}, r"that of draw is \(2, 1, 4, 4\)"),
        ((x, mask, x), {"original": x[:2]}, r"that of \$x\$ is"),
        ((x * torch.nan, mask, x), {}, "x holds NaN"),
        ((x, mask, x * torch.nan), {}, "imputed holds NaN"),
        ((x[None], mask, x[None]), {}, r"x must have shape \(n, 1, H, W\)"),
        ((x, mask, x), {"value_range": (1, 0)}, "value_range must be two finite, increasing"),
        ((x, mask, x), {"value_range": (0, 1, 2)}, "value_range must be two finite, increasing"),
    ):
        with pytest.raises(ValueError, match=sentence):
            imputations(*arguments, **options)
