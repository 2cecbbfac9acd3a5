import numpy as np
import pytest
import torch

from pvae.evaluation.disentanglement import DCI, dci, mig, sap

COUNTS = (2, 3, 4)
PERFECT = [  # scores of the factors themselves
    (mig, 1),
    (sap, np.mean([1 - 1 / m for m in COUNTS])),  # by chance an accuracy is 1 / m
    (lambda z, v: dci(z, v)[:2], 1),  # disentanglement and completeness
]


@pytest.fixture(scope="module")
def factors():
    """Every combination of three factors, 25 times."""
    return torch.cartesian_prod(*map(torch.arange, COUNTS)).repeat(25, 1)


@pytest.fixture(scope="module")
def codes(factors):
    """The factors, standardized."""
    v = factors.double()
    return (v - v.mean(0)) / v.std(0)


@pytest.fixture(scope="module")
def noise(factors):
    return torch.randn(len(factors), 3, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize(("metric", "perfect"), PERFECT)
def test_what_codes_score(metric, perfect, factors, codes, noise):
    def score(z):
        return np.array(metric(z, factors))

    assert score(codes) == pytest.approx(perfect)
    moved = codes[:, [2, 0, 1]] * torch.tensor([-2.0, 0.1, 30.0]) + 5
    assert score(moved) == pytest.approx(perfect)
    # A latent without information lowers no score.
    assert score(torch.cat([codes, noise[:, :1]], 1)) == pytest.approx(perfect, abs=0.06)

    mixture = torch.eye(3).double() - 2 / 3
    assert (score(codes @ mixture) < 0.35 * perfect).all()
    assert (score(noise) < 0.01).all()
    assert (score(torch.zeros_like(codes)) == 0).all()


@pytest.mark.parametrize("metric", [mig, sap])
def test_the_order_and_the_signs_of_latents_do_not_matter(metric, factors, codes, noise):
    z = codes + 0.3 * noise @ torch.ones(3, 3).double().tril()
    assert metric(-z[:, [1, 2, 0]], factors) == pytest.approx(metric(z, factors), abs=1e-12)


def test_a_factor_in_two_latents_is_not_in_one(factors, codes):
    # Both latents know all of the first two factors: neither is ahead of the other.
    twice = torch.cat([codes, codes[:, :2]], 1)
    assert mig(twice, factors) == pytest.approx(1 / 3)
    assert sap(twice, factors) == pytest.approx((1 - 1 / 4) / 3)
    # Each latent is of one factor, but two factors are in two latents each.
    found = dci(twice, factors)
    assert found.disentanglement == pytest.approx(1)
    assert found.completeness < 0.8
    # One latent for the first two factors: complete but not disentangled.
    joint = torch.stack([codes[:, 0] * 9 + codes[:, 1], codes[:, 2]], 1)
    found = dci(joint, factors)
    assert found.completeness == pytest.approx(1)
    assert found.disentanglement == pytest.approx(1 - 2 / 3 * np.log(2) / np.log(3))
    assert found.informativeness == 1


def test_mig_is_what_counting_gives(factors, codes, noise):
    z = codes + 0.5 * noise
    gaps = []
    for v in factors.T:
        informations = []
        for latent in z.T.contiguous():
            edges = torch.linspace(latent.min(), latent.max(), 6, dtype=z.dtype)
            cell = torch.bucketize(latent, edges[1:-1], right=True)
            joint = torch.zeros(5, int(v.max()) + 1, dtype=torch.float64)
            joint.index_put_((cell, v), torch.tensor(1.0).double(), accumulate=True)
            joint /= len(v)
            ratio = joint / (joint.sum(0) * joint.sum(1, keepdim=True))
            informations.append(joint.xlogy(ratio).sum())
        best, second, _ = torch.stack(informations).sort(descending=True).values
        share = v.bincount() / len(v)
        gaps.append((best - second) / -share.xlogy(share).sum())
    assert mig(z, factors, bins=5) == pytest.approx(np.mean(gaps), rel=1e-6)


def test_sap_is_balanced():
    # 90 zeros and 10 ones, of which the first latent detects 5; by chance it is half.
    v = torch.arange(100)[:, None] >= 90
    z = torch.stack([torch.arange(100) >= 95, torch.arange(100) % 10 == 0], 1).double()
    assert sap(z, v) == pytest.approx(0.75 - 0.5)


def test_dci_is_repeatable_and_named(factors, noise):
    found = dci(noise, factors, seed=3)
    assert found == dci(noise, factors, seed=3) != dci(noise, factors, seed=4)
    assert isinstance(found, DCI)
    chance = np.mean([1 / m for m in COUNTS])
    assert found.informativeness == pytest.approx(chance, abs=0.1)


@pytest.mark.parametrize("metric", [mig, sap, dci])
def test_unfit_arguments(metric, factors, codes):
    with pytest.raises(ValueError, match="z has 1 latent: to compare"):
        metric(codes[:, :1], factors)
    with pytest.raises(ValueError, match="z holds NaN"):
        metric(codes * torch.nan, factors)
    with pytest.raises(ValueError, match=r"factors has shape \(600, 3\) and dtype float64.* bins"):
        metric(codes, codes)
    for wrong in (factors[:5], factors[:, 0]):
        with pytest.raises(ValueError, match=r"expected whole numbers of shape \(600, K\)"):
            metric(codes, wrong)
    with pytest.raises(ValueError, match="Factor 1 has the same value"):
        metric(codes, factors * torch.tensor([1, 0, 1]))
