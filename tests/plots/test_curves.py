import numpy as np
import pytest

from pvae import plots
from pvae.plots.style import BLUE, ORANGE
from pvae.training import History


def history(n, first=None):
    """A run of n epochs whose validation loss is least at two thirds of them."""
    epoch = np.arange(1, n + 1)
    train = 90 + 40 / epoch
    kl = 25 - 10 / epoch
    validation = 95 + 40 / epoch + (epoch - 2 * n / 3) ** 2 / n**2 * 20
    if first is not None:
        train[0] = first
    columns = {"epoch": epoch, "loss": train * 2}
    for split, loss in (("train", train), ("validation", validation)):
        columns[f"{split}/neg_elbo"] = loss
        columns[f"{split}/kl"] = kl
        columns[f"{split}/log_likelihood"] = kl - loss
    return {name: list(column) for name, column in columns.items()}


def curve(axes, colour):
    (line,) = [line for line in axes.lines if line.get_color() == colour]
    return line.get_xydata()


def texts(figure):
    return [text.get_text() for text in figure.legends[0].texts]


def notes(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_three_panels_of_two_curves():
    h = history(12)
    figure = plots.loss_curves(h)
    for axes, name, sign in zip(
        figure.axes, ("neg_elbo", "log_likelihood", "kl"), (1, -1, 1), strict=True
    ):
        for split, colour in (("train", ORANGE), ("validation", BLUE)):
            expected = np.column_stack([h["epoch"], sign * np.array(h[f"{split}/{name}"])])
            np.testing.assert_array_equal(curve(axes, colour), expected)
    assert texts(figure)[:2] == ["train", "validation"]


def ringed(axes):
    return [line.get_xydata()[0].tolist() for line in axes.lines if line.get_markersize() == 7]


def test_best_epoch_is_marked_in_all_panels():
    h = history(12)
    best = int(np.argmin(h["validation/neg_elbo"]))
    figure = plots.loss_curves(h)
    lowest = f"{h['validation/neg_elbo'][best]:,.2f}"
    assert texts(figure)[2] == f"lowest validation −ELBO: {lowest} at epoch {best + 1}"
    for axes in figure.axes:
        assert ringed(axes) == curve(axes, BLUE)[[best]].tolist()


@pytest.mark.parametrize(
    ("monitor", "keep", "kept", "said"),
    [
        ("objective", "best", 5, "lowest validation objective, −7.25 nats"),
        ("neg_elbo", "best", 10, "lowest validation −ELBO, 99.56 nats"),
        ("log_likelihood", "best", 10, "highest validation log-likelihood, −75.56 nats"),
        ("objective", "last", 12, "the last"),
    ],
)
def test_the_epoch_that_training_kept_is_marked_and_why(monitor, keep, kept, said):
    columns = history(12)
    columns["validation/objective"] = [abs(epoch - 5) - 7.25 for epoch in columns["epoch"]]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    figure = plots.loss_curves(History(rows, monitor=f"validation/{monitor}", keep=keep))
    assert texts(figure)[2] == f"kept: epoch {kept}, {said}"
    for axes in figure.axes:
        assert ringed(axes) == curve(axes, BLUE)[[kept - 1]].tolist()


def test_without_validation_the_last_epoch_is_marked_as_kept():
    rows = [{"epoch": epoch, "train/kl": 3.0 + epoch} for epoch in (1, 2, 3)]
    figure = plots.loss_curves(History(rows))
    assert texts(figure) == ["train", "kept: epoch 3, the last"]
    assert ringed(figure.axes[0]) == [[3.0, 6.0]]


@pytest.mark.parametrize(
    ("n", "scale"), [(1, "linear"), (50, "linear"), (51, "log"), (3000, "log")]
)
def test_any_number_of_epochs(n, scale, render):
    figure = plots.loss_curves(history(n))
    render(figure)
    assert {axes.get_xscale() for axes in figure.axes} == {scale}
    for axes in figure.axes:
        labels = [label.get_text() for label in axes.get_xticklabels()]
        assert all(float(label.replace(",", "")).is_integer() for label in labels)


def test_one_epoch_has_one_tick():
    assert plots.loss_curves(history(1)).axes[0].get_xticks().tolist() == [1]


def test_a_late_resumption_is_not_logarithmic():
    h = history(80)
    h["epoch"] = [epoch + 1000 for epoch in h["epoch"]]
    assert plots.loss_curves(h).axes[0].get_xscale() == "linear"


def test_an_epoch_before_training(render):
    h = history(200)
    h["epoch"] = [epoch - 1 for epoch in h["epoch"]]
    figure = plots.loss_curves(h)
    render(figure)
    axes = figure.axes[0]
    assert axes.get_xlim()[0] <= 0
    assert np.isfinite(axes.transData.transform((0, 100))).all()


@pytest.mark.parametrize("n", [10, 40, 3000])
def test_a_beginning_that_dwarfs_the_rest_leaves_the_picture_and_is_noted(n):
    figure = plots.loss_curves(history(n, first=5432.1))
    top = figure.axes[0].get_ylim()[1]
    assert top < 300
    assert top > np.max(history(n)["train/neg_elbo"][n // 2 :])
    assert notes(figure)[0] == "off scale: 5,432.10 at epoch 1"


def test_what_falls_off_below_is_noted():
    h = {"epoch": range(1, 21), "train/kl": [-900.0] + [10 + i / 10 for i in range(19)]}
    figure = plots.loss_curves(h)
    assert notes(figure) == ["off scale: −900.00 at epoch 1"]
    assert figure.axes[0].get_ylim()[0] > 0


@pytest.mark.parametrize("n", [1, 2, 5, 100])
def test_all_is_shown_where_nothing_dwarfs(n):
    h = {"epoch": range(1, n + 1), "train/kl": np.linspace(3, 1, n)}
    figure = plots.loss_curves(h)
    assert not notes(figure)
    low, high = figure.axes[0].get_ylim()
    assert low < min(h["train/kl"]) <= max(h["train/kl"]) < high


@pytest.mark.parametrize("n", [2, 3])
def test_few_epochs_are_never_off_scale(n):
    """What remains would be no curve."""
    values = [0.04, 0.053, 0.054][:n]
    other = [0.04, 0.055, 0.055][:n]
    h = {"epoch": range(1, n + 1), "train/kl": values, "validation/kl": other}
    figure = plots.loss_curves(h)
    assert not notes(figure)
    assert figure.axes[0].get_ylim()[0] < 0.04


def test_late_values_never_leave_the_picture():
    values = [10.0] * 90 + [1000.0] + [10.0] * 9
    figure = plots.loss_curves({"epoch": range(1, 101), "train/neg_elbo": values})
    assert figure.axes[0].get_ylim()[1] > 1000


def test_missing_values_are_left_out():
    h = history(12)
    h["validation/neg_elbo"] = [
        v if i % 5 == 4 else None for i, v in enumerate(h["validation/neg_elbo"])
    ]
    h["validation/kl"][3] = float("nan")
    h["train/kl"][0] = float("inf")
    figure = plots.loss_curves(h)
    assert curve(figure.axes[0], BLUE)[:, 0].tolist() == [5, 10]
    assert curve(figure.axes[2], BLUE)[:, 0].tolist() == [1, 2, 3, *range(5, 13)]
    assert curve(figure.axes[2], ORANGE)[:, 0].tolist() == list(range(2, 13))


def test_only_what_there_is():
    h = history(12)
    figure = plots.loss_curves(
        {"epoch": h["epoch"], "train/kl": h["train/kl"], "validation/kl": [None] * 12}
    )
    assert len(figure.axes) == 1
    assert texts(figure) == ["train"]


def test_negative_losses(render):
    figure = plots.loss_curves({"epoch": [1, 2, 3], "validation/neg_elbo": [-1.0, -3.0, -2.0]})
    render(figure)
    assert texts(figure)[-1] == "lowest validation −ELBO: −3.00 at epoch 2"


def test_panels_are_stacked_where_there_is_no_room_for_a_row(render):
    from matplotlib.figure import Figure

    narrow = Figure(figsize=(4, 6), layout="constrained")
    assert plots.loss_curves(history(12), figure=narrow) is narrow
    render(narrow)
    assert len({round(axes.get_window_extent().x1) for axes in narrow.axes}) == 1
    box = narrow.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= narrow.bbox.width


@pytest.mark.parametrize(
    ("columns", "error", "match"),
    [
        ({"train/kl": [1.0]}, ValueError, "history must have a column epoch"),
        ({"epoch": [1]}, ValueError, "history holds nothing to plot"),
        ({"epoch": [1], "train/kl": [None]}, ValueError, "history holds nothing to plot"),
        ({"epoch": [], "train/kl": []}, ValueError, "increasing numbers, at least one"),
        ({"epoch": [1, 1], "train/kl": [1, 2]}, ValueError, "increasing numbers"),
        ({"epoch": [1, None], "train/kl": [1, 2]}, ValueError, "increasing numbers"),
        ({"epoch": [1, 2], "train/kl": [1]}, ValueError, "as long as epoch, 2"),
        ({"epoch": [1], "train/kl": ["low"]}, TypeError, "train/kl of history must be a sequence"),
        ({"epoch": [1], "train/kl": 5.0}, TypeError, "train/kl of history must be a sequence"),
    ],
)
def test_errors(columns, error, match):
    with pytest.raises(error, match=match):
        plots.loss_curves(columns)
