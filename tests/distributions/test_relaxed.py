"""One-hot and Bernoulli variables, exact and relaxed."""

import itertools

import pytest
import torch
from torch.distributions import kl_divergence

from pvae.distributions import RelaxedBernoulli, RelaxedOneHot

GROUPS, K, D = 2, 3, 4


def one_hot_vertices():
    eye = torch.eye(K, dtype=torch.float64)
    return torch.stack([torch.cat(v) for v in itertools.product(eye, repeat=GROUPS)])


def binary_vertices():
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=D)), dtype=torch.float64)


def categories(*batch, **options):
    return RelaxedOneHot(torch.randn(*batch, GROUPS, K, dtype=torch.float64), **options)


def coins(*batch, **options):
    return RelaxedBernoulli(torch.randn(*batch, D, dtype=torch.float64), **options)


FAMILIES = [(categories, one_hot_vertices()), (coins, binary_vertices())]


@pytest.mark.parametrize(("make", "vertices"), FAMILIES)
def test_masses_of_the_vertices_sum_to_one(make, vertices):
    p = make(5)
    mass = p.log_prob(vertices.unsqueeze(1)).exp()
    torch.testing.assert_close(mass.sum(0), torch.ones(5, dtype=torch.float64))
    mean = (mass.unsqueeze(-1) * vertices.unsqueeze(1)).sum(0)
    torch.testing.assert_close(p.mean, mean)
    torch.testing.assert_close(p.variance, mean * (1 - mean))
    torch.testing.assert_close(p.entropy(), -(mass * mass.log()).sum(0))


@pytest.mark.parametrize(("make", "vertices"), FAMILIES)
def test_kl_by_enumeration(make, vertices):
    p, q = make(5), make()
    log_p, log_q = (d.log_prob(vertices.unsqueeze(1)) for d in (p, q))
    by_hand = (log_p.exp() * (log_p - log_q)).sum(0)
    torch.testing.assert_close(kl_divergence(p, q), by_hand)
    torch.testing.assert_close(kl_divergence(p, p), torch.zeros(5, dtype=torch.float64))


@pytest.mark.parametrize(("make", "vertices"), FAMILIES)
@pytest.mark.parametrize("options", [{}, {"temperature": torch.tensor(0.5)}])
def test_draws_are_exact(make, vertices, options):
    p = make(**options)
    z = p.sample((20_000,))
    mass = p.log_prob(vertices).exp()
    frequency = (z.unsqueeze(1) == vertices).all(-1).double().mean(0)
    assert frequency.sum() == pytest.approx(1)
    assert ((frequency - mass).abs() < 5 * (mass * (1 - mass) / 20_000).sqrt()).all()


@pytest.mark.parametrize(("make", "vertices"), FAMILIES)
def test_log_mass_is_linear_between_vertices(make, vertices):
    p = make()
    weights = torch.rand(7, len(vertices), dtype=torch.float64)
    weights /= weights.sum(-1, keepdim=True)
    between = p.log_prob(weights @ vertices)
    torch.testing.assert_close(between, weights @ p.log_prob(vertices))


@pytest.mark.parametrize(("make", "vertices"), FAMILIES)
def test_relaxed_draws(make, vertices):
    t = torch.tensor(0.5, dtype=torch.float64)
    assert not make().has_rsample
    with pytest.raises(NotImplementedError, match="temperature"):
        make().rsample()
    p = make(temperature=t)
    assert p.has_rsample
    z = p.rsample((20_000,))
    assert p.support.check(z).all()
    assert ((z > 0.01) & (z < 0.99)).any(-1).double().mean() > 0.5
    # the nearest vertex of a relaxed draw is an exact draw
    nearest = vertices[torch.cdist(z, vertices).argmin(-1)]
    error = 5 * (p.variance / len(z)).sqrt()
    assert ((nearest.mean(0) - p.mean).abs() < error).all()
    assert (z - nearest).abs().mean() > 0.02
    cold = RelaxedBernoulli(p.logits, t / 50) if make is coins else RelaxedOneHot(p.logits, t / 50)
    torch.testing.assert_close(cold.rsample((20_000,)).mean(0), p.mean, rtol=0, atol=0.03)


@pytest.mark.parametrize("family", [RelaxedOneHot, RelaxedBernoulli])
def test_straight_through(family):
    t = torch.tensor(0.7)
    shape = (GROUPS, K) if family is RelaxedOneHot else (D,)
    logits = torch.randn(6, *shape, requires_grad=True)
    weights = torch.randn(6, family(logits).event_shape[0])
    grads = []
    for straight_through in (False, True):
        torch.manual_seed(0)
        z = family(logits, t, straight_through).rsample((3,))
        (grad,) = torch.autograd.grad((z * weights).sum(), logits)
        grads.append(grad)
        assert ((z == 0) | (z == 1)).all() == straight_through
    torch.testing.assert_close(*grads)
    assert (grads[0] != 0).all()


@pytest.mark.parametrize("family", [RelaxedOneHot, RelaxedBernoulli])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_relaxed_draws_of_many_are_in_the_support(family, dtype):
    shape = (50, 4, 512) if family is RelaxedOneHot else (50, 512)
    t = torch.tensor(0.1, dtype=dtype)
    for straight_through in (False, True):
        p = family(10 * torch.randn(shape, dtype=dtype), t, straight_through)
        z = p.rsample((5,))
        assert p.support.check(z).all()
        assert p.log_prob(z).isfinite().all()
        assert p.sample().dtype == z.dtype == dtype


@pytest.mark.parametrize(("make", "vertices"), FAMILIES)
def test_expand(make, vertices):
    t = torch.tensor(0.5)
    p = make(1, temperature=t, straight_through=True).expand((5, 4))
    assert p.batch_shape == (5, 4)
    assert p.has_rsample
    assert p.straight_through
    assert p.rsample((3,)).shape == p.sample((3,)).shape == (3, 5, 4, *p.event_shape)
    assert p.entropy().shape == p.log_prob(vertices[0]).shape == (5, 4)


def test_gradients_reach_the_logits():
    for family, shape in ((RelaxedOneHot, (GROUPS, K)), (RelaxedBernoulli, (D,))):
        logits = torch.randn(shape, requires_grad=True)
        z = family(torch.zeros(shape)).sample()
        (grad,) = torch.autograd.grad(family(logits).log_prob(z), logits)
        expected = z.view(shape) - family(logits).mean.view(shape)
        torch.testing.assert_close(grad, expected)  # the score of an exponential family


def test_misuse():
    with pytest.raises(ValueError, match=r"logits have shape \(3,\)"):
        RelaxedOneHot(torch.zeros(3))
    with pytest.raises(ValueError, match=r"logits have shape \(\)"):
        RelaxedBernoulli(torch.zeros(()))
    with pytest.raises(ValueError, match="support"):
        RelaxedOneHot(torch.zeros(2, 3)).log_prob(torch.ones(6))
    with pytest.raises(ValueError, match="support"):
        RelaxedBernoulli(torch.zeros(3)).log_prob(torch.full((3,), 1.5))
    with pytest.raises(ValueError, match="2 groups of 3 categories, the other 3 of 2"):
        kl_divergence(RelaxedOneHot(torch.zeros(2, 3)), RelaxedOneHot(torch.zeros(3, 2)))
