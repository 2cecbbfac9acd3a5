"""What is specific to single families."""

import math

import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.distributions import kl_divergence

from pvae.distributions import NormalMixture
from pvae.posteriors import (
    Delta,
    FullNormal,
    LowRankNormal,
    MixtureOfNormals,
    RelaxedBernoulli,
    RelaxedOneHot,
    StudentT,
)
from pvae.posteriors.temperature import Temperature
from pvae.priors import StandardNormal


def test_full_normal_is_that_of_torch():
    posterior = FullNormal((7,), 4).double()
    x = torch.randn(5, 7, dtype=torch.float64)
    loc, log_diagonal, below = posterior.raw(x)
    q = posterior(x)
    rows, columns = torch.tril_indices(4, 4, -1)
    for i in range(5):
        L = torch.zeros(4, 4, dtype=torch.float64)
        for k, (r, c) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
            L[r, c] = below[i, k]
        L = torch.diag(log_diagonal[i].exp()) @ (torch.eye(4, dtype=torch.float64) + L / 4)
        torch.testing.assert_close(q.covariance_matrix[i], L @ L.T)
        torch.testing.assert_close(q.mean[i], loc[i])


def test_low_rank_normal_is_that_of_torch():
    posterior = LowRankNormal((7,), 4, rank=3).double()
    x = torch.randn(5, 7, dtype=torch.float64)
    loc, log_scale, *columns = posterior.raw(x)
    W = torch.stack(columns, -1)
    covariance = W @ W.mT + (2 * log_scale).exp().diag_embed()
    q, normal = posterior(x), torch.distributions.MultivariateNormal(loc, covariance)
    z = q.rsample((10,))
    torch.testing.assert_close(q.covariance_matrix, covariance)
    torch.testing.assert_close(q.log_prob(z), normal.log_prob(z))


@pytest.mark.parametrize("make", [FullNormal, LowRankNormal])
def test_kl_is_that_of_two_multivariate_normals(make):
    q = make((7,), 4).double()(torch.randn(5, 7, dtype=torch.float64))
    loc, scale = torch.randn(4).double(), torch.rand(4).double() + 0.5
    independent = dist.Normal(loc, scale).to_event(1)
    same = torch.distributions.MultivariateNormal(loc, scale_tril=scale.diag())
    expected = kl_divergence(
        torch.distributions.MultivariateNormal(q.mean, q.covariance_matrix), same
    )
    torch.testing.assert_close(kl_divergence(q, independent), expected)


def test_student_t_of_infinite_variance():
    p = StandardNormal(3)()
    q = StudentT((7,), 3, degrees_of_freedom=2)(torch.randn(7))
    assert kl_divergence(q, p) == math.inf
    q = StudentT((7,), 3, degrees_of_freedom=2.1)(torch.randn(7))
    assert 0 < kl_divergence(q, p) < math.inf


def test_student_t_with_many_degrees_of_freedom_is_normal():
    posterior = StudentT((7,), 3, degrees_of_freedom=1e6).double()
    q = posterior(torch.randn(7, dtype=torch.float64))
    normal = dist.Normal(q.mean, q.base_dist.scale).to_event(1)
    p = StandardNormal(3).double()()
    torch.testing.assert_close(kl_divergence(q, p), kl_divergence(normal, p), rtol=1e-4, atol=1e-4)


def test_delta_is_an_autoencoder():
    posterior = Delta((7,), 3)
    x = torch.randn(5, 7)
    q, p = posterior(x), StandardNormal(3)()
    assert (q.rsample() == q.mean).all()
    assert (q.log_prob(q.rsample()) == 0).all()
    torch.testing.assert_close(kl_divergence(q, p), -p.log_prob(q.mean))


def exact(loc, scale, logits):
    # E[cos(a z)] of a mixture of normals in one dimension
    return (logits.softmax(-1) * (-0.5 * (1.3 * scale) ** 2).exp() * (1.3 * loc).cos()).sum()


def test_mixture_gradients_are_finite_differences_of_the_exact_expectation():
    parameters = [
        torch.tensor(values, dtype=torch.float64, requires_grad=True)
        for values in ([-1.0, 0.2, 2.0], [0.3, 0.6, 0.5], [0.1, -0.4, 0.3])
    ]
    loc, scale, logits = parameters
    q = NormalMixture(
        dist.Categorical(logits=logits),
        dist.Normal(loc.unsqueeze(-1), scale.unsqueeze(-1)).to_event(1),
    )
    values = (1.3 * q.rsample((4000, 30))).cos().mean((0, 2))
    grads = [torch.autograd.grad(v, parameters, retain_graph=True) for v in values]
    for j, slopes in enumerate(map(torch.stack, zip(*grads, strict=True))):
        for k in range(3):
            step = torch.zeros(3, dtype=torch.float64)
            step[k] = 1e-5
            ends = [
                exact(*(p + s * step if i == j else p for i, p in enumerate(parameters)))
                for s in (1, -1)
            ]
            slope = (ends[0] - ends[1]) / 2e-5
            error = slopes[:, k].std() / 30**0.5
            assert abs(slopes[:, k].mean() - slope) < 4.5 * error
            assert error < 0.05


def test_mixture_of_equal_components():
    # components in one place, where other pathwise gradients divide by zero
    loc = torch.zeros(3, 2, requires_grad=True)
    logits = torch.zeros(3, requires_grad=True)
    q = NormalMixture(dist.Categorical(logits=logits), dist.Normal(loc, 1.0).to_event(1))
    q.rsample((1000,)).sum().backward()
    torch.testing.assert_close(loc.grad, torch.full((3, 2), 1000 / 3), rtol=1e-4, atol=0)
    torch.testing.assert_close(logits.grad, torch.zeros(3), rtol=0, atol=1e-2)


def test_mixture_has_several_modes():
    posterior = MixtureOfNormals((7,), 3, components=4)
    q = posterior(torch.randn(5, 7))
    z = q.rsample((2,))
    weights, normals = q.mixture_distribution, q.component_distribution
    by_hand = (weights.logits + normals.log_prob(z.unsqueeze(-2))).logsumexp(-1)
    torch.testing.assert_close(q.log_prob(z), by_hand)


def test_temperature_falls_to_its_end():
    temperature = Temperature(2.0, final_temperature=0.5, annealing_steps=4)
    found = [float(temperature()) for _ in range(7)]
    expected = [2.0, 2 * 0.25**0.25, 1.0, 2 * 0.25**0.75, 0.5, 0.5, 0.5]
    assert found == pytest.approx(expected, rel=1e-6)
    assert temperature.passes == 7
    assert temperature.double()().dtype == torch.float64
    temperature.eval()
    assert temperature() is None
    assert temperature.passes == 8
    resumed = Temperature(2.0, final_temperature=0.5, annealing_steps=4)
    resumed.load_state_dict(temperature.state_dict())
    assert resumed.value == 0.5


def test_temperature_is_fixed_unless_annealed():
    temperature = Temperature(0.7)
    assert [round(float(temperature()), 6) for _ in range(3)] == [0.7] * 3
    assert temperature.passes == 0


@pytest.mark.parametrize("straight_through", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
def test_one_hot_is_exact_in_evaluation(groups, straight_through):
    posterior = RelaxedOneHot((7,), 6, groups=groups, straight_through=straight_through)
    x = torch.randn(5, 7)
    z = posterior(x).rsample((100,))
    assert straight_through == bool(((z - z.round()).abs() < 1e-5).all())
    q = posterior.eval()(x)
    assert not q.has_rsample
    z = q.sample((100,)).unflatten(-1, (groups, -1))
    assert ((z == 0) | (z == 1)).all()
    assert (z.sum(-1) == 1).all()
    (logits,) = posterior.raw(x)
    expected = logits.unflatten(-1, (groups, -1)).softmax(-1).flatten(-2)
    torch.testing.assert_close(q.mean, expected)


@pytest.mark.parametrize("straight_through", [True, False])
def test_bernoulli_is_exact_in_evaluation(straight_through):
    posterior = RelaxedBernoulli((7,), 6, straight_through=straight_through)
    x = torch.randn(5, 7)
    z = posterior(x).rsample((100,))
    assert straight_through == bool(((z - z.round()).abs() < 1e-5).all())
    q = posterior.eval()(x)
    assert not q.has_rsample
    z = q.sample((100,))
    assert ((z == 0) | (z == 1)).all()
    (logits,) = posterior.raw(x)
    torch.testing.assert_close(q.mean, logits.sigmoid())


def test_a_low_temperature_is_nearly_exact():
    x, network = torch.randn(5, 7), nn.Linear(7, 6)
    soft, cold = (RelaxedOneHot((7,), 6, network, temperature=t)(x) for t in (5.0, 0.01))
    assert soft.rsample((100,)).max(-1).values.mean() < 0.5
    assert cold.rsample((100,)).max(-1).values.mean() > 0.95
