"""State spaces and their smoothing posteriors, against the exact linear-Gaussian ones."""

from functools import partial

import pyro
import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

import pvae
from pvae.inference import Optimizer
from pvae.likelihoods import Gaussian
from pvae.networks import GRU
from pvae.posteriors import Smoothing
from pvae.priors import StateSpace

T, D, L, NOISE = 6, 3, 2, 0.5
SHAPE = (T, D)
PARTS = {
    "prior": partial(StateSpace, state_dim=L, hidden=16),
    "posterior": partial(Smoothing, state_dim=L),
    "network": partial(GRU, hidden=16, state_dim=L),
}


class Emission(nn.Module):
    """The same linear map of the state at each step."""

    def __init__(self, in_shape, out_shape):
        super().__init__()
        self.linear = nn.Linear(L, D)

    def forward(self, z):
        return self.linear(z.unflatten(-1, (T, L)))


class Exact(nn.Module):
    """The exact posterior of a linear state space: a Kalman filter back in time."""

    def __init__(self, prior, likelihood):
        super().__init__()
        A, self.a = prior.linear.weight, prior.linear.bias
        C, c = likelihood.network.linear.weight, likelihood.network.linear.bias
        precision = 1 / (1e-6 + nn.functional.softplus(prior.variance.bias))
        self.A, self.C, self.c, self.precision = A, C, c, precision

    def forward(self, x):
        eye = torch.eye(L, dtype=x.dtype)
        # p(x_t, ..., x_T | z_t) is proportional to exp(-z' J z / 2 + z' h).
        J, h, found = torch.zeros(L, L), x.new_zeros(*x.shape[:-2], L), []
        for t in reversed(range(T)):
            J = J + self.C.T @ self.C / NOISE**2
            h = h + (x[..., t, :] - self.c) @ self.C / NOISE**2
            prior = self.precision.diag() if t else eye
            covariance = torch.linalg.inv(prior + J)
            found.append((covariance, h))
            if t:
                gain = prior @ covariance  # of z_t given z_(t-1), after z_t is integrated out
                G = prior - gain @ prior
                h = (h @ gain.T - self.a @ G) @ self.A
                J = self.A.T @ G @ self.A
        return found[::-1]


class Chain(nn.Module):
    """The distribution of `Exact`, one dense transition for each step."""

    def __init__(self, exact):
        super().__init__()
        self.exact = exact

    def log_prob(self, x, z):
        states, found = z.unflatten(-1, (T, L)), 0
        for t, (covariance, h) in enumerate(self.exact(x)):
            if t:
                before = states[..., t - 1, :] @ self.exact.A.T + self.exact.a
                h = h + before * self.exact.precision
            p = MultivariateNormal(h @ covariance, covariance)
            found = found + p.log_prob(states[..., t, :])
        return found


@pytest.fixture(scope="module")
def linear():
    """A VAE whose model is a linear-Gaussian state space, and its joint normal over z and x."""
    likelihood = partial(Gaussian, scale=NOISE, network=Emission)
    torch.manual_seed(0)
    vae = pvae.build(SHAPE, T * L, likelihood=likelihood, **PARTS).double()
    prior, emission = vae.prior, vae.likelihood.network.linear
    with torch.no_grad():
        prior.linear.weight.normal_().mul_(0.6)
        prior.linear.bias.normal_()
        prior.gate[-1].weight.zero_()
        prior.gate[-1].bias.fill_(-800)  # closed, so that the transition is linear
        prior.variance.weight.zero_()
        prior.variance.bias.normal_()
        A, a = prior.linear.weight, prior.linear.bias
        deviation = (1e-6 + nn.functional.softplus(prior.variance.bias)).sqrt()
        # z = M e + m with independent noise e
        M, mean = torch.zeros(T, L, T, L, dtype=A.dtype), [torch.zeros_like(a)]
        for t in range(T):
            if t:
                M[t] = (A @ M[t - 1].flatten(1)).view(L, T, L)
                mean.append(A @ mean[-1] + a)
            M[t, :, t] = torch.eye(L) if t == 0 else deviation.diag()
        M, m = M.view(T * L, T * L), torch.cat(mean)
        C = torch.kron(torch.eye(T, dtype=A.dtype), emission.weight)
        S, b = M @ M.T, C @ m + emission.bias.repeat(T)
        noise = NOISE**2 * torch.eye(T * D, dtype=A.dtype)
        evidence = MultivariateNormal(b, C @ S @ C.T + noise)
    return vae, MultivariateNormal(m, S), evidence


def test_prior_and_evidence_are_joint_normals(linear):
    vae, joint, evidence = linear
    z = torch.randn(7, T * L, dtype=torch.float64)
    torch.testing.assert_close(vae.p_z().log_prob(z), joint.log_prob(z))
    x = vae.sample(7, seed=0, draw=True)
    exact = Chain(Exact(vae.prior, vae.likelihood))
    with torch.no_grad():
        log_p = joint.log_prob(z) + vae.decode(z).log_prob(x) - exact.log_prob(x, z)
    torch.testing.assert_close(log_p, evidence.log_prob(x.flatten(1)))


def test_smoothing_finds_the_evidence(linear):
    vae, _, evidence = linear
    pyro.set_rng_seed(0)
    x = vae.sample(300, seed=1, draw=True)
    learned = [p for p in vae.posterior.parameters()]
    optim = Optimizer(learned, partial(torch.optim.Adam, lr=1e-2))
    svi = pyro.infer.SVI(vae.model, vae.guide, optim, pyro.infer.Trace_ELBO())
    for _ in range(150):
        svi.step(x)
    few = x[:20]
    exact = evidence.log_prob(few.flatten(1))
    elbo = -pyro.infer.Trace_ELBO(50, vectorize_particles=True).loss(vae.model, vae.guide, few) / 20
    assert exact.mean() - 1.5 < elbo < exact.mean() + 0.1
    found = pvae.evaluation.log_likelihood(vae, few, num_samples=2000, progress=False)
    assert ((found.log_prob - exact).abs() < 0.15).all()
    assert (found.log_prob - exact).mean().abs() < 0.03
