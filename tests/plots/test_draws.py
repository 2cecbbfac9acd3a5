import numpy as np
import pytest
import torch
from matplotlib.contour import ContourSet

from pvae.plots.draws import MASSES, posterior_draws

RNG = np.random.default_rng(0)
SAMPLES, GUIDE = RNG.normal(size=(3, 50, 2)), 0.5 * RNG.normal(size=(3, 2000, 2))


def contours(axes):
    """The points of each contour, by the mass within."""
    (drawn,) = [c for c in axes.collections if isinstance(c, ContourSet)]
    paths = [path.vertices for path in drawn.get_paths()]
    return dict(zip(reversed(MASSES), paths, strict=True))


def test_every_draw_is_a_point_of_its_panel():
    figure = posterior_draws(torch.tensor(SAMPLES), torch.tensor(GUIDE))
    assert len(figure.axes) == 3
    for axes, draws in zip(figure.axes, SAMPLES, strict=True):
        points = np.asarray(axes.collections[0].get_offsets())
        np.testing.assert_allclose(np.sort(points, 0), np.sort(draws, 0))
        assert axes.get_aspect() == 1
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("$z_1$", "$z_2$")


@pytest.mark.parametrize("slope", [0.0, 0.999])
@pytest.mark.parametrize("scale", [1e-3, 100.0])
def test_contours_hold_their_mass(slope, scale):
    """Of a normal they are ellipses, of known radius where it is standardized."""
    root = scale * np.linalg.cholesky([[1, slope], [slope, 1]])
    mean = np.array([3.0, -1.0])
    guide = mean + RNG.normal(size=(1, 100_000, 2)) @ root.T
    (axes,) = posterior_draws(SAMPLES[:1], guide).axes
    for mass, points in contours(axes).items():
        radii = np.linalg.norm(np.linalg.solve(root, (points - mean).T), axis=0)
        exact = np.sqrt(-2 * np.log(1 - mass))
        assert radii.mean() == pytest.approx(exact, rel=0.04)
        assert radii.std() < 0.08 * exact


def test_a_density_of_two_modes():
    modes = np.where(RNG.random((1, 50_000, 1)) < 0.5, -3, 3) * np.array([1, 0])
    (axes,) = posterior_draws(SAMPLES[:1], modes + 0.3 * RNG.normal(size=(1, 50_000, 2))).axes
    for points in contours(axes).values():
        assert (np.abs(np.abs(points[:, 0]) - 3) < 1.5).all()
        assert {-1, 1} == set(np.sign(points[:, 0]))


def test_a_far_draw_leaves_the_contours_as_they_are():
    far = np.concatenate([GUIDE[:1], [[[300.0, 0.0]]]], 1)
    alone, beside = (contours(posterior_draws(SAMPLES[:1], g).axes[0]) for g in (GUIDE[:1], far))
    assert np.abs(beside[0.95]).max() < 30
    assert np.abs(beside[0.95][:, 1]).max() == pytest.approx(
        np.abs(alone[0.95][:, 1]).max(), rel=0.2
    )


def test_everything_is_within_the_axes():
    for axes, draws in zip(posterior_draws(SAMPLES, 3 * GUIDE).axes, SAMPLES, strict=True):
        shown = np.concatenate([draws, *contours(axes).values()])
        for limits, column in zip((axes.get_xlim(), axes.get_ylim()), (0, 1), strict=True):
            assert limits[0] < shown[:, column].min()
            assert shown[:, column].max() < limits[1]


def test_the_clouds_are_named_and_panels_titled(render):
    figure = posterior_draws(SAMPLES, GUIDE, titles=["a", "b", "c"])
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.texts]
    assert names == ["draws from $p(z|x)$", "$q(z|x)$, 50 % and 95 % of its mass"]
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c"]
    render(figure)


@pytest.mark.parametrize("n", [1, 4, 5, 9])
def test_any_number_of_data(n, render):
    samples, guide = RNG.normal(size=(n, 10, 2)), RNG.normal(size=(n, 100, 2))
    figure = posterior_draws(samples, guide)
    assert len(figure.axes) == n
    render(figure)


def test_into_a_subfigure(render):
    from matplotlib.figure import Figure

    parts = Figure(layout="constrained").subfigures(1, 2)
    assert posterior_draws(SAMPLES, GUIDE, figure=parts[1]) is parts[1]
    assert not parts[0].axes
    render(parts[0])


def test_bad_arguments():
    for wrong in (SAMPLES[0], SAMPLES[..., :1], np.zeros((2, 5, 3))):
        with pytest.raises(ValueError, match="samples must hold draws of two latents"):
            posterior_draws(wrong, GUIDE)
    with pytest.raises(ValueError, match="samples are of 3 data and guide of 2"):
        posterior_draws(SAMPLES, GUIDE[:2])
    with pytest.raises(ValueError, match="titles must have one for each of 3 data"):
        posterior_draws(SAMPLES, GUIDE, titles=["a"])
    with pytest.raises(ValueError, match="guide holds NaN"):
        posterior_draws(SAMPLES, GUIDE * np.nan)
    line = GUIDE.copy()
    line[1, :, 1] = 2 * line[1, :, 0]
    for wrong in (line, np.where(np.arange(3)[:, None, None] == 1, 0.0, GUIDE)):
        with pytest.raises(ValueError, match="guide of datum 1 lie on a line"):
            posterior_draws(SAMPLES, wrong)
