import math

import numpy as np
import pytest
import torch
from scipy.stats import genpareto

from pvae.evaluation import log_likelihood, pareto_smoothed
from pvae.evaluation.pareto_smoothing import smooth
from tests.evidence_cases import LinearGaussian


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9, 1.3])
def test_the_shape_of_a_known_tail(k):
    weights = genpareto.rvs(k, size=40_000, random_state=np.random.default_rng(0))
    log_w = torch.as_tensor(weights).log()
    smoothed, found = smooth(log_w)
    assert found == pytest.approx(k, abs=0.15)
    order = np.argsort(weights)
    assert bool((smoothed[order].diff() >= 0).all())  # ranks stay, and so do all but the largest
    assert (smoothed != log_w).sum() <= 3 * math.sqrt(40_000)


@pytest.mark.parametrize("count", [25, 100, 1000, 5000])
@pytest.mark.parametrize("deviation", [0.01, 1.0, 5.0])
def test_it_is_that_of_arviz(count, deviation):
    stats = pytest.importorskip("arviz_stats.base").array_stats
    log_w = deviation * torch.randn(count, dtype=torch.float64) + 3
    smoothed, k = smooth(log_w)
    expected, expected_k = stats.psislw(-log_w.numpy())  # which are given as log-likelihoods
    assert k == pytest.approx(float(expected_k), rel=1e-9)
    torch.testing.assert_close(smoothed.log_softmax(0), torch.as_tensor(expected).log_softmax(0))


def test_a_good_proposal_and_a_bad_one():
    for case, reliable in (
        (LinearGaussian(), True),
        (LinearGaussian(scale=1.3), True),
        (LinearGaussian(latent_dim=6, observed=12, noise=0.2, scale=0.1), False),
    ):
        x = case.sample(40)
        found = pareto_smoothed(case.vae, x, num_samples=1000, progress=False)
        assert found.unreliable_share == (0 if reliable else 1)
        if reliable:
            torch.testing.assert_close(found.log_prob, case.evidence.log_prob(x), atol=0.05, rtol=0)
    assert pareto_smoothed(LinearGaussian().vae, x[:, :5], progress=False).pareto_k.max() < 0


def test_equal_weights_have_no_tail():
    log_w = torch.zeros(100, dtype=torch.float64)
    smoothed, k = smooth(log_w)
    assert k == -math.inf
    assert torch.equal(smoothed, log_w)
    log_w[0] = -5.0
    assert smooth(log_w)[1] == -math.inf
    log_w[:95] = -5.0
    assert smooth(log_w)[1] == math.inf


def test_an_exact_posterior_has_no_tail_in_single_precision():
    case = LinearGaussian()
    x, vae = case.sample(40).float(), case.vae.float()
    found = pareto_smoothed(vae, x, progress=False)
    assert (found.pareto_k == -math.inf).all()
    found = log_likelihood(vae, x, progress=False)
    assert found.unreliable_share == 0
    torch.testing.assert_close(found.log_prob, case.evidence.log_prob(x.double()).float())


def test_few_samples_are_refused(vae, x):
    with pytest.raises(ValueError, match=r"num_samples is 24: the tail .* in 25 or more"):
        pareto_smoothed(vae, x, num_samples=24)
