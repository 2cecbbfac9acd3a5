"""What must hold of flows: their volumes, their inverses, and what they are made of."""

import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian
from torch.distributions import kl_divergence

from pvae.distributions import RotatedNormal
from pvae.posteriors import (
    HouseholderFlow,
    InverseAutoregressiveFlow,
    PlanarFlow,
    SplineFlow,
    SylvesterFlow,
)
from pvae.priors import StandardNormal

FLOWS = [PlanarFlow, HouseholderFlow, SylvesterFlow, InverseAutoregressiveFlow, SplineFlow]
INVERTIBLE = [HouseholderFlow, InverseAutoregressiveFlow, SplineFlow]
LATENT = 5


class Fixed(nn.Module):
    """A network of one row of outputs for each x, which is its number."""

    def __init__(self, in_shape, out_shape):
        super().__init__()
        self.raw = nn.Parameter(torch.randn(3, *out_shape))

    def forward(self, x):
        return self.raw[x[:, 0].long()]


def posterior_of(make, latent_dim=LATENT):
    posterior = make((1,), latent_dim, network=Fixed).double()
    with torch.no_grad():  # far from the identity, where a flow begins
        for parameter in posterior.parameters():
            parameter.mul_(1.5)
    return posterior, torch.arange(3, dtype=torch.float64).unsqueeze(-1)


def push(q, x):
    for transform in q.transforms:
        x = transform(x)
    return x


@pytest.mark.parametrize("make", FLOWS)
@pytest.mark.parametrize("latent_dim", [2, 5])
def test_log_determinants_are_those_of_autograd(make, latent_dim):
    posterior, x = posterior_of(make, latent_dim)
    q = posterior(x)
    noise = q.base_dist.sample((4,))
    z = push(q, noise)
    log_prob = q.log_prob(z)
    for s in range(4):
        for i in range(3):
            one = posterior(x[i])
            J = jacobian(lambda noise, one=one: push(one, noise), noise[s, i])
            log_det = torch.linalg.slogdet(J).logabsdet
            expected = one.base_dist.log_prob(noise[s, i]) - log_det
            torch.testing.assert_close(log_prob[s, i], expected)


@pytest.mark.parametrize("make", [PlanarFlow, SylvesterFlow])
def test_steps_keep_orientation(make):
    # a determinant that is positive everywhere makes these steps invertible
    posterior, x = posterior_of(make)
    with torch.no_grad():
        posterior.network.raw *= 4
    q = posterior(x[0])
    for noise in 3 * q.base_dist.sample((50,)):
        assert torch.det(jacobian(lambda noise: push(q, noise), noise)) > 0


def test_planar_invertibility_constraint():
    posterior, x = posterior_of(PlanarFlow)
    _, _, *vectors = posterior.raw(x)
    for i, step in enumerate(posterior(x).transforms[:-1]):
        _, u, w = vectors[3 * i : 3 * i + 3]
        assert ((u * w).sum(-1) < -1).any()
        assert ((step.u_hat(u, w) * w).sum(-1) > -1).all()


@pytest.mark.parametrize("make", INVERTIBLE)
@pytest.mark.parametrize("latent_dim", [2, 5])
def test_inverse(make, latent_dim):
    posterior, x = posterior_of(make, latent_dim)
    noise = 2 * posterior(x).base_dist.sample((50,))
    z = push(posterior(x), noise).detach()
    q, back = posterior(x), z
    for transform in reversed(q.transforms):
        back = transform.inv(back)
    torch.testing.assert_close(back, noise, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(push(q, back.clone()), z, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("make", [flow for flow in FLOWS if flow is not HouseholderFlow])
def test_scoring_the_latest_draw_computes_nothing_again(make, monkeypatch):
    posterior, x = posterior_of(make)
    q = posterior(x)
    z = q.rsample((7,))
    for transform in q.transforms[:-1]:
        monkeypatch.setattr(transform, "_inverse", None)
        monkeypatch.setattr(transform, "_call", None)
    assert q.log_prob(z).shape == (7, 3)


def test_householder_is_a_rotation():
    posterior, x = posterior_of(HouseholderFlow)
    q = posterior(x)
    noise = q.base_dist.sample((50,))
    z = q.transforms[0](noise)
    torch.testing.assert_close(z.norm(dim=-1), noise.norm(dim=-1))
    axes = q.transforms[0](torch.eye(LATENT, dtype=torch.float64).unsqueeze(1).expand(-1, 3, -1))
    U = axes.movedim(0, -1)
    covariance = U @ q.base_dist.variance.diag_embed() @ U.mT
    mean = (U @ q.base_dist.mean.unsqueeze(-1)).squeeze(-1)
    normal = dist.MultivariateNormal(mean, covariance)
    torch.testing.assert_close(q.log_prob(z), normal.log_prob(z))
    torch.testing.assert_close(q.mean, normal.mean)
    torch.testing.assert_close(q.variance, normal.variance)
    torch.testing.assert_close(q.entropy(), normal.entropy())
    # the standard normal is the same in every direction
    p = StandardNormal(LATENT).double()()
    torch.testing.assert_close(kl_divergence(q, p), kl_divergence(q.base_dist, p))
    assert isinstance(q.expand((2, 3)), RotatedNormal)
    assert q.expand((2, 3)).mean.shape == (2, 3, LATENT)


def test_iaf_is_autoregressive():
    posterior, x = posterior_of(InverseAutoregressiveFlow)
    q = posterior(x[0])
    noise = q.base_dist.sample()
    first, second = q.transforms[:2]
    assert (jacobian(first, noise).triu(1) == 0).all()
    assert (jacobian(second, noise).tril(-1) == 0).all()
    assert (jacobian(first, noise).tril(-1) != 0).any()


def test_splines_meet_the_identity_at_their_ends():
    posterior, x = posterior_of(SplineFlow)
    q = posterior(x[0])
    far = torch.tensor([4.5, -6.0, 5.0, -4.0001, 7.0], dtype=torch.float64)
    assert (q.transforms[0](far) == far).all()
    edge = torch.full((LATENT,), 4.0, dtype=torch.float64)
    torch.testing.assert_close(q.transforms[0](edge - 1e-9), edge, rtol=1e-6, atol=0)
    moved = q.transforms[0](q.base_dist.sample())
    assert moved.isfinite().all()


def test_every_latent_of_a_spline_flow_moves():
    posterior, x = posterior_of(SplineFlow)
    q = posterior(x[0])
    noise = torch.rand(LATENT, dtype=torch.float64)
    J = jacobian(lambda noise: push(q, noise), noise)
    assert torch.linalg.matrix_rank(J) == LATENT
    # two reversals leave the order as it was
    assert (J.diagonal() / q.transforms[-2].scale - 1).abs().min() > 1e-4
