"""State spaces and their smoothing posteriors, against the exact linear-Gaussian ones."""

import re
from functools import partial

import pyro
import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

import pvae
from pvae.data import seasonal
from pvae.inference import CompiledSVI, Optimizer
from pvae.likelihoods import Gaussian, Padded
from pvae.networks import GRU, MLP
from pvae.posteriors import DiagonalNormal, Smoothing
from pvae.priors import StandardNormal, StateSpace

T, D, L, NOISE = 6, 3, 2, 0.5
SHAPE = (T, D)
PARTS = {
    "prior": partial(StateSpace, state_dim=L, hidden=16),
    "posterior": partial(Smoothing, state_dim=L),
    "network": partial(GRU, hidden=16, state_dim=L),
}
X = torch.where(torch.arange(T).unsqueeze(-1) < 4, torch.ones(20, *SHAPE), torch.nan)


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


def test_beats_independent_latents_on_a_seasonal_series():
    """On equal steps the state space comes nearer to the entropy of the series."""
    x, _, covariance = seasonal(n=400, steps=T, period=T)
    exact = MultivariateNormal(torch.zeros(T * D, dtype=torch.float64), covariance)
    best = float(-exact.log_prob(x.flatten(1).double()).mean())
    plain = {
        "prior": StandardNormal,
        "posterior": DiagonalNormal,
        "network": partial(MLP, hidden=[32]),
    }
    losses = []
    for parts in (PARTS, plain):
        vae = pvae.build(SHAPE, T * L, likelihood=partial(Gaussian, scale=NOISE), **parts)
        pyro.set_rng_seed(0)
        optim = Optimizer(vae.parameters(), partial(torch.optim.Adam, lr=1e-2))
        svi = pyro.infer.SVI(vae.model, vae.guide, optim, pyro.infer.Trace_ELBO())
        for _ in range(200):
            svi.step(x)
        losses.append(svi.evaluate_loss(x) / len(x))
    assert best - 0.2 < losses[0] < losses[1] - 0.5


def test_every_query_and_estimator_works(tmp_path):
    torch.manual_seed(0)
    x, _, _ = seasonal(n=60, steps=T)
    vae = pvae.build(SHAPE, T * L, likelihood=Gaussian, **PARTS)
    data = pvae.data.load(x, event_shape=SHAPE)
    history = pvae.fit(vae, data, epochs=2, run=tmp_path / "run", progress=False)
    assert len(history.rows) == 2
    loaded = pvae.load(tmp_path / "run")
    few = data.batch(loaded, "test")
    torch.testing.assert_close(loaded.sample(3, seed=0), vae.sample(3, seed=0))
    assert vae.reconstruct(few).shape == few.shape
    assert vae.interpolate(few[0], few[1], steps=4).shape == (4, *SHAPE)
    ais = pvae.evaluation.ais(vae, few[:2], steps=20, chains=2, progress=False)
    assert ais.log_prob.isfinite().all()
    mask = torch.arange(T).unsqueeze(-1) < 4  # a forecast
    found = pvae.evaluation.impute(vae, few, mask, num_samples=200, draws=2, progress=False)
    assert found.x.shape == few.shape


def test_labels_are_seen_at_every_step():
    vae = pvae.build(SHAPE, T * L, likelihood=Gaussian, conditional=True, classes=4, **PARTS)
    x = vae.sample(4, y=torch.arange(4), seed=0)
    z = torch.zeros(T * L)
    assert x.shape == (4, *SHAPE)
    one, other = (vae.decode(z, y).mean for y in (0, 1))
    assert (one != other).any(-1).all()
    assert vae.encode(x, torch.arange(4)).batch_shape == (4,)


def test_sequences_of_several_lengths(tmp_path):
    """Padding counts for nothing, and the rest as if there was none."""
    x, _, _ = seasonal(n=80, steps=T)
    lengths = 1 + torch.arange(len(x)) % T
    steps = torch.arange(T)
    padded = torch.where((steps < lengths.unsqueeze(-1)).unsqueeze(-1), x, torch.nan)
    likelihood = partial(Padded, likelihood=partial(Gaussian, scale=NOISE))
    vae = pvae.build(SHAPE, T * L, likelihood=likelihood, **PARTS)
    z = vae.p_z().sample((len(x),))
    each = vae.likelihood.likelihood(z).base_dist.log_prob(x).sum(-1)
    by_hand = (each * (steps < lengths.unsqueeze(-1))).sum(-1)
    torch.testing.assert_close(vae.decode(z).log_prob(padded), by_hand)
    data = pvae.data.load(padded, event_shape=SHAPE)
    history = pvae.fit(vae, data, epochs=2, run=tmp_path / "run", progress=False)
    assert all(p.isfinite().all() for p in vae.parameters())
    assert len(history.rows) == 2
    found = pvae.evaluation.log_likelihood(vae, padded[:5], num_samples=50, progress=False)
    assert found.log_prob.isfinite().all()
    assert vae.reconstruct(padded).isfinite().all()
    # Other networks are given zeros.
    plain = pvae.build(SHAPE, 2, likelihood=likelihood, network=partial(MLP, hidden=[8]))
    assert plain.encode(padded).mean.isfinite().all()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: pvae.build(SHAPE, 7, **PARTS), "latent_dim is 7 and state_dim 2"),
        (lambda: pvae.build(SHAPE, 14, **PARTS), "Sequences of 6 steps need 6 states"),
        (lambda: pvae.build((1, 8, 8), 12, **PARTS), "GRU joins a sequence (T, D) and a code"),
        (lambda: pvae.build((0, 3), 12, **PARTS), "event_shape is (0, 3)"),
        (
            lambda: pvae.build(SHAPE, 12, **PARTS | {"prior": StateSpace}),
            "Sequences of 6 steps need 6 states, and there are 12 of 1 latents",
        ),
        (
            lambda: pvae.build(SHAPE, 12, **PARTS | {"network": partial(GRU, state_dim=4)}),
            "6 steps with states of 4 latents have 24 latents",
        ),
        (
            lambda: pvae.data.load(torch.full((3, *SHAPE), torch.nan), event_shape=SHAPE),
            "Sequence 0 has length 0",
        ),
        (
            lambda: pvae.data.load(torch.tensor([[[1.0], [torch.nan], [2.0]]]), event_shape=(3, 1)),
            "1 NaN or infinite value(s), the first at index (0, 1, 0)",
        ),
        (
            lambda: pvae.build(SHAPE, 12, likelihood=Gaussian, **PARTS).encode(X),
            "x holds nan, and the likelihood Gaussian",
        ),
        (
            lambda: pvae.fit(
                pvae.build(SHAPE, 12, likelihood=Gaussian, **PARTS),
                pvae.data.load(X, event_shape=SHAPE),
            ),
            "padded with NaN: take the likelihood Padded",
        ),
        (
            lambda: Padded(2, SHAPE, likelihood=pvae.likelihoods.Multinomial),
            "Multinomial takes the total of each sequence",
        ),
    ],
)
def test_bad_input(make, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)) as raised:
        make()
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) <= 300


def test_compiled_steps_are_those_of_svi():
    x, _, _ = seasonal(n=7, steps=T)
    losses = []
    for inference in (pyro.infer.SVI, partial(CompiledSVI, compile=True, backend="graph")):
        vae = pvae.build(SHAPE, T * L, likelihood=Gaussian, **PARTS)
        optim = Optimizer(vae.parameters(), partial(torch.optim.Adam, lr=1e-2))
        svi = inference(vae.model, vae.guide, optim, pyro.infer.Trace_ELBO())
        pyro.set_rng_seed(0)
        losses.append([svi.step(x) for _ in range(3)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
