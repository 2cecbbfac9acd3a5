import numpy as np
import pytest

from pvae.plots.cell_curves import learning_curves
from pvae.plots.cells import wrapped
from pvae.plots.studies import differences, forest

NAMES = ["StandardNormal", "VampPrior(components=500)", "Flow"]
MEAN, LOW, HIGH = [90.0, 89.0, 88.0], [89.5, 88.5, 87.5], [90.5, 89.5, 88.5]
NAN = float("nan")


def lines(axes, n):
    """The data of lines of n points."""
    return [line.get_xydata().tolist() for line in axes.lines if len(line.get_xdata()) == n]


def labels(axes):
    return [text.get_text() for text in axes.get_yticklabels()]


def key(figure):
    return [text.get_text() for text in figure.legends[0].texts]


def test_forest_shows_means_intervals_and_seeds(render):
    seeds = [[89.9, 90.1], [89.0, 89.0], [87.9, 88.1]]
    figure = forest(NAMES, MEAN, LOW, HIGH, by_seed=seeds, label="test −ELBO (nats)")
    render(figure)
    axes = figure.axes[0]
    assert lines(axes, 3) == [[[m, row] for row, m in enumerate(MEAN)]]
    two = lines(axes, 2)
    assert [[x for x, _ in line] for line in two[:3]] == seeds
    assert two[3:] == [[[a, i], [b, i]] for i, (a, b) in enumerate(zip(LOW, HIGH, strict=True))]
    assert labels(axes) == NAMES
    assert axes.get_xlabel() == "test −ELBO (nats)"
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first cell at the top
    assert key(figure) == ["mean over seeds", "95 % interval", "a seed"]


def test_of_one_seed_no_interval_is_drawn(render):
    figure = forest(["a", "b"], [1, 2], [NAN] * 2, [NAN] * 2, by_seed=[[1], [2]])
    render(figure)
    assert lines(figure.axes[0], 2) == [[[1, 0], [2, 1]]]  # the means
    assert key(figure) == ["mean over seeds", "a seed"]


def test_a_cell_without_a_value_says_so(render):
    figure = forest(NAMES, [90, NAN, np.inf], LOW, HIGH)
    render(figure)
    assert [text.get_text() for text in figure.axes[0].texts] == [" no value", " no value"]
    render(forest(["a"], [NAN], [NAN], [NAN]))


def test_a_long_interval_ends_in_an_arrow():
    axes = forest(NAMES, MEAN, [89.5, -1000, 87.5], [90.5, 1000, 88.5]).axes[0]
    low, high = axes.get_xlim()
    assert low > 70
    assert high < 110
    arrows = [line for line in axes.lines if line.get_marker() in (4, 5)]
    assert [(a.get_marker(), a.get_ydata()[0]) for a in arrows] == [(4, 1), (5, 1)]


def test_differences_show_verdicts_by_colour_and_marker(render):
    verdicts = ["better", "worse", "undecided", "one seed", "equal", "no common seed"]
    mean = [-1.0, 1.0, 0.1, 2.0, 0.0, NAN]
    low, high = [-1.5, 0.5, -0.4, NAN, 0.0, NAN], [-0.5, 1.5, 0.6, NAN, 0.0, NAN]
    figure = differences([*"abcdef"], mean, low, high, verdicts, label="difference (nats)")
    render(figure)
    axes = figure.axes[0]
    points = [line for line in axes.lines if len(line.get_xdata()) == 1]
    assert [float(point.get_xdata()[0]) for point in points[:5]] == mean[:5]
    assert len({point.get_marker() for point in points}) == 6
    colours = [point.get_color() for point in points]
    assert colours[0] != colours[1] != colours[2] == colours[3]
    assert lines(axes, 2)[0] == [[0, 0], [0, 1]]  # the zero line
    assert len(lines(axes, 2)) == 5
    assert key(figure) == verdicts
    assert axes.get_xlim()[0] < 0 < axes.get_xlim()[1]


def test_the_doubt_of_the_estimator_is_a_band():
    figure = differences(
        ["a", "b", "c"], [1, 2, 3], [0, 1, 2], [2, 3, 4], ["undecided"] * 3, doubt=[0.5, NAN, 0]
    )
    known, unknown = figure.axes[0].collections
    assert known.get_paths()[0].get_extents().intervalx.tolist() == [-0.5, 0.5]
    assert known.get_paths()[0].get_extents().intervaly.tolist() == [-0.4, 0.4]
    assert unknown.get_hatch()
    assert unknown.get_paths()[0].get_extents().intervalx.tolist() == [*figure.axes[0].get_xlim()]
    assert key(figure) == ["undecided", "doubt of the estimator", "doubt unknown"]


def test_an_unknown_verdict_is_refused():
    with pytest.raises(ValueError, match=r"no verdict 'good': choose from better, worse"):
        differences(["a"], [1], [0], [2], ["good"])


def test_learning_curves_have_a_line_a_seed_in_the_colour_of_its_cell(render):
    curves = [
        [([1, 2, 3], [5.0, 4.0, 3.0]), ([1, 2], [5.0, 4.5])],
        [([1, 2, 3], [5.0, None, 2.0])],
        [],
    ]
    figure = learning_curves(NAMES, curves, label="validation −ELBO (nats)")
    render(figure)
    axes = figure.axes[0]
    drawn = [line for line in axes.lines if line.get_transform() == axes.transData]
    assert [line.get_xydata().tolist() for line in drawn] == [
        [[1, 5], [2, 4], [3, 3]],
        [[1, 5], [2, 4.5]],
        [[1, 5], [3, 2]],
    ]
    first, second, third = (line.get_color() for line in drawn)
    assert first == second != third
    # Named beside their ends, the lowest first.
    assert [text.get_text() for text in axes.texts] == [NAMES[1], NAMES[0]]
    assert axes.get_ylabel() == "validation −ELBO (nats)"


def test_first_epochs_that_dwarf_all_others_are_off_scale():
    values = [1e6, *np.linspace(100, 90, 19)]
    axes = learning_curves(["a"], [[(range(1, 21), values)]]).axes[0]
    assert axes.get_ylim()[1] < 200
    assert axes.texts[0].get_text() == "off scale: up to 1e+06"
    axes = learning_curves(["a"], [[(range(1, 21), -np.array(values))]]).axes[0]
    assert axes.texts[0].get_text() == "off scale: down to −1e+06"


def test_names_beside_curves_do_not_overlap():
    n = 60
    curves = [[([1, 2, 3], [5.0, 4.0, 3.0 + i / 1000])] for i in range(n)]
    figure = learning_curves([f"cell {i}" for i in range(n)], curves)
    axes = figure.axes[0]
    heights = [text.get_position()[1] for text in axes.texts]
    gaps = np.diff(heights) * (figure.get_size_inches()[1] - 1)
    assert len(heights) == n
    assert gaps.min() > 0.12  # inches
    assert heights[0] >= 0
    assert heights[-1] <= 1.001


@pytest.mark.parametrize("n", [1, 2, 60])
def test_rows_have_room_whatever_their_number(n, render):
    values = np.arange(n) / 10
    names = [f"latent_dim={i}, " + "Flow" * 30 for i in range(n)]
    for figure in (
        forest(names, values, values - 1, values + 1, title="title " * 40),
        differences(names, values, values - 1, values + 1, ["worse"] * n),
    ):
        render(figure)
        axes = figure.axes[0]
        box = axes.get_window_extent()
        assert box.height / figure.dpi / n > 0.15
        assert box.width / figure.dpi > 3
        for text in axes.get_yticklabels():
            assert text.get_window_extent().x0 >= -1
            assert len(text.get_text()) <= 65


def test_names_that_are_equal_when_shortened_are_numbered():
    names = ["a" * 50 + middle + "b" * 50 for middle in "xy"] + ["c"]
    one, two, three = labels(forest(names, MEAN, LOW, HIGH).axes[0])
    assert one.endswith("b (1)")
    assert two.endswith("b (2)")
    assert three == "c"


def test_names_are_no_mathematics(render):
    render(forest([r"$x_$", "a$"], [1, 2], [0, 1], [2, 3]))
    render(learning_curves(["$x_$"], [[([1], [3.0])]]))


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        (
            "mnist, 1,000 of 10,000 items (1, 28, 28): binary values, dynamic binarization",
            "mnist, 1,000 of 10,000 items (1, 28, 28):\nbinary values, dynamic binarization",
        ),
        (
            "the samples of a normal prior and those of a mixture of hundred of them, side by side",
            "the samples of a normal prior and those of\n"
            "a mixture of hundred of them, side by side",
        ),
        ("one: two", "one: two"),
        (f"{60 * 'a'} {60 * 'b'}", f"{60 * 'a'}\n{60 * 'b'}"),
        ("", ""),
    ],
)
def test_titles_break_where_one_reads_on(title, expected):
    """Not before their last word, which would stand alone."""
    assert wrapped(title, 5) == expected


def test_too_many_cells_are_refused():
    with pytest.raises(ValueError, match="There are 61 cells: a picture shows 1 to 60"):
        forest(["a"] * 61, [1] * 61, [0] * 61, [2] * 61)
    with pytest.raises(ValueError, match="There are 0 cells"):
        forest([], [], [], [])


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="low has 2 elements: 3 are expected"):
        forest(NAMES, MEAN, LOW[:2], HIGH)
    with pytest.raises(TypeError, match="mean must hold numbers"):
        forest(["a"], ["x"], [1], [2])
    with pytest.raises(TypeError, match="give a list of the names"):
        forest("a", [1], [1], [2])
    with pytest.raises(ValueError, match="no curve has a finite value"):
        learning_curves(["a"], [[([1, 2], [None, NAN])]])


def test_into_a_subfigure(render):
    from matplotlib.figure import Figure

    parts = Figure(figsize=(20, 4), layout="constrained").subfigures(1, 3)
    assert forest(NAMES, MEAN, LOW, HIGH, figure=parts[0]) is parts[0]
    assert differences(NAMES, MEAN, LOW, HIGH, ["better"] * 3, figure=parts[1]) is parts[1]
    curves = [[([1, 2], [2.0, 1.0])]] * 3
    assert learning_curves(NAMES, curves, figure=parts[2]) is parts[2]
    render(parts[0])
