import math

import pyro
import pytest
import torch
from scipy import stats
from torch.distributions import kl_divergence
from torch.nn.functional import normalize

from pvae.distributions import HypersphericalUniform, PowerSpherical


def make(d, concentration=3.0, batch=()):
    loc = normalize(torch.randn(*batch, d, dtype=torch.float64), dim=-1)
    return PowerSpherical(loc, torch.full(batch, concentration, dtype=torch.float64))


@pytest.mark.parametrize("concentration", [0.3, 3.0, 100.0])
def test_normalizes_on_the_circle(concentration):
    p = make(2, concentration)
    angle = torch.linspace(0, 2 * torch.pi, 200_001, dtype=torch.float64)[:-1]
    points = torch.stack([angle.cos(), angle.sin()], -1)
    total = p.log_prob(points).exp().mean() * 2 * torch.pi
    assert float(total) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("concentration", [0.3, 3.0, 100.0])
def test_normalizes_on_the_sphere(concentration):
    p = make(3, concentration)
    # in cylindrical coordinates, where area is even
    n = 1500
    height = (torch.arange(n, dtype=torch.float64) + 0.5) * 2 / n - 1
    angle = (torch.arange(n, dtype=torch.float64) + 0.5) * 2 * torch.pi / n
    h, a = torch.meshgrid(height, angle, indexing="ij")
    r = (1 - h**2).sqrt()
    points = torch.stack([r * a.cos(), r * a.sin(), h], -1)
    total = p.log_prob(points).exp().mean() * 4 * torch.pi
    assert float(total) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("d", [2, 3, 4, 10])
def test_moments_and_entropy(d):
    p = make(d)
    z = p.sample((40_000,))
    assert p.support.check(z).all()
    assert ((z.mean(0) - p.mean).abs() < 5 * z.std(0) / len(z) ** 0.5).all()
    log_prob = p.log_prob(z)
    assert abs(log_prob.mean() + p.entropy()) < 5 * log_prob.std() / len(z) ** 0.5
    # the cosine is an affine Beta, and what is around it has no direction
    cosine = z @ p.loc
    law = stats.beta((d - 1) / 2 + 3.0, (d - 1) / 2, loc=-1, scale=2)
    assert stats.kstest(cosine.numpy(), law.cdf).pvalue > 1e-3
    around = z - cosine.unsqueeze(-1) * p.loc
    error = around.std(0) / len(z) ** 0.5
    assert (around.mean(0).abs() < 5 * error).all()
    covariance = around.T @ around / len(z)
    variance = covariance.trace() / (d - 1)
    projector = torch.eye(d, dtype=torch.float64) - p.loc.outer(p.loc)
    torch.testing.assert_close(covariance, variance * projector, rtol=0, atol=0.01)


@pytest.mark.parametrize("d", [2, 3, 10])
def test_kl_to_the_uniform(d):
    p, q = make(d, batch=(3,)), HypersphericalUniform(d, dtype=torch.float64)
    z = p.sample((20_000,))
    score = p.log_prob(z) - q.log_prob(z)
    kl = kl_divergence(p, q)
    assert kl.shape == (3,)
    assert (abs(score.mean(0) - kl) < 5 * score.std(0) / len(z) ** 0.5).all()
    flat = make(d, 1e-9)
    assert float(kl_divergence(flat, q)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "loc",
    [
        [1.0, 0, 0],
        [-1.0, 0, 0],
        [0, 1.0, 0],
        [1.0, 1e-7, 0],
        [-1.0, 0, 1e-5],
        [1.0, 1e-4, 0],
    ],
)
def test_no_direction_is_special(loc):
    loc = normalize(torch.tensor(loc), dim=-1).requires_grad_()
    p = PowerSpherical(loc, torch.tensor(50_000.0))
    z = p.rsample((5000,))
    assert p.support.check(z).all()
    assert (z @ loc).min() > 0.999
    assert float((z.mean(0) - loc).norm().detach()) < 2e-3
    (grad,) = torch.autograd.grad(z.sum(), loc)
    assert grad.isfinite().all()


@pytest.mark.parametrize("d", [2, 3, 20])
@pytest.mark.parametrize("concentration", [1e-3, 1.0, 1e4])
def test_single_precision(d, concentration):
    loc = normalize(torch.randn(5, d), dim=-1).requires_grad_()
    kappa = torch.full((5,), concentration).requires_grad_()
    p = PowerSpherical(loc, kappa)
    z = p.rsample((2000,))
    assert p.support.check(z).all()
    log_prob = p.log_prob(z)
    assert log_prob.isfinite().all()
    for grad in torch.autograd.grad((log_prob + z.sum(-1)).sum(), (loc, kappa)):
        assert grad.isfinite().all()


def test_shapes_and_expansion():
    p = make(3, batch=(4,))
    assert p.event_shape == (3,)
    assert p.expand((5, 4)).batch_shape == (5, 4)
    assert p.expand((5, 4)).rsample((2,)).shape == (2, 5, 4, 3)
    with pyro.plate("data", 4):
        assert pyro.sample("z", p).shape == (4, 3)
    broadcast = PowerSpherical(torch.tensor([1.0, 0.0]), torch.ones(6))
    assert broadcast.batch_shape == (6,)
    assert broadcast.sample().shape == (6, 2)


def test_what_is_refused():
    with pytest.raises(ValueError, match="d at least 2"):
        PowerSpherical(torch.ones(1), torch.tensor(1.0))
    with pytest.raises(ValueError, match="loc"):
        PowerSpherical(torch.ones(3), torch.tensor(1.0))
    with pytest.raises(ValueError, match="concentration"):
        PowerSpherical(torch.tensor([1.0, 0.0]), torch.tensor(-1.0))
    with pytest.raises(ValueError, match="support"):
        make(3).log_prob(torch.ones(3, dtype=torch.float64))


def test_on_the_circle_by_hand():
    # with kappa 1 on the circle the normalizer is the circumference
    p = PowerSpherical(torch.tensor([1.0, 0.0]), torch.tensor(1.0))
    found = p.log_prob(torch.tensor([0.0, 1.0]))
    assert float(found) == pytest.approx(-math.log(2 * math.pi), abs=1e-6)
