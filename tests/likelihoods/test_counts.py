"""Likelihoods of counts."""

import math

import pytest
import torch
from scipy import stats

from pvae import distributions
from pvae.likelihoods import (
    Multinomial,
    NegativeBinomial,
    Poisson,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedPoisson,
)

COUNTS = [Poisson, NegativeBinomial, ZeroInflatedPoisson, ZeroInflatedNegativeBinomial]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.float64, 1e-8)])
@pytest.mark.parametrize("make", COUNTS)
def test_masses_sum_to_one(make, dtype, tolerance):
    part = make(2, (20,)).to(dtype)
    with torch.no_grad():
        part.network.output_bias.normal_(std=1.5)
        p = part(torch.zeros(2, dtype=dtype)).base_dist
        x = torch.arange(20_000, dtype=dtype).unsqueeze(-1)
        total = p.log_prob(x).exp().sum(0)
    assert (total - 1).abs().max() < tolerance


@pytest.mark.parametrize("make", [Poisson, NegativeBinomial])
def test_observed_means_sum_to_the_total(make):
    part = make(3, (2, 4), exposure="observed").double()
    z = torch.randn(5, 3).double()
    total = torch.tensor([0.0, 1.0, 7.0, 1e3, 1e5]).double()
    assert part.takes_total
    mean = part(z, total=total).mean
    torch.testing.assert_close(mean.sum((1, 2)), total, rtol=1e-12, atol=1e-6)
    shares = part.network(z).flatten(1).softmax(-1).reshape(5, 2, 4)
    torch.testing.assert_close(mean[1:], total[1:, None, None] * shares[1:])
    # more samples of z are one more dimension
    assert part(torch.randn(6, 5, 3).double(), total=total).batch_shape == (6, 5)


@pytest.mark.parametrize("make", [*COUNTS, Multinomial])
def test_an_empty_datum_has_a_loss_and_gradients(make):
    part = make(3, (4,), **({} if make is Multinomial else {"exposure": "observed"}))
    log_prob = part(torch.randn(5, 3), total=torch.zeros(5)).log_prob(torch.zeros(5, 4))
    log_prob.sum().backward()
    assert log_prob.abs().max() < 1e-5
    assert all(q.grad.isfinite().all() for q in part.network.parameters())


@pytest.mark.parametrize("make", [Poisson, Multinomial])
def test_without_totals_the_mean_total_stands_in(make):
    part = make(3, (4,), **({} if make is Multinomial else {"exposure": "observed"}))
    assert part(torch.randn(5, 3)).mean.sum(-1).round().eq(4).all()
    part.initialize(torch.tensor([1.0, 0.0, 20.0, 9.0]))
    torch.testing.assert_close(part(torch.randn(5, 3)).mean.sum(-1), torch.full((5,), 30.0))
    other = make(3, (4,), **({} if make is Multinomial else {"exposure": "observed"}))
    other.load_state_dict(part.state_dict())
    assert other.mean_total == 30


@pytest.mark.parametrize("make", COUNTS)
def test_an_exposure_multiplies_the_rates(make):
    one, five = make(3, (4,)), make(3, (4,), exposure=5.0)
    five.load_state_dict(one.state_dict())
    assert not one.takes_total
    z = torch.randn(6, 3)
    torch.testing.assert_close(five(z).mean, 5 * one(z).mean)


@pytest.mark.parametrize("dispersion", ["learned", "predicted"])
def test_negative_binomial_mean_variance_and_mass(dispersion):
    part = NegativeBinomial(3, (4,), dispersion=dispersion).double()
    z = torch.randn(5, 3).double()
    raw = part.network(z)
    mean = raw[:, :4].exp()
    if dispersion == "learned":
        with torch.no_grad():
            part.log_dispersion.normal_()
        alpha = 1e-3 + part.log_dispersion.exp()
    else:
        alpha = 1e-3 + torch.nn.functional.softplus(raw[:, 4:])
    p = part(z)
    torch.testing.assert_close(p.mean, mean)
    torch.testing.assert_close(p.variance, mean + alpha * mean**2)
    x = p.sample()
    n = (1 / alpha).expand_as(mean).detach().numpy()
    by_hand = stats.nbinom.logpmf(x.numpy(), n, n / (n + mean.detach().numpy())).sum(-1)
    torch.testing.assert_close(p.log_prob(x).detach(), torch.as_tensor(by_hand))


@pytest.mark.parametrize("make", [ZeroInflatedPoisson, ZeroInflatedNegativeBinomial])
def test_zero_inflation(make):
    part = make(3, (4,)).double()
    z = torch.randn(5, 3).double()
    rate, gate = part.network(z).split(4, -1)
    rate, gate = rate.exp(), gate.sigmoid()
    if make is ZeroInflatedPoisson:
        base = torch.distributions.Poisson(rate)
    else:
        alpha = 1e-3 + part.log_dispersion.exp()
        base = torch.distributions.NegativeBinomial(1 / alpha, logits=(alpha * rate).log())
    p = part(z).base_dist
    zero = torch.zeros(()).double()
    torch.testing.assert_close(
        p.log_prob(zero).exp(), gate + (1 - gate) * base.log_prob(zero).exp()
    )
    two = torch.tensor(2.0).double()
    torch.testing.assert_close(p.log_prob(two).exp(), (1 - gate) * base.log_prob(two).exp())
    torch.testing.assert_close(p.mean, (1 - gate) * rate)


def test_multinomial_is_scipys_for_each_total():
    part = Multinomial(3, (2, 3)).double()
    z = torch.randn(4, 3).double()
    x = torch.tensor(
        [
            [[1, 0, 2], [0, 0, 0]],
            [[0, 0, 0], [0, 0, 0]],
            [[9, 9, 9], [1, 1, 1]],
            [[0, 0, 0], [0, 0, 70]],
        ]
    ).double()
    probs = part.network(z).flatten(1).softmax(-1).detach()
    by_hand = [
        float(stats.multinomial.logpmf(a.numpy(), int(a.sum()), b.numpy()))
        for a, b in zip(x.flatten(1), probs, strict=True)
    ]
    log_prob = part(z, total=x.sum((1, 2))).log_prob(x).detach()
    torch.testing.assert_close(log_prob, torch.tensor(by_hand).double())
    # the total is the datum's own, whatever the distribution was given
    assert torch.equal(part(z).log_prob(x).detach(), log_prob)


def test_multinomial_masses_of_one_total_sum_to_one():
    p = distributions.Multinomial(torch.tensor(5.0), torch.randn(3).double())
    x = torch.tensor([[i, j, 5 - i - j] for i in range(6) for j in range(6 - i)]).double()
    torch.testing.assert_close(p.log_prob(x).exp().sum(), torch.tensor(1.0).double())


def test_multinomial_samples_have_their_totals_and_moments():
    p = distributions.Multinomial(torch.tensor([0.0, 3.4, 40.0]), torch.randn(3, 2, 2), event_dim=2)
    x = p.sample((5000,))
    assert torch.equal(x.sum((2, 3)), torch.tensor([0.0, 3.0, 40.0]).expand(5000, 3))
    exact = p.probs * torch.tensor([0.0, 3.0, 40.0])[:, None, None]
    variance = exact * (1 - p.probs)
    assert ((x.mean(0) - exact).abs() <= 5 * (variance / 5000).sqrt()).all()
    torch.testing.assert_close(x.var(0), variance, rtol=0.15, atol=0)
    assert (distributions.Multinomial(torch.zeros(2), torch.zeros(2, 3)).sample() == 0).all()


@pytest.mark.parametrize("make", [*COUNTS, Multinomial])
def test_values_that_are_not_counts_are_refused(make):
    for bad in (-1.0, 0.5):
        with pytest.raises(ValueError, match="support"):
            make(2, (3,))(torch.zeros(2)).log_prob(torch.tensor([1.0, 2.0, bad]))


def test_poisson_starts_at_an_exposure():
    part = Poisson(2, (3,), exposure=4.0)
    part.initialize(torch.tensor([1.0, 2.0, 8.0]))
    bias = part.network.output_bias
    torch.testing.assert_close(bias.detach(), torch.tensor([1.0, 2.0, 8.0]).log() - math.log(4))
