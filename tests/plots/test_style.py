import gc
import io
import weakref

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from pvae import plots
from pvae.plots.style import inches, style

MEAN = np.random.default_rng(0).normal(size=(30, 2))


def test_style_ends_with_its_block():
    before = matplotlib.rcParams["font.size"]

    @style()
    def fail():
        assert matplotlib.rcParams["font.size"] == 9
        raise RuntimeError("cannot draw")

    with pytest.raises(RuntimeError, match="cannot draw"):
        fail()
    assert matplotlib.rcParams["font.size"] == before


def test_pictures_do_not_depend_on_the_users_style():
    def picture():
        return plots.latent_scatter(MEAN, np.arange(30) % 3)._repr_png_()[0]

    plain = picture()
    loud = {
        "axes.facecolor": "black",
        "figure.facecolor": "red",
        "font.size": 20,
        "xtick.direction": "in",
        "xtick.labelsize": 30,
        "axes.unicode_minus": False,
        "lines.linewidth": 9,
        "savefig.facecolor": "green",
    }
    figure = plots.latent_scatter(MEAN, np.arange(30) % 3)
    with matplotlib.rc_context(loud):
        assert picture() == plain
        assert figure._repr_png_()[0] == plain


def test_a_figure_shows_itself():
    figure = plots.samples(np.zeros((4, 1, 8, 8)))
    data, size = figure._repr_png_()
    width, height = (100 * figure.get_size_inches()).round()
    assert size == {"width": width, "height": height}
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == pytest.approx((2 * width, 2 * height), abs=1)


def test_nothing_holds_on_to_a_figure():
    figure = plots.samples(np.zeros((4, 1, 8, 8)))
    figure._repr_png_()
    reference = weakref.ref(figure)
    del figure
    gc.collect()
    assert reference() is None


def test_pyplot_does_not_count_figures():
    import matplotlib.pyplot as plt

    figures = [plots.samples(np.zeros((1, 1, 2, 2))) for _ in range(30)]
    assert len(figures) == 30
    assert not plt.get_fignums()


def test_a_plain_figure_can_be_drawn_into(render):
    figure = Figure(figsize=(6, 5))
    assert plots.latent_scatter(MEAN, np.arange(30) % 3, figure=figure) is figure
    render(figure)
    assert figure.legends


def test_inches():
    figure = Figure(figsize=(8, 4), dpi=72)
    assert inches(figure) == pytest.approx((8, 4))
    assert inches(figure.subfigures(1, 2)[0]) == pytest.approx((4, 4))
