"""Likelihoods of levels are masses that sum to one, whatever their parameters."""

import math
from functools import partial

import pytest
import torch
from scipy import stats

from pvae import distributions, likelihoods
from pvae.likelihoods import (
    Binomial,
    Categorical,
    DiscretizedGaussian,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
)

BYTES = {
    "Categorical": Categorical,
    "Binomial": Binomial,
    "DiscretizedLogistic": DiscretizedLogistic,
    "DiscretizedLogistic, predicted": partial(DiscretizedLogistic, scale="predicted"),
    "DiscretizedGaussian": DiscretizedGaussian,
    "DiscretizedGaussian, predicted": partial(DiscretizedGaussian, scale="predicted"),
    "DiscretizedLogisticMixture": DiscretizedLogisticMixture,
}


def all_levels(levels, like):
    return torch.arange(levels).to(like).unsqueeze(-1)


@pytest.mark.parametrize("size", [0.3, 100.0])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 2e-4), (torch.float64, 1e-11)], ids=str
)
@pytest.mark.parametrize("levels", [2, 256])
@pytest.mark.parametrize("name", BYTES)
def test_masses_sum_to_one(name, levels, dtype, tolerance, size):
    part = BYTES[name](3, (20,), levels=levels).to(dtype)
    with torch.no_grad():
        part.network.output_bias.normal_(std=size)
        p = part(torch.zeros(3, dtype=dtype)).base_dist
        found = p.mean
        x = all_levels(levels, found)
        log_prob = p.log_prob(x)
        assert log_prob.shape == (levels, 20)
        assert not log_prob.isnan().any()
        assert (log_prob.exp().sum(0) - 1).abs().max() < tolerance
        mean = (log_prob.exp() * x).sum(0)
        torch.testing.assert_close(found, mean, rtol=3e-4, atol=3e-4)
        variance = (log_prob.exp() * (x - mean) ** 2).sum(0)
        torch.testing.assert_close(p.variance, variance, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("make", "reference"),
    [
        (distributions.DiscretizedLogistic, stats.logistic),
        (distributions.DiscretizedNormal, stats.norm),
    ],
)
def test_masses_are_differences_of_the_distribution_function(make, reference):
    loc = torch.tensor([-3.0, 0.0, 7.3, 8.5, 16.0, 30.0]).double()
    scale = torch.tensor([0.2, 1.0, 5.0, 40.0]).double().unsqueeze(-1)
    x = torch.arange(17.0).double().reshape(-1, 1, 1)
    below, above = ((x + d - loc) / scale for d in (-0.5, 0.5))
    f = torch.as_tensor(reference.cdf(above)), torch.as_tensor(reference.cdf(below))
    mass = torch.where(x == 16, 1.0, f[0]) - torch.where(x == 0, 0.0, f[1])
    log_prob = make(loc, scale, levels=17).log_prob(x)
    torch.testing.assert_close(log_prob.exp(), mass, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "make", [distributions.DiscretizedLogistic, distributions.DiscretizedNormal]
)
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0, 3000.0])
def test_float32_is_as_good_in_the_tails(make, scale):
    x = torch.arange(256.0)
    results = []
    for dtype in (torch.float32, torch.float64):
        # Of each level its own, for a gradient of each; the same numbers in both types.
        loc = torch.full((256,), 100.3).to(dtype).requires_grad_()
        s = torch.full((256,), scale).to(dtype).requires_grad_()
        log_prob = make(loc, s, levels=256).log_prob(x.to(dtype))
        grads = torch.autograd.grad(log_prob.sum(), (loc, s))
        results.append([log_prob.detach().double(), torch.stack(grads, -1).double()])
    single, double = results
    torch.testing.assert_close(single[0], double[0], rtol=2e-5, atol=5e-3 if scale > 99 else 1e-4)
    torch.testing.assert_close(single[1], double[1], rtol=1e-2, atol=1e-3 / min(scale, 1))


def test_a_mixture_is_the_sum_of_its_components():
    part = DiscretizedLogisticMixture(3, (2, 3, 4), components=3, levels=17).double()
    z = torch.randn(5, 3).double()
    p = part(z)
    x = p.sample()
    raw = part.network(z).unflatten(1, (9, 2))
    loc, scale, logits = raw[:, :3], raw[:, 3:6], raw[:, 6:]
    loc = torch.cat([loc[:, :1], loc[:, :1] + loc[:, 1:]], 1)
    loc = 16 * (loc + torch.tensor([-1.0, 0.0, 1.0]).reshape(3, 1, 1, 1) / 6)
    scale = 16 * (1e-4 + torch.nn.functional.softplus(scale))
    edges = [(x.unsqueeze(1) + d - loc).div(scale).sigmoid() for d in (-0.5, 0.5)]
    low = torch.where(x.unsqueeze(1) == 0, 0.0, edges[0])
    high = torch.where(x.unsqueeze(1) == 16, 1.0, edges[1])
    by_hand = (logits.softmax(1) * (high - low)).sum(1).log().sum((1, 2, 3))
    torch.testing.assert_close(p.log_prob(x), by_hand)


def test_components_come_to_differ():
    # Two levels far apart, which one component could only blur.
    part = DiscretizedLogisticMixture(1, (1,), components=2, network=torch.nn.Linear(1, 6))
    part.initialize(torch.tensor([127.5]))
    x = torch.tensor([[30.0], [225.0]])
    optimizer = torch.optim.Adam(part.parameters(), lr=0.05)
    for _ in range(200):
        loss = -part(torch.zeros(2, 1)).log_prob(x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 3.5  # a discretized logistic has 5.9, the data themselves log 2


def test_the_binomial_is_scipys():
    part = Binomial(3, (4,), levels=17).double()
    p = part(torch.randn(3).double())
    x = torch.arange(17.0).double().unsqueeze(-1)
    by_hand = stats.binom.logpmf(x.numpy(), 16, p.base_dist.probs.detach().numpy())
    torch.testing.assert_close(p.base_dist.log_prob(x).detach(), torch.as_tensor(by_hand))


@pytest.mark.parametrize("name", BYTES)
def test_values_between_levels_and_beyond_are_refused(name):
    p = BYTES[name](3, (2,), levels=17)(torch.zeros(3))
    for bad in (-1.0, 0.5, 17.0):
        with pytest.raises(ValueError, match="support"):
            p.log_prob(torch.tensor([3.0, bad]))


def test_a_uniform_start_costs_eight_bits():
    part = Categorical(2, (3,), network=torch.nn.Linear(2, 3 * 256))
    torch.nn.init.zeros_(part.network.weight)
    torch.nn.init.zeros_(part.network.bias)
    bits = -part(torch.zeros(2)).log_prob(torch.tensor([0.0, 100.0, 255.0])) / math.log(2)
    torch.testing.assert_close(bits, torch.tensor(24.0))


def test_scales_are_in_units_of_the_range():
    part = likelihoods.DiscretizedGaussian(2, (3,), levels=101, scale=0.2)
    assert (part(torch.zeros(2)).base_dist.scale == 20).all()
