"""Objectives that change the KL term: free bits, a capacity, beta on the total correlation."""

import math
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from torch.distributions import kl_divergence

import pvae
from pvae.inference import CompiledSVI
from pvae.objectives import BetaELBO, BetaTC, CapacityELBO, FreeBits
from tests.objectives_linear import gradients

D, N = 3, 6


@pytest.fixture
def vae():
    network = partial(pvae.networks.MLP, hidden=[8], activation="tanh")
    made = pvae.build((4,), D, likelihood=pvae.likelihoods.Gaussian, network=network)
    return made.double()


@pytest.fixture
def x():
    return torch.randn(N, 4, dtype=torch.float64)


class Other:
    """A VAE with another posterior, made from the numbers of the first, or another prior."""

    def __init__(self, vae, posterior=None, prior=None):
        self.vae = vae
        self.posterior = posterior or vae.posterior
        self.prior = prior or vae.prior

    def model(self, x):
        pyro.module("decoder", self.vae.likelihood)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior())
            pyro.sample("x", self.vae.likelihood(z), obs=x)

    def guide(self, x):
        pyro.module("encoder", self.vae.posterior)
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.posterior(x))

    def zero_grad(self):
        self.vae.zero_grad()

    def named_parameters(self):
        return self.vae.named_parameters()


def full_normal(vae):
    """A posterior whose numbers depend on each other."""

    def posterior(x):
        q = vae.posterior(x)
        tril = torch.diag_embed(q.stddev) + torch.full((D, D), 0.3, dtype=x.dtype).tril(-1)
        return dist.MultivariateNormal(q.mean, scale_tril=tril)

    return Other(vae, posterior)


def heavy_tails(vae):
    """A prior to which no KL is known."""
    zeros = torch.zeros(D, dtype=torch.float64)
    return Other(vae, prior=lambda: dist.StudentT(4 + zeros, zeros, 1 + zeros).to_event(1))


def terms(vae, x):
    """Log-likelihood, and KL of each number of each datum, at the noise of `gradients`."""
    torch.manual_seed(0)
    q = vae.posterior(x)
    log_likelihood = vae.likelihood(q.rsample()).log_prob(x).sum()
    return log_likelihood, kl_divergence(q.base_dist, vae.prior().base_dist)


def check_same(one, other):
    assert one[0] == pytest.approx(other[0], rel=1e-12)
    for name, gradient in other[1].items():
        torch.testing.assert_close(one[1][name], gradient, rtol=1e-9, atol=1e-9)


# Free bits --------------------------------------------------------------------------------------


def test_no_free_bits_are_the_elbo(vae, x):
    check_same(gradients(FreeBits(0.0), vae, x), gradients(TraceMeanField_ELBO(), vae, x))
    other = full_normal(vae)
    check_same(gradients(FreeBits(0.0), other, x), gradients(TraceMeanField_ELBO(), other, x))


def test_all_bits_free(vae, x):
    for program, groups in ((vae, D), (full_normal(vae), 1), (heavy_tails(vae), D)):
        loss, found = gradients(FreeBits(50.0), program, x)
        expected_loss, expected = gradients(BetaELBO(0.0), program, x)
        check_same((loss, found), (expected_loss + N * groups * 50.0, expected))


def test_free_bits_by_hand(vae, x):
    log_likelihood, kl = terms(vae, x)
    lowest, middle, highest = kl.mean(0).sort().values.tolist()
    free = (middle + highest) / 2
    by_hand = -log_likelihood + N * (2 * free + highest)
    assert gradients(FreeBits(free), vae, x)[0] == pytest.approx(by_hand.item(), rel=1e-12)
    assert lowest < free


@pytest.mark.parametrize("make", [lambda vae: vae, full_normal], ids=["each latent", "all of z"])
def test_free_bits_are_nats_of_a_datum_before_it_is_weighted(vae, x, make):
    """A scale multiplies the whole loss; data that are masked are as if they were not there."""
    program = make(vae)
    loss, _ = gradients(FreeBits(0.3), program, x)
    scaled = pyro.poutine.scale(program.model, 0.01), pyro.poutine.scale(program.guide, 0.01)
    torch.manual_seed(0)
    assert FreeBits(0.3).loss(*scaled, x) == pytest.approx(0.01 * loss, rel=1e-9)
    keep = torch.arange(N) < 4
    masked = pyro.poutine.mask(program.model, keep), pyro.poutine.mask(program.guide, keep)
    other = torch.cat([x[:4], 9 * x[4:]])
    groups = D if program is vae else 1
    found = []
    for free, data in ((0.3, x), (0.3, other), (50.0, x), (60.0, x)):
        torch.manual_seed(0)
        found.append(FreeBits(free).loss(*masked, data))
    assert found[0] == pytest.approx(found[1], rel=1e-12)
    assert found[3] - found[2] == pytest.approx(4 * groups * 10, rel=1e-9)


def test_free_bits_of_a_pair_without_closed_form(vae, x):
    other = heavy_tails(vae)
    log_likelihood, _ = terms(vae, x)
    torch.manual_seed(0)
    q, p = vae.posterior(x), other.prior()
    z = q.rsample()
    kl = (q.base_dist.log_prob(z) - p.base_dist.log_prob(z)).mean(0)
    by_hand = -log_likelihood + N * kl.clamp(min=0.1).sum()
    assert gradients(FreeBits(0.1), other, x)[0] == pytest.approx(by_hand.item(), rel=1e-12)


def test_groups_of_several_numbers(vae, x):
    # Three relaxed categories, each of two numbers: as many groups as categories
    def relaxed(logits):
        temperature = torch.tensor(0.7, dtype=torch.float64)
        return dist.RelaxedOneHotCategorical(temperature, logits=logits).to_event(1)

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", relaxed(torch.zeros(D, 2, dtype=torch.float64)))
            pyro.sample("x", vae.likelihood(z[..., 0]), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", relaxed(torch.stack([x[:, :D], -x[:, :D]], dim=-1)))

    for make, plain in ((partial(BetaTC, 9, 1.0), Trace_ELBO), (partial(FreeBits, 99.0), None)):
        torch.manual_seed(0)
        loss = make().loss(model, guide, x)
        torch.manual_seed(0)
        reference = (plain or partial(BetaELBO, 0.0))().loss(model, guide, x)
        assert loss == pytest.approx(reference + (0 if plain else N * D * 99.0), rel=1e-12)


# Capacity ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [0.0, 1.0, 30.0])
def test_capacity_by_hand(vae, x, capacity):
    objective = CapacityELBO(capacity, gamma=7.0, warmup_steps=0)
    log_likelihood, kl = terms(vae, x)
    by_hand = -log_likelihood + 7 * (kl.sum(-1) - capacity).abs().sum()
    loss, found = gradients(objective, vae, x)
    assert loss == pytest.approx(by_hand.item(), rel=1e-12)
    vae.zero_grad()
    by_hand.backward()
    for name, p in vae.named_parameters():
        torch.testing.assert_close(found[name], p.grad, rtol=1e-9, atol=1e-9)


def test_no_capacity_is_beta(vae, x):
    objective = CapacityELBO(0.0, gamma=4.0)
    check_same(gradients(objective, vae, x), gradients(BetaELBO(4.0), vae, x))


@pytest.mark.parametrize("inference", [SVI, partial(CompiledSVI, compile=True, backend="graph")])
def test_capacity_rises(vae, x, inference):
    objective = CapacityELBO(6.0, warmup_steps=3)
    svi = inference(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-3}), loss=objective)
    found = []
    for _ in range(5):
        found.append(objective.target)
        svi.evaluate_loss(x)  # is no step
        svi.step(x)
    assert found == [0.0, 2.0, 4.0, 6.0, 6.0]
    assert objective.step == 5


# Total correlation ------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["weighted", "stratified"])
def test_beta_tc_of_one_is_the_elbo(vae, x, sampling):
    objective = BetaTC(50, 1.0, sampling)
    for program in (vae, heavy_tails(vae)):
        check_same(gradients(objective, program, x), gradients(Trace_ELBO(), program, x))


@pytest.mark.parametrize("sampling", ["weighted", "stratified"])
@pytest.mark.parametrize("total", [N, 50])
def test_total_correlation_by_hand(vae, x, sampling, total):
    torch.manual_seed(0)
    q = vae.posterior(x)
    z = q.rsample()
    expected = 0.0
    for i in range(N):
        if sampling == "weighted":
            weights = [1 / (N * total)] * N
        else:
            weights = [1 / (N - 1)] * N
            weights[i] = 1 / total
            weights[(i + 1) % N] = (total - N + 1) / (total * (N - 1))
            assert sum(weights) == pytest.approx(1)
        each = [dist.Normal(q.mean[j], q.stddev[j]).log_prob(z[i]).exp() for j in range(N)]
        joint = sum(w * e.prod() for w, e in zip(weights, each, strict=True))
        single = sum(w * e for w, e in zip(weights, each, strict=True))
        expected += joint.log() - single.log().sum()
    losses = [gradients(BetaTC(total, beta, sampling), vae, x)[0] for beta in (1.0, 3.0)]
    assert losses[1] - losses[0] == pytest.approx(2 * expected.item(), rel=1e-9)


def test_independent_latents_have_no_total_correlation(vae):
    # One x for all: q(z) is q(z|x), whose numbers are independent; N = B needs no correction.
    x = torch.zeros(40, 4, dtype=torch.float64)
    losses = [gradients(BetaTC(40, beta, "stratified"), vae, x)[0] for beta in (1.0, 9.0)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-8)


def test_beta_tc_refuses_what_it_cannot_do(vae, x):
    with pytest.raises(ValueError, match=r"independent over the latents.*MultivariateNormal"):
        gradients(BetaTC(50), full_normal(vae), x)
    with pytest.raises(ValueError, match=f"data_size is 5: .* at least the {N}"):
        gradients(BetaTC(5), vae, x)


@pytest.mark.parametrize("make", [partial(BetaTC, 9), FreeBits, CapacityELBO])
@pytest.mark.parametrize("name", ["Poisson", "VonMises"])
def test_draws_without_gradients_are_refused(vae, x, make, name):
    def posterior(x):
        q = {"Poisson": dist.Poisson, "VonMises": partial(dist.VonMises, concentration=1.0)}
        return q[name](vae.posterior(x).stddev).to_event(1)

    with pytest.raises(ValueError, match=f"from a posterior of type {name} carry no gradient"):
        gradients(make(), Other(vae, posterior), x)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: FreeBits(-0.1), "free_nats is -0.1"),
        (lambda: FreeBits(math.inf), "free_nats is inf"),
        (lambda: CapacityELBO(-1.0), "capacity is -1.0"),
        (lambda: CapacityELBO(gamma=math.nan), "gamma is nan"),
        (lambda: CapacityELBO(warmup_steps=-1), "warmup_steps is -1"),
        (lambda: BetaTC(0), "data_size is 0"),
        (lambda: BetaTC(10, -1.0), "beta is -1.0"),
        (lambda: BetaTC(10, sampling="random"), "sampling is 'random'"),
    ],
)
def test_bad_arguments(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
