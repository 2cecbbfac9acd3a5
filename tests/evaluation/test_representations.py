import itertools

import numpy as np
import pytest
import torch

import pvae
from pvae.evaluation.representations import (
    clustering,
    knn_accuracy,
    linear_probe_accuracy,
    representation,
)
from tests.evidence_cases import LinearGaussian


def blobs(n, seed=0, distance=10.0):
    """Points around three corners of a triangle, and which of them."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    return torch.randn(n, 3, generator=g) + distance * torch.eye(3)[y], y


def test_separate_clusters_are_recognized():
    train, test = blobs(90), blobs(60, seed=1)
    assert knn_accuracy(*train, *test) == 1
    assert linear_probe_accuracy(*train, *test) == 1
    assert clustering(*test) == (1, 1, 1)
    # The names of the labels, and the kind of the arrays, change nothing.
    names = np.array(["cat", "ant", "bee"])
    assert knn_accuracy(train[0].numpy(), names[train[1]], test[0], names[test[1]]) == 1
    assert clustering(test[0].to(torch.bfloat16), names[test[1]]) == (1, 1, 1)


def test_noise_is_at_chance():
    (z, y), (other, _) = blobs(3_000, distance=0), blobs(3_000, seed=1, distance=0)
    for accuracy in (knn_accuracy(z, y, other, y), linear_probe_accuracy(z, y, other, y)):
        assert accuracy == pytest.approx(1 / 3, abs=4 * (2 / 9 / 3_000) ** 0.5)
    found = clustering(z, y)
    assert found.adjusted_rand_index == pytest.approx(0, abs=0.005)
    assert found.normalized_mutual_information == pytest.approx(0, abs=0.005)


def test_the_nearest_neighbours_vote():
    z, y = torch.tensor([[0.0], [1.0], [2.0], [9.0]]), torch.tensor([0, 0, 1, 1])
    test = torch.tensor([[1.6], [9.0], [5.4]])
    answers = torch.tensor([1, 1, 1])
    assert knn_accuracy(z, y, test, answers, k=1) == pytest.approx(2 / 3 + 1 / 3)
    assert knn_accuracy(z, y, test, answers, k=3) == pytest.approx(1 / 3 + 1 / 3)


def test_a_probe_is_linear_and_independent_of_units():
    g = torch.Generator().manual_seed(0)
    z = torch.randn(500, 2, generator=g)
    line, ring = (z[:, 0] > 0).long(), (z.norm(dim=1) > 1).long()
    assert linear_probe_accuracy(z, line, z, line) > 0.98
    assert linear_probe_accuracy(z, ring, z, ring) < 0.75
    units = torch.tensor([1e-3, 1e4])
    assert linear_probe_accuracy(z * units + 7, line, z * units + 7, line) == pytest.approx(
        linear_probe_accuracy(z, line, z, line)
    )


def test_clusters_are_matched_to_labels_as_well_as_possible():
    g = torch.Generator().manual_seed(0)
    found, _ = blobs(99)
    groups = found.argmax(1)
    y = torch.where(torch.rand(99, generator=g) < 0.4, torch.randint(3, (99,), generator=g), groups)
    best = max(
        (torch.tensor(order)[groups] == y).float().mean().item()
        for order in itertools.permutations(range(3))
    )
    assert clustering(found, y).accuracy == pytest.approx(best)


def test_collapsed_latents_are_a_result():
    y = torch.tensor([0, 0, 0, 1, 2])
    assert clustering(torch.zeros(5, 2), y) == (0, 0, 0.6)
    assert linear_probe_accuracy(torch.zeros(5, 2), y, torch.zeros(5, 2), y) == 0.6


def test_a_vae_is_measured_by_its_posterior_means():
    case = LinearGaussian()
    x = case.sample(300).float()
    y = (x[:, 0] > case.bias[0]).long()
    data = pvae.data.load(x, labels=y, validation=0, test=100)
    state = torch.get_rng_state()
    found = representation(case.vae, data, k=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert case.vae.training
    train, test = (case.posterior(p.x.double()).loc for p in (data.train, data.test))
    both = (train, data.train.y, test, data.test.y)
    assert found[:2] == (knn_accuracy(*both, k=3), linear_probe_accuracy(*both))
    assert found[2:] == clustering(test, data.test.y)
    assert representation(case.vae, data, "train", k=1).knn_accuracy == 1


def test_unfit_arguments():
    z, y = blobs(9)
    for wrong in (z[0], z[:0], np.array([["a"]])):
        with pytest.raises(ValueError, match=r"train_z has shape .* expected numbers of shape"):
            knn_accuracy(wrong, y, z, y)
    with pytest.raises(ValueError, match="test_z holds NaN"):
        knn_accuracy(z, y, z * torch.nan, y)
    with pytest.raises(ValueError, match=r"y has shape .* expected 9 classes"):
        clustering(z, y[:8])
    with pytest.raises(ValueError, match="dtype float64: expected 9 classes"):
        clustering(z, y.double())
    with pytest.raises(ValueError, match="k is 10 but there are 9 latents"):
        knn_accuracy(z, y, z, y, k=10)
    with pytest.raises(ValueError, match="k is 0"):
        knn_accuracy(z, y, z, y, k=0)
    with pytest.raises(ValueError, match="train_z has 3 columns and test_z 2"):
        linear_probe_accuracy(z, y, z[:, :2], y)
    with pytest.raises(ValueError, match="train_y has one class"):
        linear_probe_accuracy(z, y * 0, z, y)


def test_unfit_data():
    vae, x = LinearGaussian().vae, LinearGaussian().sample(30).float()
    with pytest.raises(ValueError, match="has no test part"):
        representation(vae, pvae.data.load(x, test=0))
    with pytest.raises(ValueError, match="part is 'all'"):
        representation(vae, pvae.data.load(x), "all")
    with pytest.raises(ValueError, match="have no labels"):
        representation(vae, pvae.data.load(x))
    with pytest.raises(ValueError, match="labels of array are continuous"):
        representation(vae, pvae.data.load(x, labels=x[:, :2]))
