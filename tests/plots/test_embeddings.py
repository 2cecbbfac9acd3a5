import numpy as np
import pytest
import sklearn.manifold
import torch

from pvae import plots


def blobs(n, dim=8):
    labels = np.arange(n) % 3
    centres = 20 * np.eye(dim)[:3]
    return centres[labels] + np.random.default_rng(0).normal(size=(n, dim)), labels


class Recorder:
    """Stands in for scikit-learn's t-SNE, which takes its time."""

    def __init__(self, **options):
        Recorder.options = options

    def fit_transform(self, points):
        Recorder.points = points
        return points[:, :2]


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setattr(sklearn.manifold, "TSNE", Recorder)
    return Recorder


def offsets(figure):
    return np.asarray(figure.axes[0].collections[0].get_offsets())


def test_clusters_stay_together():
    mean, labels = blobs(60)
    figure = plots.tsne(mean, labels)
    points = figure.axes[0].collections[0]
    where, colours = np.asarray(points.get_offsets()), points.get_facecolors()[:, 2].round(3)
    centres = np.array([where[colours == c].mean(0) for c in np.unique(colours)])
    nearest = np.linalg.norm(where[:, None] - centres, axis=-1).argmin(1)
    assert (np.unique(colours)[nearest] == colours).all()


def test_the_same_seed_gives_the_same_picture():
    mean, labels = blobs(30)
    first, again = (plots.tsne(torch.tensor(mean), torch.tensor(labels), seed=3) for _ in range(2))
    np.testing.assert_array_equal(offsets(first), offsets(again))


@pytest.mark.parametrize("dim", [2, 3])
def test_the_fewest_points(dim, render):
    render(plots.tsne(blobs(5, dim=max(dim, 3))[0][:, :dim]))


@pytest.mark.parametrize(("n", "perplexity"), [(5, 4 / 3), (31, 10), (91, 30), (2000, 30)])
def test_perplexity(n, perplexity, recorder):
    caption = plots.tsne(blobs(n)[0]).axes[0].get_title()
    assert recorder.options["perplexity"] == pytest.approx(perplexity)
    assert caption == f"t-SNE of {n:,} means, perplexity {perplexity:.3g}"


def test_at_most_two_thousand_points(recorder):
    mean, labels = blobs(60_000, dim=4)
    figure = plots.tsne(mean, labels, ["a", "b", "c"])
    assert figure.axes[0].get_title() == "t-SNE of a random 2,000 of 60,000 means, perplexity 30"
    chosen = recorder.points
    assert len({tuple(point) for point in chosen}) == 2000
    assert {tuple(point) for point in chosen} <= {tuple(point) for point in mean}
    # Every point has still the colour of its own class.
    own = {tuple(point[:2]): label for point, label in zip(mean, labels, strict=True)}
    drawn = figure.axes[0].collections[0]
    colours = {}
    for where, colour in zip(drawn.get_offsets().tolist(), drawn.get_facecolors(), strict=True):
        colours.setdefault(own[tuple(where)], set()).add(tuple(colour))
    assert [len(colours[label]) for label in range(3)] == [1, 1, 1]

    plots.tsne(mean)
    np.testing.assert_array_equal(recorder.points, chosen)
    plots.tsne(mean, seed=1)
    assert not np.array_equal(recorder.points, chosen)


def test_axes_say_nothing(recorder):
    axes = plots.tsne(blobs(20)[0]).axes[0]
    assert not len(axes.get_xticks())
    assert not len(axes.get_yticks())


@pytest.mark.parametrize("shape", [(4, 8), (100, 1)])
def test_too_little_to_arrange(shape):
    with pytest.raises(ValueError, match="at least 5 points of at least 2 latents"):
        plots.tsne(torch.randn(shape))


def test_a_collapsed_posterior():
    with pytest.raises(ValueError, match="All points of mean are the same"):
        plots.tsne(torch.ones(50, 8))


def test_one_label_for_each_point():
    with pytest.raises(ValueError, match="labels must have shape"):
        plots.tsne(torch.randn(50, 8), torch.zeros(49, dtype=torch.int64))


def test_maps_over_training_are_aligned():
    mean, labels = blobs(60)
    start = np.random.default_rng(1).normal(size=mean.shape)
    turned = mean @ np.linalg.qr(np.random.default_rng(2).normal(size=(8, 8)))[0]
    maps = plots.tsne_maps(np.stack([start, mean, turned]))
    assert maps.shape == (3, 60, 2)
    centres = [np.array([at[labels == c].mean(0) for c in range(3)]) for at in maps[1:]]
    apart = np.linalg.norm(centres[0][0] - centres[0][1])
    assert np.linalg.norm(centres[0] - centres[1], axis=1).max() < apart / 3
    np.testing.assert_array_equal(maps, plots.tsne_maps(np.stack([start, mean, turned])))


def test_means_that_are_all_the_same_are_one_point():
    mean, _ = blobs(30)
    maps = plots.tsne_maps(np.stack([np.zeros_like(mean), mean, np.ones_like(mean)]))
    assert not maps[0].any()
    assert maps[1].std() > 0.1
    assert not maps[2].any()


def test_principal_components_of_the_last_means():
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    last = rng.normal(size=(500, 6)) * [5, 3, 0.1, 0.1, 0.1, 0.1] @ axes.T + 1
    maps = plots.pca_maps(torch.tensor(np.stack([last / 2, last])))
    assert maps[1].mean(0) == pytest.approx([0, 0], abs=1e-9)
    assert maps[1].std(0) == pytest.approx([5, 3], rel=0.1)
    # One linear map: half the means are half as far apart.
    np.testing.assert_allclose(np.diff(maps[0], axis=0), np.diff(maps[1], axis=0) / 2)
    # Their signs are chosen, not those that the decomposition happens to have.
    np.testing.assert_allclose(plots.pca_maps(np.stack([last[::-1]]))[0], maps[1][::-1], atol=1e-8)


def test_too_little_to_map():
    with pytest.raises(ValueError, match="at least 5 points of at least 2 latents, but means has"):
        plots.tsne_maps(torch.randn(3, 4, 8))
    with pytest.raises(ValueError, match="at least 2 points of at least 2 latents"):
        plots.pca_maps(torch.randn(3, 50, 1))
    for maps in (plots.tsne_maps, plots.pca_maps):
        with pytest.raises(ValueError, match=r"means must have shape \(k, n, latent_dim\)"):
            maps(torch.randn(50, 8))
