import math

import pyro
import pytest
import torch
from scipy import stats
from torch.distributions import biject_to

from pvae.distributions import PoincareBall, WrappedNormal

CURVATURES = [0.3, 1.0, 4.0]


def make(curvature, d=2, way=0.8, batch=(), dtype=torch.float64):
    torch.manual_seed(0)
    ball = PoincareBall(curvature)
    loc = ball.exp(torch.zeros(*batch, d, dtype=dtype), way * torch.randn(*batch, d, dtype=dtype))
    return WrappedNormal(loc, 0.3 + torch.rand(*batch, d, dtype=dtype), curvature)


def grid(ball):
    """Points that fill the disc, dense at its border, and log of their areas."""
    r = torch.linspace(0, 16, 1601, dtype=torch.float64)[:-1] + 0.005
    angle = torch.arange(300, dtype=torch.float64) * 2 * torch.pi / 300
    way, turn = torch.meshgrid(r, angle, indexing="ij")
    points = ball.exp(
        torch.zeros(2).double(), torch.stack([way * turn.cos(), way * turn.sin()], -1)
    )
    root = ball.curvature**0.5
    hyperbolic = (way * root).sinh().log() - math.log(root)
    return points, hyperbolic + math.log(0.01 * 2 * math.pi / 300) - ball.log_volume(points)


@pytest.mark.parametrize("curvature", CURVATURES)
def test_normalizes(curvature):
    p = make(curvature)
    points, log_area = grid(p.ball)
    inside = points.norm(dim=-1) < p.ball.radius * (1 - 1e-14)
    total = (p.log_prob(points) + log_area)[inside].exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("curvature", CURVATURES)
def test_samples_match_the_density(curvature):
    p = make(curvature)
    points, log_area = grid(p.ball)
    weights = (p.log_prob(points) + log_area).flatten().softmax(0)
    z = p.sample((20_000,))
    assert p.support.check(z).all()
    for f in (lambda z: z, torch.square, lambda z: (3 * z[..., :1] * z[..., 1:]).sin()):
        error = 5 * f(z).std(0) / len(z) ** 0.5 + 1e-4
        expected = weights @ f(points).flatten(0, 1)
        assert ((f(z).mean(0) - expected).abs() < error).all()


def test_the_way_is_normal():
    p = make(1.0, d=3)
    z = p.sample((5000,))
    way = p.ball.log(p.loc, z)
    torch.testing.assert_close(p.ball.exp(p.loc, way), z)
    torch.testing.assert_close(way.norm(dim=-1), p.ball.distance(p.loc, z))
    for column, scale in zip(way.T, p.scale, strict=True):
        assert stats.kstest(column.numpy(), "norm", (0, float(scale))).pvalue > 1e-3
    assert torch.equal(p.mean, p.loc)


def test_as_the_papers_have_it():
    """Möbius addition and the formulas of Mathieu et al. 2019, written down as they stand."""
    c, p = 0.7, make(0.7, d=3)
    v = torch.tensor([0.4, -0.9, 0.3], dtype=torch.float64)
    mu, z = p.loc, p.ball.exp(p.loc, v)
    step = (c**0.5 * v.norm() / 2).tanh() * v / (c**0.5 * v.norm())
    inner, x2, y2 = mu @ step, mu @ mu, step @ step
    by_hand = ((1 + 2 * c * inner + c * y2) * mu + (1 - c * x2) * step) / (
        1 + 2 * c * inner + c**2 * x2 * y2
    )
    torch.testing.assert_close(z, by_hand)
    apart = (1 + 2 * c * (mu - z).square().sum() / (1 - c * x2) / (1 - c * z @ z)).acosh() / c**0.5
    torch.testing.assert_close(p.ball.distance(mu, z), apart)
    normal = torch.distributions.Normal(0, p.scale).log_prob(v).sum()
    spread = 2 * (c**0.5 * apart / (c**0.5 * apart).sinh()).log()
    volume = 3 * (2 / (1 - c * z @ z)).log()
    torch.testing.assert_close(p.log_prob(z), normal + spread + volume)


def test_small_curvature_is_the_normal():
    loc, scale = torch.randn(4, 3).double(), torch.rand(4, 3).double() + 0.5
    p = WrappedNormal(loc, scale, curvature=1e-8)
    normal = torch.distributions.Normal(loc, scale / 2)
    z = normal.sample()
    torch.testing.assert_close(p.log_prob(z), normal.log_prob(z).sum(-1), rtol=1e-5, atol=1e-5)
    torch.manual_seed(1)
    drawn = p.rsample()
    torch.manual_seed(1)
    torch.testing.assert_close(
        drawn, loc + scale / 2 * torch.randn(4, 3).double(), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("curvature", [0.01, 1.0, 25.0])
@pytest.mark.parametrize("way", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 10.0])
def test_single_precision(curvature, way, scale):
    torch.manual_seed(0)
    loc = PoincareBall(curvature).exp(torch.zeros(5, 2), way * torch.eye(2)[:1].expand(5, 2))
    loc.requires_grad_()
    scale = torch.full((5, 2), scale).requires_grad_()
    p = WrappedNormal(loc, scale, curvature)
    z = p.rsample((500,))
    assert p.support.check(z).all()
    log_prob = p.log_prob(z)
    assert log_prob.isfinite().all()
    for grad in torch.autograd.grad((log_prob + z.sum(-1)).sum(), (loc, scale)):
        assert grad.isfinite().all()


def test_gradients_at_the_location():
    p = make(1.0, d=3)
    z = p.loc.clone().requires_grad_()
    (grad,) = torch.autograd.grad(p.log_prob(z), z)
    step = 1e-6 * torch.randn(3).double()
    slope = (p.log_prob(z + step) - p.log_prob(z - step)) / 2
    torch.testing.assert_close(grad @ step, slope.detach(), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("curvature", CURVATURES)
def test_a_bijection_to_the_ball(curvature):
    ball = PoincareBall(curvature)
    transform = biject_to(ball)
    u = torch.randn(3, dtype=torch.float64)
    z = transform(u)
    assert ball.check(z)
    torch.testing.assert_close(transform.inv(z), u)
    jacobian = torch.autograd.functional.jacobian(transform, u)
    torch.testing.assert_close(transform.log_abs_det_jacobian(u, z), jacobian.det().log())


def test_shapes_and_expansion():
    p = make(1.0, d=3, batch=(4,))
    assert p.expand((5, 4)).batch_shape == (5, 4)
    assert p.expand((5, 4)).rsample((2,)).shape == (2, 5, 4, 3)
    with pyro.plate("data", 4):
        assert pyro.sample("z", p).shape == (4, 3)
    assert p.support == PoincareBall(1.0) != PoincareBall(2.0)
    assert p.support != make(2.0).support


@pytest.mark.parametrize("curvature", [0, -1.0, math.nan, math.inf])
def test_curvatures_that_are_refused(curvature):
    with pytest.raises(ValueError, match="curvature is"):
        WrappedNormal(torch.zeros(2), torch.ones(2), curvature)


def test_what_is_refused():
    with pytest.raises(ValueError, match="loc"):
        WrappedNormal(torch.ones(2), torch.ones(2))
    with pytest.raises(ValueError, match="scale"):
        WrappedNormal(torch.zeros(2), torch.zeros(2))
    with pytest.raises(ValueError, match="support"):
        make(1.0).log_prob(torch.ones(2, dtype=torch.float64))


def test_distances_of_equal_points_have_gradients():
    x = torch.tensor([[0.0, 0.0], [0.3, -0.2]], dtype=torch.float64, requires_grad=True)
    distance = PoincareBall(2.0).distance(x, x.detach())
    assert distance.tolist() == [0, 0]
    (slope,) = torch.autograd.grad(distance.sum(), x)
    assert (slope == 0).all()
