"""Every estimator on a GPU, against what it gives on the CPU."""

import copy
from functools import partial

import pytest
import torch

import pvae
from pvae.evaluation import (
    ais,
    denoise,
    inference_gap,
    kl_decomposition,
    log_likelihood,
    monte_carlo,
    pareto_smoothed,
    scoring,
)
from tests.evidence_cases import Discrete, LinearGaussian

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
QUIET = {"progress": False}
# Each with the difference that its draws may make on the two devices.
ESTIMATORS = {
    "log_likelihood": (partial(log_likelihood, num_samples=20_000), 0.02),
    "monte_carlo": (partial(monte_carlo, num_samples=100_000), 0.3),
    "pareto_smoothed": (partial(pareto_smoothed, num_samples=20_000), 0.02),
    "ais": (partial(ais, num_steps=100), 0.3),
    "inference_gap": (partial(inference_gap, num_samples=2000, steps=50), 0.2),
    "kl_decomposition": (kl_decomposition, 1e-6),
    "denoise": (partial(denoise, num_samples=20_000), 0.1),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_as_on_the_cpu(name):
    estimator, tolerance = ESTIMATORS[name]
    case = LinearGaussian(noise=1.0, scale=1.1)
    x = case.sample(20)
    there = copy.deepcopy(case.vae).cuda()
    here, found = estimator(case.vae, x, **QUIET), estimator(there, x.cuda(), **QUIET)
    assert found[0].is_cuda
    torch.testing.assert_close(found[0].cpu(), here[0], atol=tolerance, rtol=0)


def test_discrete_latents():
    case = Discrete()
    x = case.sample(20)
    found = log_likelihood(case.vae.cuda(), x, num_samples=4000, **QUIET)
    error = found.standard_error.cpu().clamp_min(1e-3)
    case.vae.cpu()
    assert ((found.log_prob.cpu() - case.log_evidence(x)) / error).abs().max() < 5


def test_compiled(monkeypatch):
    network = partial(pvae.networks.MLP, hidden=[32], activation="tanh")
    vae = pvae.build((1, 28, 28), 5, network=network).cuda()
    x = vae.sample(5, seed=0, draw=True)
    eager = log_likelihood(vae, x, num_samples=500, **QUIET)
    monkeypatch.setattr(scoring, "REPAID", 0)
    compiled = log_likelihood(vae, x, num_samples=500, **QUIET)
    torch.testing.assert_close(compiled.log_prob, eager.log_prob, rtol=1e-4, atol=1e-3)
