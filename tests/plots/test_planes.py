import numpy as np
import pytest
import torch
from scipy.stats import norm

from pvae import plots

K = 5
Z = plots.percentiles(K)
VALUES = np.linspace(0, 0.9, K * K).reshape(K, K)
IMAGES = np.broadcast_to(VALUES[..., None, None, None], (K, K, 1, 6, 6))


@pytest.mark.parametrize("k", [1, 2, 20, 1001])
def test_percentiles(k):
    z = plots.percentiles(k)
    assert z.shape == (k,)
    assert z.dtype == torch.get_default_dtype()
    np.testing.assert_allclose(norm.cdf(z.double()), (np.arange(k) + 0.5) / k, atol=1e-6)


def test_no_percentiles():
    with pytest.raises(ValueError, match="k must be at least 1"):
        plots.percentiles(0)


def at(z1, z2):
    """Where z lies on the axes."""
    return norm.cdf(z1), norm.cdf(z2)


def manifold_axes(which):
    if which == "manifold":
        return plots.manifold(IMAGES, Z).axes[0]
    return plots.latent_plane(np.zeros((3, 2)), IMAGES, Z).axes[1]


@pytest.mark.parametrize("which", ["manifold", "latent_plane"])
def test_every_tile_lies_where_it_was_decoded(which, render):
    axes = manifold_axes(which)
    colour = render(axes.figure)
    for i, z2 in enumerate(Z.tolist()):
        for j, z1 in enumerate(Z.tolist()):
            expected = [VALUES[i, j]] * 3
            assert colour(axes, *at(z1, z2)) == pytest.approx(expected, abs=0.01)


def test_z2_goes_upwards_and_images_stand_upright(render):
    image = np.zeros((1, 6, 6))
    image[0, 0] = 1  # the uppermost row of pixels is white
    images = np.broadcast_to(image, (K, K, 1, 6, 6))
    figure = plots.manifold(images, Z)
    (axes,) = figure.axes
    colour = render(figure)
    assert colour(axes, 0.5, 3 / K - 0.01).tolist() == [1, 1, 1]
    assert colour(axes, 0.5, 2 / K + 0.01).tolist() == [0, 0, 0]
    assert axes.transData.transform((0, 1))[1] > axes.transData.transform((0, 0))[1]


@pytest.mark.parametrize("which", ["manifold", "latent_plane"])
def test_ticks_say_z(which):
    axes = manifold_axes(which)
    for ticks, labels in (
        (axes.get_xticks(), axes.get_xticklabels()),
        (axes.get_yticks(), axes.get_yticklabels()),
    ):
        z = [float(label.get_text().replace("−", "-")) for label in labels]
        assert z == [-2, -1, 0, 1, 2]
        np.testing.assert_allclose(ticks, norm.cdf(z))


def test_a_point_lies_over_the_tile_decoded_there():
    mean = torch.cartesian_prod(Z, Z)
    left, right = plots.latent_plane(mean, IMAGES, Z).axes
    offsets = np.asarray(left.collections[0].get_offsets())
    centres = np.array([[(j + 0.5) / K, (i + 0.5) / K] for i in range(K) for j in range(K)])
    assert {tuple(p) for p in offsets.round(5)} == {tuple(p) for p in centres.round(5)}
    assert left.get_xlim() == right.get_xlim() == (0, 1)
    assert left.get_ylim() == right.get_ylim() == (0, 1)
    np.testing.assert_allclose(left.get_xticks(), right.get_xticks())


@pytest.mark.parametrize("event", [(1, 6, 6), (3, 4, 12), (1, 12, 4), (7,)])
def test_both_sides_have_the_same_size(event, render):
    images = np.zeros((K, K, *event))
    left, right = plots.latent_plane(np.zeros((3, 2)), images, Z, np.arange(3)).axes
    render(left.figure)
    boxes = [axes.get_window_extent() for axes in (left, right)]
    assert boxes[0].width == pytest.approx(boxes[1].width)
    assert boxes[0].height == pytest.approx(boxes[1].height)
    assert boxes[0].y0 == pytest.approx(boxes[1].y0)


def test_ellipses_are_warped_as_the_axes_are():
    mean, scale = np.array([[1.0, -2.0]]), np.array([[0.5, 0.25]])
    left = plots.latent_plane(mean, IMAGES, Z, scale=scale).axes[0]
    outline = left.collections[1].get_paths()[0].vertices
    z = norm.ppf(outline)
    np.testing.assert_allclose((((z - mean) / scale) ** 2).sum(-1), 1, atol=1e-6)


def test_points_beyond_the_percentiles_stay_within_the_axes():
    left = plots.latent_plane(np.array([[9.0, -9.0]]), IMAGES, Z).axes[0]
    assert left.collections[0].get_offsets().tolist() == [[1, pytest.approx(0, abs=1e-9)]]


def test_classes_are_named():
    figure = plots.latent_plane(
        np.zeros((2, 2)), IMAGES, Z, np.array([0, 1]), classes=["even", "odd"]
    )
    assert [text.get_text() for text in figure.legends[0].texts] == ["even", "odd"]


def test_into_subfigures(render):
    from matplotlib.figure import Figure

    parts = Figure(layout="constrained", figsize=(9, 4)).subfigures(1, 2)
    assert plots.manifold(IMAGES, Z, figure=parts[0]) is parts[0]
    assert plots.latent_plane(np.zeros((2, 2)), IMAGES, Z, figure=parts[1]) is parts[1]
    render(parts[0])


def test_coordinates_of_any_precision():
    plots.manifold(IMAGES, Z.to(torch.bfloat16))
    plots.manifold(IMAGES, Z.double().numpy())


@pytest.mark.parametrize(
    "coordinates", [torch.linspace(-2, 2, K), plots.percentiles(K + 1), -Z, torch.zeros(K, 1)]
)
def test_coordinates_must_be_the_percentiles(coordinates):
    with pytest.raises(ValueError, match=r"coordinates must be percentiles\(5\)"):
        plots.manifold(IMAGES, coordinates)


def test_images_must_be_a_square():
    with pytest.raises(ValueError, match="as many rows as columns"):
        plots.manifold(IMAGES[:3], Z)
    with pytest.raises(ValueError, match=r"images must have shape \(k, k, 1, H, W\)"):
        plots.manifold(IMAGES[:, :, None], Z)


def test_only_two_latents():
    with pytest.raises(ValueError, match="use tsne"):
        plots.latent_plane(np.zeros((3, 4)), IMAGES, Z)
