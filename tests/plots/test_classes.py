from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from pvae.plots.classes import Classes
from pvae.plots.style import PALETTE, canvas, style


def test_without_labels_all_points_look_alike():
    members = Classes(3, None, None)
    assert len(set(members.of_points)) == 1
    figure = canvas(None, 4, 4)
    members.add_key(figure, [figure.subplots()])
    assert not figure.legends


def test_labels_name_themselves():
    members = Classes(4, torch.tensor([7, -1, 7, 3]), None)
    assert members.names == ["-1", "3", "7"]
    assert members.of_points.tolist() == [PALETTE[2], PALETTE[0], PALETTE[2], PALETTE[1]]


def test_a_named_class_keeps_its_colour_when_others_are_absent():
    members = Classes(1, np.array([2]), ["cat", "dog", "bird"])
    assert members.of_points.tolist() == [PALETTE[2]]
    assert members.names == ["cat", "dog", "bird"]


def test_boolean_labels():
    assert Classes(2, np.array([True, False]), ["no", "yes"]).index.tolist() == [1, 0]


@pytest.mark.parametrize("k", [1, 10, 11, 100, 1000])
def test_every_class_has_a_colour_that_is_seen_on_white(k):
    colours = Classes(k, np.arange(k), None).colours
    assert len(colours) == k
    if k <= 100:
        assert len(set(colours)) == k
    luminance = np.array([to_rgb(c) for c in colours]) @ [0.2126, 0.7152, 0.0722]
    assert luminance.max() < 0.85


@style()
def test_legend():
    figure = canvas(None, 4, 4)
    Classes(3, np.arange(3), ["cat", "dog", "bird"]).add_key(figure, [figure.subplots()])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == ["cat", "dog", "bird"]
    assert [handle.get_color() for handle in legend.legend_handles] == list(PALETTE[:3])


@pytest.mark.parametrize("width", [1.4, 2.1, 5.5])
@pytest.mark.parametrize("names", ["0123456789", ["Ankle boot"] * 10, ["a", "bb"]])
@style()
def test_legend_fits(width, names, render):
    figure = canvas(None, width, 4)
    Classes(2, np.arange(2), names).add_key(figure, [figure.subplots()])
    render(figure)
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width


@pytest.mark.parametrize(("k", "width"), [(26, 5.5), (26, 2.1), (200, 5.5)])
@style()
def test_more_classes_than_colours_get_a_bar_with_legible_names(k, width, render):
    figure = canvas(None, width, 4)
    axes = figure.subplots()
    names = [f"class {i}" for i in range(k)]
    Classes(2, np.arange(2), names).add_key(figure, [axes])
    render(figure)
    assert not figure.legends
    bar = figure.axes[1]
    for tick, label in zip(bar.get_xticks(), bar.get_xticklabels(), strict=True):
        assert label.get_text() == names[int(tick)]
    boxes = [label.get_window_extent() for label in bar.get_xticklabels()]
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes))


def test_names_without_labels():
    with pytest.raises(ValueError, match="pass labels too"):
        Classes(3, None, ["cat"])


def test_labels_must_be_integers():
    with pytest.raises(TypeError, match="labels must be integers"):
        Classes(2, torch.tensor([0.0, 1.0]), None)


def test_one_label_for_each_point():
    with pytest.raises(ValueError, match=r"labels must have shape \(3,\)"):
        Classes(3, np.arange(2), None)


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_without_a_name(label):
    with pytest.raises(ValueError, match="labels must lie between 0 and 1"):
        Classes(2, np.array([0, label]), ["cat", "dog"])
