import pytest
import torch

import pvae
from pvae.evaluation.inference_gap import inference_gap
from tests.evidence_cases import Discrete, LinearGaussian

QUIET = {"progress": False}
DIAGONAL = pvae.posteriors.DiagonalNormal


def test_an_exact_posterior_has_no_gap():
    case = LinearGaussian()
    x = case.sample(40)
    found = inference_gap(case.vae, x, **QUIET)
    torch.testing.assert_close(found.elbo, case.evidence.log_prob(x))
    for part in found[:3]:
        assert part.abs().max() < 0.03
    assert (found.pareto_k < 0.7).all()
    assert found.standard_error.max() < 0.01


def test_what_the_network_loses_is_amortization():
    case = LinearGaussian(scale=1.5, shift=0.2)
    x = case.sample(60)
    found = inference_gap(case.vae, x, **QUIET)
    torch.testing.assert_close(found.log_prob, case.evidence.log_prob(x), atol=0.02, rtol=0)
    assert found.approximation.mean() < 0.015
    exact = case.gap(x)
    assert exact.mean() > 1
    error = found.amortization - exact
    assert error.mean().abs() < 0.015 + 4 * error.std() / len(x) ** 0.5
    assert error.abs().max() < 0.3


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_what_the_family_lacks_is_approximation(shift):
    case = LinearGaussian(observed=2, noise=1.0, family=DIAGONAL, shift=shift)
    x = case.sample(100)
    best = LinearGaussian(observed=2, noise=1.0, family=DIAGONAL).gap(x)
    assert best.min() > 0.14
    found = inference_gap(case.vae, x, **QUIET)
    assert (found.approximation - best).mean().abs() < 0.02
    assert (found.amortization - (case.gap(x) - best)).mean().abs() < 0.02
    torch.testing.assert_close(found.log_prob, case.evidence.log_prob(x), atol=0.15, rtol=0)


def test_the_parts_sum_and_the_first_is_positive():
    case = LinearGaussian(scale=0.5)
    found = inference_gap(case.vae, case.sample(20), num_samples=50, steps=5, memory=0.05, **QUIET)
    torch.testing.assert_close(found.gap, found.approximation + found.amortization)
    torch.testing.assert_close(found.gap, found.log_prob - found.elbo)
    torch.testing.assert_close(found.approximation, found.log_prob - found.refined_elbo)
    assert (found.approximation >= 0).all()
    assert all(part.shape == (20,) for part in found)


def test_a_point_mass_has_no_gap_to_split():
    vae = pvae.build((6,), 2, posterior=pvae.posteriors.Delta)
    with pytest.raises(ValueError, match="Delta is a point mass"):
        inference_gap(vae, torch.ones(3, 6), **QUIET)
    toy = Discrete()
    with pytest.raises(ValueError, match="no reparameterized draws"):
        inference_gap(toy.vae, toy.sample(3), **QUIET)
    with pytest.raises(ValueError, match="num_samples is 0"):
        inference_gap(vae, torch.ones(3, 6), num_samples=0, **QUIET)
