from functools import partial

import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, kl_divergence

import pvae
from pvae.evaluation.refinement import Local, refine
from tests.evidence_cases import Discrete, LinearGaussian
from tests.posteriors_cases import EVOLVING, POSTERIORS, made, prior_for

QUIET = {"progress": False}
CONTINUOUS = [n for n in POSTERIORS if not n.startswith(("RelaxedOneHot", "RelaxedBernoulli"))]
SMALL = {"network": partial(pvae.networks.MLP, hidden=[8])}


def short(case, q, x):
    """By how much the ELBO of q is short of log p(x)."""
    return kl_divergence(MultivariateNormal(q.mean, q.variance.diag_embed()), case.posterior(x))


@pytest.mark.parametrize("name", POSTERIORS)
def test_local_is_the_posterior_of_what_its_network_returned(name):
    posterior = made(name, (6,), 4, **SMALL).eval()
    x = torch.randn(5, 6)
    network = posterior.network
    with torch.no_grad():
        local = Local(posterior, network(x))
        amortized = posterior(x)
        torch.manual_seed(0)
        z = amortized.sample()
        torch.manual_seed(0)
        given = x if name in EVOLVING else torch.zeros(5, 6)  # only these look at x as well
        torch.testing.assert_close(local(given).sample(), z)
    assert type(local.posterior) is type(posterior)
    assert posterior.network is network


def test_refinement_finds_the_posterior():
    case = LinearGaussian(scale=2.0, shift=0.5)
    x = case.sample(50)
    q = refine(case.vae, x, **QUIET)
    assert q.batch_shape == (50,)
    assert not q.mean.requires_grad
    gap = kl_divergence(MultivariateNormal(q.mean, q.covariance_matrix), case.posterior(x))
    assert case.gap(x).min() > 5
    assert gap.max() < 0.05
    assert gap.mean() < 0.015


def test_refinement_finds_the_best_of_the_family():
    family = pvae.posteriors.DiagonalNormal
    best = LinearGaussian(family=family)
    case = LinearGaussian(family=family, scale=0.5, shift=-0.3)
    x = case.sample(50)
    excess = short(case, refine(case.vae, x, **QUIET), x) - best.gap(x)
    assert excess.min() > -1e-9
    assert excess.mean() < 0.015


def test_the_best_is_kept():
    case = LinearGaussian(family=pvae.posteriors.DiagonalNormal)
    x = case.sample(200)
    # One step at this rate lowers the ELBO in every direction.
    q = refine(case.vae, x, steps=1, lr=1.0, **QUIET)
    torch.testing.assert_close(q.mean, case.vae.encode(x).mean.detach())


def test_nothing_of_the_vae_changes():
    prior = partial(pvae.priors.VampPrior, components=3)
    vae = pvae.build((6,), 2, prior=prior, **SMALL)
    before = {name: p.clone() for name, p in vae.state_dict().items()}
    x = torch.bernoulli(torch.full((4, 6), 0.5))
    state = torch.get_rng_state()
    q = refine(vae, x, steps=5, **QUIET)
    assert torch.equal(torch.get_rng_state(), state)
    for name, p in vae.state_dict().items():
        assert torch.equal(p, before[name])
    assert all(p.grad is None for p in vae.parameters())
    assert vae.training
    assert all(m.training for m in vae.modules())
    assert torch.equal(refine(vae, x, steps=5, **QUIET).mean, q.mean)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_every_continuous_posterior_can_be_refined(name):
    vae = pvae.build((6,), 4, prior=prior_for(name), posterior=POSTERIORS[name], **SMALL)
    x = torch.bernoulli(torch.full((7, 6), 0.5))
    q = refine(vae, x, steps=2, memory=0.05, **QUIET)
    assert q.batch_shape == (7,)
    assert q.sample().isfinite().all()


def test_labels():
    vae = pvae.build((6,), 2, conditional=["prior", "likelihood", "posterior"], classes=3, **SMALL)
    x, y = torch.ones(5, 6), torch.tensor([0, 1, 2, 0, 1])
    q = refine(vae, x, y, steps=3, memory=0.01, **QUIET)
    assert q.batch_shape == (5,)
    with pytest.raises(ValueError, match="conditional: give its labels y"):
        refine(vae, x, **QUIET)


class Fixed(nn.Module):
    """A posterior that ignores x."""

    def __init__(self, network=None):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(2))
        if network is not None:
            self.network = network

    def forward(self, x):
        return dist.Normal(self.loc.expand(len(x), 2), 1.0).to_event(1)


def test_what_cannot_be_refined_is_refused():
    toy = Discrete()
    with pytest.raises(ValueError, match="RelaxedOneHot has no reparameterized draws"):
        refine(toy.vae, toy.sample(3), **QUIET)
    parts = pvae.priors.StandardNormal(2), pvae.likelihoods.Bernoulli(2, (6,))
    with pytest.raises(ValueError, match="The posterior Fixed has no network"):
        refine(pvae.VAE(*parts, Fixed()), torch.ones(3, 6), **QUIET)
    with pytest.raises(ValueError, match="Fixed does not return numbers for each datum"):
        refine(pvae.VAE(*parts, Fixed(nn.Linear(6, 4))), torch.ones(3, 6), **QUIET)
    vae = pvae.build((6,), 2, **SMALL)
    with pytest.raises(ValueError, match="steps is 0"):
        refine(vae, torch.ones(3, 6), steps=0, **QUIET)
    with pytest.raises(ValueError, match="num_samples is 0"):
        refine(vae, torch.ones(3, 6), num_samples=0, **QUIET)
