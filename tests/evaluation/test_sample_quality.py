import importlib

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

import pvae
from pvae.evaluation.sample_quality import (
    PrecisionRecall,
    classifier_features,
    frechet_distance,
    precision_recall,
    sample_quality,
)
from tests.evidence_cases import LinearGaussian

room = importlib.import_module("pvae.evaluation.sample_quality")


def normal(n, d=3, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).double()


def with_moments(mean, root, n=200):
    """Points of exactly this mean and covariance root' root."""
    x = normal(n, len(mean), seed=1)
    x = x - x.mean(0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(x.T.cov()), x.T, upper=False)
    return white.T @ root + mean


@pytest.fixture(scope="module")
def digits():
    return pvae.data.load("digits")


@pytest.fixture(scope="module")
def features(digits):
    return classifier_features(digits.train.x, digits.train.y)


def test_a_set_is_like_itself():
    x = normal(100)
    # Each point lies in its own ball, and in the k of those it is the first k neighbours of.
    assert precision_recall(x, x, k=4) == (1, 1, 5 / 4, 1)
    assert precision_recall(x, x.flip(0), k=4) == (1, 1, 5 / 4, 1)
    # Points that are there many times are balls of no radius.
    twice = x[:3].repeat(50, 1)
    assert precision_recall(twice, twice, k=5)[:2] == (1, 1)


def test_sets_far_apart_share_nothing():
    x = normal(100)
    assert precision_recall(x, x + 50) == PrecisionRecall(0, 0, 0, 0)


def test_a_missing_mode_is_detected():
    near, far = normal(100), normal(100, seed=1) + 50
    fake = normal(200, seed=2)
    both = torch.cat([near, far])
    found = precision_recall(both, fake)
    assert found.precision > 0.9
    assert 0.4 < found.recall <= 0.5
    assert 0.4 < found.coverage <= 0.5
    swapped = precision_recall(fake, both)
    assert (swapped.recall, swapped.precision) == (found.precision, found.recall)


def test_neighbours_are_those_of_the_definition(monkeypatch):
    real, fake = normal(60).float().numpy(), normal(45, seed=1).numpy() * 1.5
    k = 3
    whole = precision_recall(real, fake, k)
    monkeypatch.setattr(room, "_DISTANCES", 200)
    assert precision_recall(real, torch.from_numpy(fake), k) == whole

    def apart(a, b):
        return np.linalg.norm(a[:, None].astype(float) - b, axis=-1)

    reach_real, reach_fake = (np.sort(apart(x, x), 1)[:, k] for x in (real, fake))
    within = apart(real, fake) <= reach_real[:, None]
    assert whole.precision == pytest.approx(within.any(0).mean())
    assert whole.recall == pytest.approx((apart(real, fake) <= reach_fake).any(1).mean())
    assert whole.density == pytest.approx(within.sum() / (k * len(fake)))
    assert whole.coverage == pytest.approx(within.any(1).mean())


def test_frechet_distance_of_normals():
    one, two = torch.tensor([1.0, 2.0, 0.5]).double(), torch.tensor([0.2, 3.0, 0.0]).double()
    shift = torch.tensor([1.0, -1.0, 2.0]).double()
    a, b = with_moments(torch.zeros(3).double(), one.diag()), with_moments(shift, two.diag(), 90)
    exact = shift.square().sum() + (one - two).square().sum()
    assert frechet_distance(a, b) == pytest.approx(exact.item(), rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(exact.item(), rel=1e-9)

    roots = [normal(3, 3, seed) for seed in (2, 3)]
    a, b = (with_moments(shift, root) for root in roots)
    c, d = (root.T @ root for root in roots)
    exact = (c + d).trace().item() - 2 * np.trace(sqrtm((c @ d).numpy())).real
    assert frechet_distance(a, b) == pytest.approx(exact, rel=1e-8)
    turn = torch.linalg.qr(normal(3, 3, 4)).Q
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(exact, rel=1e-8)


@pytest.mark.parametrize("n", [4, 50])
def test_frechet_distance_of_a_set_to_itself(n):
    """Also where there are fewer points than features, or features that say the same."""
    x = normal(n, 10)
    x[:, 5:] = x[:, :5]
    assert frechet_distance(x, x.flip(0)) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(x, x + 2) == pytest.approx(40)


def test_learned_features_distinguish_digits_from_noise(digits, features):
    real, other = features(digits.test.x), features(digits.validation.x)
    assert real.shape == (180, 64)
    assert not real.requires_grad
    g = torch.Generator().manual_seed(0)
    noise = features(torch.randint(0, 17, digits.test.x.shape, generator=g))
    near, far = precision_recall(real, other), precision_recall(real, noise)
    assert min(near) > 0.85
    assert max(far) < 0.05
    assert frechet_distance(real, noise) > 10 * frechet_distance(real, other)
    blurred = torch.nn.functional.avg_pool2d(digits.validation.x.float(), 3, 1, 1)
    distances = [frechet_distance(real, x) for x in (other, features(blurred), noise)]
    assert distances == sorted(distances)


def test_learning_features_repeats_and_leaves_no_trace(digits):
    x, y = digits.train.x[:100].float(), digits.train.y[:100]
    state = torch.get_rng_state()
    with torch.no_grad():
        found = classifier_features(x, y, seed=1)(x)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(classifier_features(x, y, seed=1)(x), found)
    assert not torch.equal(classifier_features(x, y, seed=2)(x), found)


def test_samples_of_the_right_model_are_like_its_data():
    case = LinearGaussian(observed=3)
    data = pvae.data.load(case.sample(900).float(), validation=0, test=600)
    state = torch.get_rng_state()
    found = sample_quality(case.vae, data, features=lambda x: x)
    assert torch.equal(torch.get_rng_state(), state)
    assert case.vae.training
    assert found[:4] == pytest.approx((0.96, 0.96, 1, 0.96), abs=0.05)
    # Of 3 elements on a plane of 2, noise of 0.5 is all there is across: means would lack 0.5².
    assert found.frechet_distance < 0.1
    case.vae.likelihood.scale = 3.0
    wide = sample_quality(case.vae, data, features=lambda x: x)
    assert wide.frechet_distance > 2.5**2
    assert wide.precision < 0.7


def test_draws_are_as_many_at_a_time_as_memory_allows(monkeypatch, digits, vae):
    sizes = []

    def features(x):
        assert x.unique().tolist() == [0, 1]  # both are binary to a Bernoulli
        sizes.append(len(x))
        return x.flatten(1)

    found = sample_quality(vae, digits, features=features, n=150)
    assert sizes == [150, 150]
    monkeypatch.setattr(room, "MEMORY", 0.05)
    sample_quality(vae, digits, features=features, n=150)
    assert len(sizes) > 5
    assert sum(sizes) == 600
    monkeypatch.undo()
    again = sample_quality(vae, digits, features=features, n=150)
    assert again == found != sample_quality(vae, digits, features=features, n=150, seed=1)
    assert found.precision == 0


def test_a_conditional_vae_is_given_the_labels_of_the_data(digits, monkeypatch):
    vae = pvae.build((1, 8, 8), 2, conditional=True, classes=10)
    given, sample = [], vae.sample
    monkeypatch.setattr(
        vae, "sample", lambda n, y, **options: given.append(y.flatten()) or sample(n, y, **options)
    )
    sample_quality(vae, digits, "validation")
    drawn = torch.cat([y for y in given if len(y) > 1])  # a single one measures memory
    assert torch.equal(drawn.bincount(), digits.validation.y.bincount())


def test_unfit_arguments(digits, vae):
    x = normal(10)
    with pytest.raises(ValueError, match=r"real has shape \(10,\)"):
        precision_recall(x[:, 0], x)
    with pytest.raises(ValueError, match="fake holds NaN"):
        frechet_distance(x, x * torch.nan)
    with pytest.raises(ValueError, match="real has 3 columns and fake 2"):
        precision_recall(x, x[:, :2])
    with pytest.raises(ValueError, match="k is 10 with 10 real and 10 fake"):
        precision_recall(x, x, k=10)
    with pytest.raises(ValueError, match="k is 0"):
        precision_recall(x, x, k=0)
    with pytest.raises(ValueError, match="at least 2 real and 2 fake"):
        frechet_distance(x, x[:1])
    for wrong in (torch.zeros(9).long(), torch.zeros(10), torch.zeros(10, 1).long()):
        with pytest.raises(ValueError, match="expected 10 classes"):
            classifier_features(x, wrong)
    with pytest.raises(ValueError, match="n is 0"):
        sample_quality(vae, digits, n=0)
    with pytest.raises(ValueError, match="k is 5 with 3 real"):
        sample_quality(vae, digits, features=lambda x: x.flatten(1), n=3)
    with pytest.raises(ValueError, match="part is 'all'"):
        sample_quality(vae, digits, "all")
    bare = pvae.data.load(digits.train.x)
    with pytest.raises(ValueError, match="data array have no classes to train features on"):
        sample_quality(vae, bare)
