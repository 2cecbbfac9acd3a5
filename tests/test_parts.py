"""What must hold of every conditional distribution, whatever its family."""

from functools import partial

import pytest
import torch
from scipy import stats
from torch.distributions import kl_divergence

from pvae.likelihoods import Bernoulli, Gaussian
from pvae.networks import MLP, Conv
from pvae.posteriors import DiagonalNormal
from pvae.priors import StandardNormal

PRIORS = [StandardNormal]
LIKELIHOODS = [
    Bernoulli,
    partial(Bernoulli, relaxed=True),
    partial(Gaussian, scale=0.5),
    partial(Gaussian, scale="learned"),
    partial(Gaussian, scale="predicted"),
]
POSTERIORS = [DiagonalNormal]
NETWORKS = [partial(MLP, hidden=[6]), partial(Conv, channels=[2], hidden=6)]
EVENT, LATENT = (2, 8, 9), 3


def conditionals(network):
    for make in LIKELIHOODS:
        yield make(LATENT, EVENT, network=network), (LATENT,), EVENT
    for make in POSTERIORS:
        yield make(EVENT, LATENT, network=network), EVENT, (LATENT,)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [(), (4,), (5, 4)])
def test_event_and_batch_shapes(network, dtype, batch):
    for part, context_shape, event_shape in conditionals(network):
        p = part.to(dtype)(torch.randn(*batch, *context_shape, dtype=dtype))
        x = p.sample()
        assert p.event_shape == event_shape
        assert p.batch_shape == batch
        assert x.shape == (*batch, *event_shape)
        assert p.log_prob(x).shape == batch
        assert p.mean.shape == x.shape
        assert p.mean.dtype == x.dtype == dtype


@pytest.mark.parametrize("network", NETWORKS)
def test_gradients_reach_every_parameter(network):
    for part, context_shape, _ in conditionals(network):
        p = part(torch.randn(200, *context_shape))
        p.log_prob(p.sample()).sum().backward()
        assert all(q.grad is not None and q.grad.abs().sum() > 0 for q in part.parameters())


@pytest.mark.parametrize("network", NETWORKS)
def test_samples_match_the_density(network):
    # E[log p(x)] = −entropy, with the entropy in closed form
    for part, context_shape, _ in conditionals(network):
        p = part(torch.randn(context_shape))
        log_prob = p.log_prob(p.sample((4000,)))
        standard_error = log_prob.std() / len(log_prob) ** 0.5
        assert abs(log_prob.mean() + p.entropy()) < 5 * standard_error + 1e-4


@pytest.mark.parametrize("make", PRIORS)
def test_prior(make):
    prior = make(LATENT)
    p = prior()
    assert p.event_shape == (LATENT,)
    assert p.batch_shape == ()
    z = p.sample((2000,))
    assert stats.kstest(z[:, 0].numpy(), "norm").pvalue > 1e-3
    assert prior.double()().sample().dtype == torch.float64
    with pytest.raises(ValueError, match="latent_dim is 0"):
        make(0)


def test_gaussian_scales():
    z = torch.randn(4, LATENT)
    fixed = Gaussian(LATENT, EVENT, scale=0.5)
    assert (fixed(z).stddev == 0.5).all()
    learned = Gaussian(LATENT, EVENT, scale="learned")
    assert learned(z).stddev.unique().numel() == 1
    assert len(list(learned.parameters())) == len(list(fixed.parameters())) + 1
    predicted = Gaussian(LATENT, EVENT, scale="predicted")(z).stddev
    assert predicted.unique().numel() == predicted.numel()


def test_bernoulli_refuses_grey_values_unless_relaxed():
    z, grey = torch.zeros(1, LATENT), torch.full((1, *EVENT), 0.3)
    with pytest.raises(ValueError, match="support"):
        Bernoulli(LATENT, EVENT)(z).log_prob(grey)
    relaxed = Bernoulli(LATENT, EVENT, relaxed=True)
    p = relaxed(z).mean
    by_hand = (grey * p.log() + (1 - grey) * (1 - p).log()).sum()
    torch.testing.assert_close(relaxed(z).log_prob(grey).sum(), by_hand)


def test_kl_of_the_default_pair():
    # Kingma and Welling 2014, appendix B
    q = DiagonalNormal(EVENT, LATENT)(torch.randn(7, *EVENT))
    mu, var = q.mean, q.variance
    by_hand = -0.5 * (1 + var.log() - mu**2 - var).sum(-1)
    torch.testing.assert_close(kl_divergence(q, StandardNormal(LATENT)()), by_hand)


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf"), True, "lerned", None])
def test_bad_scale(scale):
    with pytest.raises(ValueError, match="positive number, 'learned'"):
        Gaussian(LATENT, EVENT, scale=scale)


def test_networks_that_do_not_fit():
    with pytest.raises(ValueError, match=r"must map \(n, \*\(3,\)\) to \(n, \*\(4,\)\)"):
        Gaussian(3, (2,), network=torch.nn.Linear(3, 2), scale="predicted")
    with pytest.raises(ValueError, match=r"it returned shape \(2, 3\)"):
        DiagonalNormal((5,), 2, network=torch.nn.Linear(5, 3))
