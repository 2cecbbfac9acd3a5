from functools import partial

import pytest
import torch

import pvae
from pvae.evaluation.calibration import _rank, simulation_based_calibration
from tests.evidence_cases import LinearGaussian

QUIET = {"progress": False}
SMALL = {"network": partial(pvae.networks.MLP, hidden=[8])}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("num_samples", [99, 40])
def test_an_exact_posterior_is_calibrated(seed, num_samples):
    vae = LinearGaussian(latent_dim=3).vae
    found = simulation_based_calibration(vae, num_samples=num_samples, seed=seed, **QUIET)
    assert found.ranks.shape == (1000, 3)
    assert found.ranks.min() >= 0
    assert found.ranks.max() <= num_samples
    assert found.num_samples == num_samples
    assert found.p_value.min() > 1e-3


@pytest.mark.parametrize(
    ("wrong", "middle"), [({"scale": 0.7}, 0.4), ({"scale": 1.4}, 0.6), ({"shift": 0.3}, None)]
)
def test_a_wrong_posterior_is_not_calibrated(wrong, middle):
    found = simulation_based_calibration(LinearGaussian(**wrong).vae, **QUIET)
    assert found.p_value.max() < 1e-6
    inside = ((found.ranks >= 25) & (found.ranks < 75)).double().mean(0)
    if middle is None:
        assert (found.ranks < 50).double().mean() > 0.7
    elif middle < 0.5:
        assert inside.max() < middle
    else:
        assert inside.min() > middle


def test_p_values_are_uniform_themselves():
    vae = LinearGaussian(latent_dim=1).vae
    p_values = torch.cat(
        [simulation_based_calibration(vae, n=500, seed=s, **QUIET).p_value for s in range(200)]
    )
    rank = p_values.sort().values
    assert (rank - torch.linspace(0, 1, 200)).abs().max() < 0.115  # of Kolmogorov, at 1%


def test_ties_are_broken_at_random():
    torch.manual_seed(0)
    z, draws = torch.zeros(4000, 1), torch.zeros(9, 4000, 1)
    counts = _rank(z, draws).flatten().bincount()
    assert len(counts) == 10
    assert (counts - 400).abs().max() < 80
    assert _rank(torch.ones(1, 1), torch.arange(4.0).view(4, 1, 1)).item() in (1, 2)


def test_discrete_latents_of_which_the_data_say_nothing():
    vae = pvae.build(
        (6,), 3, prior=pvae.priors.Bernoulli, posterior=pvae.posteriors.RelaxedBernoulli, **SMALL
    )
    for part in (vae.posterior, vae.likelihood):
        for p in part.parameters():
            p.data.zero_()
    assert simulation_based_calibration(vae, **QUIET).p_value.min() > 1e-3
    for p in vae.posterior.parameters():
        p.data.fill_(1)
    assert simulation_based_calibration(vae, **QUIET).p_value.max() < 1e-6


def test_repeats_whatever_the_memory_holds():
    vae = pvae.build((6,), 2, **SMALL)
    state = torch.get_rng_state()
    one = simulation_based_calibration(vae, n=50, memory=0.1, **QUIET)
    assert torch.equal(torch.get_rng_state(), state)
    assert vae.training
    assert torch.equal(simulation_based_calibration(vae, n=50, memory=0.1, **QUIET)[0], one.ranks)
    assert len(one.ranks) == 50


def test_labels():
    vae = pvae.build((6,), 2, conditional=["prior", "likelihood", "posterior"], classes=3, **SMALL)
    for y in (1, torch.arange(20) % 3):
        found = simulation_based_calibration(vae, n=20, y=y, memory=0.1, **QUIET)
        assert found.ranks.shape == (20, 2)
    with pytest.raises(ValueError, match="conditional: give its labels y"):
        simulation_based_calibration(vae, n=20, **QUIET)
    with pytest.raises(
        ValueError, match=r"y has labels of shape \(2,\): give one, or one for each"
    ):
        simulation_based_calibration(vae, n=20, y=torch.tensor([0, 1]), **QUIET)
    continuous = pvae.build((6,), 2, conditional=True, label_dim=2, **SMALL)
    assert len(simulation_based_calibration(continuous, 20, [0.5, 1.0], **QUIET).ranks) == 20


def test_what_cannot_be_tested_is_refused():
    vae = pvae.build((6,), 2, **SMALL)
    with pytest.raises(ValueError, match="n is 9"):
        simulation_based_calibration(vae, n=9, **QUIET)
    with pytest.raises(ValueError, match="num_samples is 0"):
        simulation_based_calibration(vae, num_samples=0, **QUIET)
    relaxed = pvae.build((6,), 2, likelihood=partial(pvae.likelihoods.Bernoulli, relaxed=True))
    with pytest.raises(ValueError, match="reconstruction loss and no density"):
        simulation_based_calibration(relaxed, **QUIET)
