import os

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from pvae import plots


@pytest.fixture
def figure():
    return plots.samples(np.random.default_rng(0).random((4, 1, 8, 8)))


@pytest.mark.parametrize(
    ("suffix", "magic"),
    [("png", b"\x89PNG"), ("PNG", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")],
)
def test_format_is_that_of_the_suffix(figure, suffix, magic, tmp_path):
    path = tmp_path / "new" / "folder" / f"picture.{suffix}"
    plots.save(figure, str(path))
    assert path.read_bytes().startswith(magic)
    assert os.listdir(path.parent) == [path.name]


def test_pixels(figure, tmp_path):
    plots.save(figure, tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as image:
        assert image.size == tuple((150 * figure.get_size_inches()).astype(int))


def test_of_a_subfigure_the_whole_figure_is_saved(tmp_path):
    whole = Figure(figsize=(4, 2))
    part, _ = whole.subfigures(1, 2)
    plots.save(part, tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as image:
        assert image.size == (600, 300)


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_equal_figures_give_equal_files(suffix, tmp_path):
    files = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}.{suffix}"
        labels = np.arange(30) % 3
        plots.save(plots.latent_scatter(np.random.default_rng(0).random((30, 2)), labels), path)
        files.append(path.read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize("name", ["picture.jpg", "picture", "png"])
def test_unknown_suffix(figure, name, tmp_path):
    with pytest.raises(ValueError, match=r"saved as \.png, \.pdf or \.svg"):
        plots.save(figure, tmp_path / "new" / name)
    assert not os.listdir(tmp_path)


def test_users_style_is_not_the_files(figure, tmp_path):
    plots.save(figure, tmp_path / "a.png")
    with matplotlib.rc_context({"savefig.facecolor": "black", "savefig.dpi": 10}):
        plots.save(figure, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
