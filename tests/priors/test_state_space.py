"""State spaces and their smoothing posteriors, against the exact linear-Gaussian ones."""

import copy
import re
from functools import partial

import pyro
import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal
from torch.nn.functional import softplus

import pvae
from pvae.cli import gallery
from pvae.data import seasonal
from pvae.distributions import NormalChain
from pvae.inference import CompiledSVI, Optimizer
from pvae.likelihoods import Gaussian, Padded
from pvae.networks import GRU, MLP
from pvae.posteriors import Smoothing
from pvae.priors import StateSpace
from pvae.training import Run

T, D, L, NOISE = 6, 3, 2, 0.5
SHAPE = (T, D)
PARTS = {
    "prior": partial(StateSpace, state_dim=L, hidden=16),
    "posterior": partial(Smoothing, state_dim=L),
    "network": partial(GRU, hidden=16, state_dim=L),
}
X = torch.where(torch.arange(T).unsqueeze(-1) < 4, torch.ones(20, *SHAPE), torch.nan)


class Emission(nn.Module):
    """The same linear map of the state, one latent, at each step."""

    def __init__(self, in_shape, out_shape):
        super().__init__()
        self.linear = nn.Linear(1, D)

    def forward(self, z):
        return self.linear(z.unsqueeze(-1))


class Exact(nn.Module):
    """The exact posterior of a linear state space of one latent, by a filter back in time."""

    def __init__(self, prior, emission):
        super().__init__()
        self.A, self.a = prior.linear.weight.squeeze(), prior.linear.bias
        self.C, self.c = emission.weight.squeeze(-1), emission.bias
        self.precision = 1 / (1e-6 + nn.functional.softplus(prior.variance.bias))

    def transition(self, z, context):
        variance, h = context.unbind(-1)
        mean = variance * (h + self.precision * (self.A * z.squeeze(-1) + self.a))
        return mean.unsqueeze(-1), variance.sqrt().unsqueeze(-1)

    def forward(self, x):
        # p(x_t, ..., x_T | z_t) is proportional to exp(-J z^2 / 2 + h z).
        J, h, context = x.new_zeros(1), x.new_zeros(x.shape[:-2]), []
        for t in reversed(range(T)):
            J = J + self.C.square().sum() / NOISE**2
            h = h + (x[..., t, :] - self.c) @ self.C / NOISE**2
            if t == 0:
                first = h / (1 + J), (1 + J).rsqrt().expand_as(h)
                break
            variance = 1 / (self.precision + J)
            context.append(torch.stack([variance.expand_as(h), h], -1))
            # z_t is integrated out
            G = self.precision - self.precision**2 * variance
            h = (self.precision * variance * h - G * self.a) * self.A
            J = self.A**2 * G
        loc, scale = (part.unsqueeze(-1) for part in first)
        return NormalChain(self.transition, loc, scale, T, torch.stack(context[::-1], -2))


def test_a_linear_state_space_is_a_joint_normal():
    """Its prior is, and its evidence, which the exact posterior finds by any few draws."""
    torch.manual_seed(0)
    prior, likelihood = StateSpace(T).double(), Gaussian(T, SHAPE, Emission, scale=NOISE).double()
    emission = likelihood.network.linear
    with torch.no_grad():
        prior.linear.weight.fill_(0.8)
        prior.linear.bias.fill_(0.3)
        prior.gate[-1].weight.zero_()
        prior.gate[-1].bias.fill_(-800)  # closed, so that the transition is linear
        prior.variance.weight.zero_()
        prior.variance.bias.fill_(-0.5)
    vae = pvae.VAE(prior, likelihood, Exact(prior, emission))
    with torch.no_grad():
        deviation = (1e-6 + nn.functional.softplus(prior.variance.bias)).sqrt()
        # z = M e + m with independent noise e
        powers = prior.linear.weight.squeeze() ** (steps := torch.arange(T)).double()
        M = torch.stack([torch.where(steps <= t, powers[(t - steps).abs()], 0.0) for t in range(T)])
        m = M @ torch.where(steps > 0, prior.linear.bias, 0.0)
        M = M * torch.where(steps > 0, deviation, 1.0)
        joint = MultivariateNormal(m, M @ M.T)
        C = torch.kron(torch.eye(T, dtype=M.dtype), emission.weight)
        noise = NOISE**2 * torch.eye(T * D, dtype=M.dtype)
        evidence = MultivariateNormal(C @ m + emission.bias.repeat(T), C @ M @ M.T @ C.T + noise)
    z = torch.randn(7, T, dtype=torch.float64)
    torch.testing.assert_close(vae.p_z().log_prob(z), joint.log_prob(z))
    x = vae.sample(7, seed=0, draw=True)
    found = pvae.evaluation.log_likelihood(vae, x, num_samples=30, progress=False)
    torch.testing.assert_close(found.log_prob, evidence.log_prob(x.flatten(1)))


def test_beats_independent_latents_on_a_seasonal_series():
    """On equal steps the state space comes nearer to the entropy of the series."""
    steps = 12
    x, _, covariance = seasonal(n=256, steps=steps, damping=0.97)
    exact = MultivariateNormal(torch.zeros(steps * D, dtype=torch.float64), covariance)
    best = float(-exact.log_prob(x.flatten(1).double()).mean())
    plain = {"network": partial(MLP, hidden=[32])}
    losses = []
    for parts in (PARTS, plain):
        vae = pvae.build(x.shape[1:], steps * L, likelihood=partial(Gaussian, scale=NOISE), **parts)
        pyro.set_rng_seed(0)
        optim = Optimizer(vae.parameters(), partial(torch.optim.Adam, lr=1e-2))
        svi = pyro.infer.SVI(vae.model, vae.guide, optim, pyro.infer.Trace_ELBO())
        for _ in range(100):
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
    ais = pvae.evaluation.ais(vae, few[:2], num_steps=20, num_chains=2, progress=False)
    assert ais.log_prob.isfinite().all()
    mask = torch.arange(T).unsqueeze(-1) < 4  # a forecast
    found = pvae.evaluation.impute(vae, few, mask, num_samples=200, draws=2, progress=False)
    assert found.x.shape == few.shape


def padded_series(n=7):
    """Series of 1 to T steps, padded with NaN."""
    x, _, _ = seasonal(n=n, steps=T)
    lengths = 1 + torch.arange(n) % T
    return torch.where((torch.arange(T) < lengths[:, None])[..., None], x, torch.nan), lengths


def gated(prior, z):
    """The transition of the prior, as its equations have it."""
    g, h = prior.gate(z).sigmoid(), prior.proposal(z)
    variance = 1e-6 + softplus(prior.variance(h.relu()))
    return (1 - g) * prior.linear(z) + g * h, variance.sqrt()


def combiner(posterior, z, h):
    """That of the posterior."""
    c = 0.5 * (posterior.before(z).tanh() + h)
    return posterior.loc(c), (1e-6 + softplus(posterior.variance(c))).sqrt()


def test_draws_and_densities_are_those_of_the_equations():
    """Joined layers and what is computed for all steps at once change no number or gradient."""
    torch.manual_seed(0)
    x, lengths = padded_series()
    vae = pvae.build(SHAPE, T * L, likelihood=Padded, **PARTS).double()
    x = x.double()

    def by_hand():
        h = torch.cat([raw.unflatten(-1, (T, -1)) for raw in vae.posterior.raw(x)], -1)
        z = vae.posterior.start.expand(len(x), L)
        states, log_q, log_p = [], 0, 0
        for t in range(T):
            p = gated(vae.prior, z) if t else (torch.zeros_like(z), torch.ones_like(z))
            q = combiner(vae.posterior, z, h[:, t])
            if t:
                pads = (t >= lengths)[:, None]
                q = [torch.where(pads, a, b) for a, b in zip(p, q, strict=True)]
            z = q[0] + q[1] * torch.randn_like(q[0])
            log_q = log_q + Normal(*q).log_prob(z).sum(-1)
            log_p = log_p + Normal(*p).log_prob(z).sum(-1)
            states.append(z)
        return torch.cat(states, -1), log_q, log_p

    def by_parts():
        q = vae.encode(x)
        z = q.rsample()
        return z, q.log_prob(z), vae.p_z().log_prob(z)

    found = []
    for call in (by_hand, by_parts):
        torch.manual_seed(1)
        z, log_q, log_p = call()
        loss = (z.sin().sum(-1) + 2 * log_q - log_p).sum()
        parameters = [*vae.prior.parameters(), *vae.posterior.parameters()]
        found.append([z, log_q, log_p, *torch.autograd.grad(loss, parameters)])
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-11)


def test_steps_that_pad_add_nothing_to_the_divergence():
    """The latents that no datum tells of follow the prior, as under the exact posterior."""
    torch.manual_seed(0)
    x, lengths = padded_series()
    vae = pvae.build(SHAPE, T * L, likelihood=Padded, **PARTS)
    with torch.no_grad():
        q, p = vae.encode(x), vae.p_z()
        z = q.rsample()
        found = q.log_prob(z) - p.log_prob(z)
        # By hand, of the steps before the end.
        steps = z.unflatten(-1, (T, L))
        h = torch.cat([raw.unflatten(-1, (T, -1)) for raw in vae.posterior.raw(x)], -1)
        own = combiner(vae.posterior, steps[:, :-1], h[:, 1:])
        before = gated(vae.prior, steps[:, :-1])
        each = [Normal(*pair).log_prob(steps[:, 1:]).sum(-1) for pair in (own, before)]
        later = (each[0] - each[1]) * (1 + torch.arange(T - 1) < lengths[:, None])
        first = Normal(q.loc, q.scale).log_prob(steps[:, 0]) - Normal(0, 1).log_prob(steps[:, 0])
    torch.testing.assert_close(found, first.sum(-1) + later.sum(-1))
    copied = copy.deepcopy(vae)
    assert copied.posterior._prior[0] is copied.prior
    assert not [name for name in vae.posterior.state_dict() if "prior" in name]


def test_padded_sequences_with_labels():
    x, _ = padded_series(8)
    parts = PARTS | {"likelihood": Padded, "conditional": True, "classes": 4}
    vae = pvae.build(SHAPE, T * L, **parts)
    torch.manual_seed(0)
    assert vae.encode(x, torch.arange(8) % 4).sample().isfinite().all()


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
    drawn = {path.stem for path in gallery.plot(Run(tmp_path / "run"), vae, data)}
    assert drawn >= {"reconstructions", "samples", "interpolations"}
    mask = torch.ones(SHAPE, dtype=torch.bool)
    found = pvae.evaluation.impute(vae, padded[:5], mask, num_samples=50, progress=False)
    torch.testing.assert_close(
        torch.where(padded[:5].isnan(), padded[:5], found.x), padded[:5], equal_nan=True
    )
    assert found.x.isfinite().all()  # the padding is imputed
    # Other networks are given zeros.
    plain = pvae.build(SHAPE, 2, likelihood=likelihood, network=partial(MLP, hidden=[8]))
    assert plain.encode(padded).mean.isfinite().all()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: pvae.build(SHAPE, 7, **PARTS), "latent_dim is 7 and state_dim 2"),
        (lambda: pvae.build(SHAPE, 14, **PARTS), "latent_dim=12, or state_dim=None"),
        (
            lambda: pvae.build(SHAPE, 14, **PARTS | {"network": MLP}),
            "Sequences of 6 steps need as many",
        ),
        (lambda: pvae.build((1, 8, 8), 12, **PARTS), "GRU joins a sequence (T, D) and a code"),
        (lambda: pvae.build((0, 3), 12, **PARTS), "event_shape is (0, 3)"),
        (
            lambda: pvae.build(SHAPE, 12, **PARTS | {"prior": StateSpace}),
            "Sequences of 6 steps need as many states, and StateSpace has 12",
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
            lambda: pvae.build(SHAPE, 12, likelihood=Padded, **PARTS).encode(X * torch.nan),
            "Sequence 0 has length 0",
        ),
        (lambda: pvae.data.load(X), "give event_shape=(6, 3) for sequences"),
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


@pytest.mark.parametrize("likelihood", [Gaussian, Padded])
def test_compiled_steps_are_those_of_svi(likelihood):
    x, _, _ = seasonal(n=7, steps=3)
    if likelihood is Padded:
        x[:4, 1:] = torch.nan
    losses = []
    for inference in (pyro.infer.SVI, partial(CompiledSVI, compile=True, backend="graph")):
        vae = pvae.build(x.shape[1:], 3 * L, likelihood=likelihood, **PARTS)
        optim = Optimizer(vae.parameters(), partial(torch.optim.Adam, lr=1e-2))
        svi = inference(vae.model, vae.guide, optim, pyro.infer.Trace_ELBO())
        pyro.set_rng_seed(0)
        losses.append([svi.step(x) for _ in range(3)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
