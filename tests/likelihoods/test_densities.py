"""Likelihoods of real numbers are densities that integrate to one."""

import copy
from functools import partial

import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from scipy import integrate

import pvae
from pvae import VAE
from pvae.distributions import OptimalNormal
from pvae.likelihoods import Beta, Gamma, Gaussian, StudentT
from pvae.networks import MLP
from pvae.posteriors import DiagonalNormal
from pvae.priors import StandardNormal
from tests.likelihoods_cases import LIKELIHOODS

# From all of the line to the domain, with its derivative, and where almost all mass lies.
LINE = {
    "reals": (torch.sinh, torch.cosh, 14.0),
    "positive reals": (torch.exp, torch.exp, 40.0),
    "unit interval": (torch.sigmoid, lambda t: torch.sigmoid(t) * torch.sigmoid(-t), 34.0),
}
LINE["open unit interval"] = LINE["unit interval"]
DENSITIES = [
    name
    for name, make in LIKELIHOODS.items()
    if make(1, (1,)).domain in LINE
    and name != "Bernoulli, relaxed"
    and not name.startswith("Padded")  # that of its elements
]


@pytest.mark.parametrize("name", DENSITIES)
def test_densities_integrate_to_one(name):
    part = LIKELIHOODS[name](2, (4,)).double().eval()
    transform, slope, end = LINE[part.domain]
    t = torch.linspace(-end, end, 50_001).double()
    with torch.no_grad():
        p = part(torch.randn(2).double()).base_dist
        density = p.log_prob(transform(t).unsqueeze(-1)).exp() * slope(t).unsqueeze(-1)
    total = torch.as_tensor(integrate.simpson(density.numpy(), x=t.numpy(), axis=0))
    torch.testing.assert_close(total, torch.ones(4).double(), rtol=1e-5, atol=0)


def test_gaussian_scales():
    z = torch.randn(4, 3)
    assert (Gaussian(3, (2, 5), scale=0.5)(z).stddev == 0.5).all()
    learned = Gaussian(3, (2, 5), scale="learned")
    assert learned(z).stddev.unique().numel() == 1
    element = Gaussian(3, (2, 5), scale="element")
    with torch.no_grad():
        element.log_scale.copy_(torch.randn(2, 5))
    assert torch.equal(element(z).stddev, (1e-3 + element.log_scale.exp()).expand(4, 2, 5))
    predicted = Gaussian(3, (2, 5), scale="predicted")(z).stddev
    assert predicted.unique().numel() == predicted.numel()


def test_mean_and_variance_are_those_promised():
    z = torch.randn(4, 3).double()
    gamma = Gamma(3, (2,), scale=0.4).double()
    torch.testing.assert_close(gamma(z).mean, gamma.network(z).exp())
    torch.testing.assert_close(gamma(z).stddev, 0.4 * gamma(z).mean)
    beta = Beta(3, (2,), scale=0.4).double()
    mean = beta.network(z).sigmoid()
    torch.testing.assert_close(beta(z).mean, mean, rtol=1e-5, atol=0)
    torch.testing.assert_close(
        beta(z).variance, mean * (1 - mean) / (1 + 1 / 0.4**2), rtol=1e-5, atol=0
    )
    t = StudentT(3, (2,), scale=0.4, degrees_of_freedom=3).double()
    torch.testing.assert_close(t(z).variance, torch.full((4, 2), 3 * 0.4**2).double())


# The optimal scale ------------------------------------------------------------------------------


def test_the_optimal_scale_has_its_closed_form():
    part = Gaussian(3, (2, 5), scale="optimal").double()
    z, x = torch.randn(7, 3).double(), torch.randn(7, 2, 5).double()
    loss = -part(z).log_prob(x).sum()
    mean = part.network(z)
    error = ((x - mean) ** 2).mean()
    closed = x.numel() / 2 * ((2 * torch.pi * error).log() + 1)
    torch.testing.assert_close(loss, closed)
    for ours, theirs in zip(
        torch.autograd.grad(loss, [*part.parameters()]),
        torch.autograd.grad(closed, [*part.parameters()]),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_no_other_scale_is_better():
    part = Gaussian(3, (4,), scale="optimal")
    z, x = torch.randn(7, 3), torch.randn(7, 4)
    best = part(z).log_prob(x).sum()
    for scale in torch.linspace(0.2, 3, 50):
        assert torch.distributions.Normal(part.network(z), scale).log_prob(x).sum() <= best + 1e-4


def test_the_running_scale_converges_and_is_used_in_evaluation():
    part = Gaussian(3, (400,), scale="optimal")
    z = torch.randn(20, 3)
    for _ in range(100):
        part(z).log_prob(part.network(z) + 0.7 * torch.randn(20, 400))
    part.eval()
    before = part.variance.clone()
    p = part(z)
    assert abs(p.stddev.unique().item() - 0.7) < 0.01
    x = torch.randn(20, 400)
    by_hand = torch.distributions.Normal(part.network(z), before.sqrt()).log_prob(x).sum(-1)
    torch.testing.assert_close(p.log_prob(x), by_hand)
    torch.testing.assert_close(p.log_prob(x)[3], part(z[3]).log_prob(x[3]))  # each by itself
    assert torch.equal(part.variance, before)
    other = Gaussian(3, (400,), scale="optimal")
    other.load_state_dict(part.state_dict())
    assert torch.equal(other.variance, before)


def test_an_expanded_optimal_normal_moves_the_same_variance():
    variance = torch.tensor(1.0)
    p = OptimalNormal(torch.zeros(3), variance, momentum=0.5).expand((2, 3))
    p.log_prob(torch.full((2, 3), 3.0))
    assert variance == 5.0
    assert p.expand((4, 2, 3)).momentum == 0.5


def test_a_perfect_reconstruction_stays_finite():
    part = Gaussian(3, (4,), scale="optimal")
    z = torch.randn(7, 3)
    log_prob = part(z).log_prob(part.network(z).detach())
    log_prob.sum().backward()
    assert log_prob.isfinite().all()
    assert all(q.grad.isfinite().all() for q in part.parameters())


def test_training_with_the_optimal_scale_finds_the_noise():
    torch.manual_seed(0)
    x = torch.randn(300, 1) * torch.ones(6) + 0.2 * torch.randn(300, 6)
    network = partial(MLP, hidden=[16])
    vae = VAE(
        StandardNormal(1),
        Gaussian(1, (6,), network=network, scale="optimal"),
        DiagonalNormal((6,), 1, network=network),
    )
    svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 3e-2}), Trace_ELBO())
    for _ in range(120):
        svi.step(x)
    assert abs(vae.likelihood.variance.sqrt() - 0.2) < 0.05
    held = copy.deepcopy(vae.state_dict())
    with vae.evaluating():
        figures = pvae.evaluation.elbo(vae, x)
    assert figures.elbo.isfinite().all()
    assert all(torch.equal(held[key], value) for key, value in vae.state_dict().items())
