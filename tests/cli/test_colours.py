"""Which items pictures of latents show, and in which colours."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import pvae
from pvae import plots
from pvae.cli import film, gallery
from pvae.cli.colours import coloured
from pvae.data import Part
from pvae.training import Run

NETWORK = partial(pvae.networks.MLP, hidden=[16])
CLASSIFIER = {"conditional": True, "classes": 10, "classifier": pvae.classifiers.Softmax}


@pytest.fixture(scope="module")
def few():
    """Data of which a few of train and all of test have labels."""
    return pvae.data.load("digits", labelled=50, binarization="threshold")


def without(data, names):
    """The data without the labels of some parts."""
    parts = {
        name: Part(part.x, torch.full_like(part.y, -1) if name in names else part.y)
        for name, part in data.parts.items()
    }
    return replace(data, **parts)


def build(**parts):
    torch.manual_seed(0)
    return pvae.build((1, 8, 8), 2, network=NETWORK, **parts).eval()


def test_items_of_known_classes_are_shown_in_their_colours(few):
    found = coloured(build(**CLASSIFIER), few, 100)
    assert found.parts == [few.test]
    assert torch.equal(found.labels, few.test.y[:100])
    assert (found.classes, found.title) == (few.classes, "coloured by true class")


@pytest.mark.parametrize("labelled", [True, False])
def test_unknown_classes_are_inferred(few, labelled):
    data = without(few, ["test"] if labelled else ["train", "validation", "test"])
    vae = build(**CLASSIFIER)
    found = coloured(vae, data, 400)
    assert found.parts == [data.test, data.validation, data.train]
    x = torch.cat([data.batch(vae, name) for name in ("test", "validation", "train")])
    assert torch.equal(found.labels, vae.classify(x[:400]).probs.argmax(-1))
    # Clusters have no names.
    assert found.classes == (data.classes if labelled else None)
    assert found.title == "coloured by inferred class"
    assert torch.equal(coloured(vae, data, 7).labels, found.labels[:7])


def test_without_a_classifier_nothing_is_inferred(few):
    found = coloured(build(), without(few, ["test"]), 100)
    assert (found.labels, found.classes, found.title) == (None, None, "")
    data = pvae.data.load("digits")
    found = coloured(build(), data, 400)
    assert found.parts == [data.test, data.validation, data.train]
    assert torch.equal(found.labels, torch.cat([data.test.y, data.validation.y, data.train.y[:40]]))
    assert found.title == ""


def test_pictures_of_few_labels_have_colours_and_say_which(few, tmp_path, monkeypatch):
    vae = build(**CLASSIFIER)
    pvae.fit(vae, few, epochs=1, run=tmp_path / "run", progress=False, compile=False)
    run, shown = Run(tmp_path / "run"), {}
    monkeypatch.setattr(plots, "save", lambda figure, path: shown.update({path.stem: figure}))
    monkeypatch.setattr(plots, "animate", lambda _, titles, *__, **___: shown.update(film=titles))
    monkeypatch.setattr(film, "TILES", 4)
    monkeypatch.setattr(gallery, "TILES", 4)
    gallery.plot(run, vae, few)
    film.plot(run, vae, few)
    for name in ("latents", "plane", "epochs"):
        assert shown[name].get_suptitle() == "coloured by true class"
        points = shown[name].axes[0].collections[0]
        assert len(points.get_offsets()) == len(few.test)
        assert len(np.unique(points.get_facecolors(), axis=0)) == 10
    assert all(title.endswith(", coloured by true class") for title in shown["film"])
