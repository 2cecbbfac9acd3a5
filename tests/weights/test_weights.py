"""Uncertain weights, against closed forms."""

import copy
import itertools
import math
import pickle
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import (
    AutoDelta,
    AutoIAFNormal,
    AutoLaplaceApproximation,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
)
from pyro.infer.mcmc.util import initialize_model
from torch import nn
from torch.distributions import MultivariateNormal
from torch.distributions.transforms import identity_transform

import pvae
from pvae.evaluation import anomaly_score, log_likelihood, weight_error
from pvae.evaluation.importance import error_by_weights
from pvae.inference import CompiledSVI, Optimizer
from pvae.training.hessian import approximate
from pvae.weights import (
    SGHMC,
    Horseshoe,
    Laplace,
    Normal,
    Weights,
    WithWeights,
    ensemble,
    over_weights,
)
from tests.composition import LIKELIHOODS, Cell, build
from tests.composition import POSTERIORS as POSTERIORS_OF_Z
from tests.composition import PRIORS as PRIORS_OF_Z
from tests.evidence_cases import LabelledLinearGaussian, LinearGaussian
from tests.objectives_cases import OBJECTIVES, event_of, objective_for

NOISE, SCALE, N, D = 0.7, 1.5, 12, 3
NETWORK = partial(pvae.networks.MLP, hidden=[8])


class Linear(nn.Module):
    """p(x|z, y) = N(w y, noise²), which does not depend on z."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(D))

    def forward(self, zy):
        return dist.Normal((zy[..., 1:] @ self.w).unsqueeze(-1), NOISE).to_event(1)


class PriorItself(nn.Module):
    """q(z|x) = N(0, 1)."""

    def forward(self, x):
        zero = x.new_zeros(*x.shape[:-1], 1)
        return dist.Normal(zero, torch.ones_like(zero)).to_event(1)


class Regression:
    """Bayesian linear regression as a conditional VAE: posterior and evidence in closed form."""

    def __init__(self, posterior, seed=0, **options):
        g = torch.Generator().manual_seed(seed)
        self.y = torch.randn(N, D, generator=g, dtype=torch.float64)
        self.true = SCALE * torch.randn(D, generator=g, dtype=torch.float64)
        noise = torch.randn(N, generator=g, dtype=torch.float64)
        self.x = (self.y @ self.true + NOISE * noise).unsqueeze(-1)
        eye = torch.eye(N, dtype=torch.float64)
        covariance = SCALE**2 * self.y @ self.y.T + NOISE**2 * eye
        zeros = torch.zeros(N, dtype=torch.float64)
        self.evidence = MultivariateNormal(zeros, covariance).log_prob(self.x[:, 0])
        precision = self.y.T @ self.y / NOISE**2 + torch.eye(D, dtype=torch.float64) / SCALE**2
        self.covariance = precision.inverse()
        self.mean = self.covariance @ self.y.T @ self.x[:, 0] / NOISE**2
        labels = pvae.Labels(dim=D)
        prior = pvae.priors.StandardNormal(1)
        self.vae = pvae.VAE(prior, Linear(), PriorItself(), labels, ["likelihood"]).double()
        options = {"prior": partial(Normal, SCALE)} | options
        self.weights = self.vae.weights = Weights(self.vae, posterior=posterior, **options)

    def exact(self):
        """Set the posterior to the exact one."""
        guide = self.weights.guide
        tril = torch.linalg.cholesky(self.covariance)
        guide.loc.data.copy_(self.mean)
        guide.scale = tril.diagonal()
        guide.scale_tril = tril / tril.diagonal().unsqueeze(-1)
        return self

    def arguments(self, order=None, seed=0):
        """As `Batches.arguments`."""
        return zip(self.x.split(5), self.y.split(5), strict=True)

    part = range(N)


def test_the_elbo_of_the_exact_posterior_is_the_evidence_for_every_draw():
    case = Regression(AutoMultivariateNormal).exact()
    for _ in range(3):
        loss = Trace_ELBO().loss(case.vae.model, case.vae.guide, case.x, case.y)
        assert -loss == pytest.approx(case.evidence.item(), abs=1e-9)


EXACT = [
    Trace_ELBO(),
    pvae.objectives.BetaELBO(4.0),
    pvae.objectives.ImportanceWeighted(3),
    pvae.objectives.Warmup(Trace_ELBO(), 10),
]


@pytest.mark.parametrize(
    ("objective", "posterior"),
    # In plain SVI log q(w) is drawn, so that only a point mass has equal losses.
    [(None, AutoDelta), *itertools.product(EXACT, [AutoDelta, AutoNormal])],
)
def test_minibatches_add_up_to_the_whole(objective, posterior):
    case = Regression(posterior, init_scale=1e-9)
    case.weights.observe(N)
    loss = Trace_ELBO() if objective is None else WithWeights(objective, case.weights)
    parts = [loss.loss(case.vae.model, case.vae.guide, *batch) for batch in case.arguments()]
    whole = loss.loss(case.vae.model, case.vae.guide, case.x, case.y)
    assert sum(parts) == pytest.approx(whole, rel=1e-6)
    assert len(parts) == 3


def test_the_kl_of_the_weights_is_exact_and_weighted():
    case = Regression(AutoNormal, kl_weight=0.5)
    case.weights.observe(2 * N)
    case.weights.guide.requires_grad_(False)
    p = dist.Normal(torch.zeros(D), SCALE * torch.ones(D))
    q = dist.Normal(torch.zeros(D), case.weights.guide.scales.likelihood.w.detach())
    _, found = WithWeights(Trace_ELBO(), case.weights)._given(
        case.vae.model, case.vae.guide, (case.x,)
    )
    expected = 0.25 * torch.distributions.kl_divergence(q, p).sum()
    torch.testing.assert_close(found, expected.double())


def test_the_laplace_approximation_of_a_linear_model_is_exact():
    case = Regression(AutoLaplaceApproximation)
    case.weights.guide.loc.data.copy_(case.mean)
    case.weights.observe(N)
    assert approximate(case.vae, WithWeights(Trace_ELBO(), case.weights), case, seed=0) is None
    factor = case.weights.factor
    torch.testing.assert_close(factor @ factor.T, case.covariance)


@pytest.mark.parametrize("prior", [Normal, Laplace])
def test_the_laplace_approximation_is_no_wider_than_the_prior(prior):
    case = Regression(AutoLaplaceApproximation, prior=partial(prior, SCALE), kl_weight=0.5)
    case.y[:, 0] = 0  # so that the data say nothing of this weight
    case.weights.guide.loc.data.copy_(case.mean)
    note = approximate(case.vae, WithWeights(Trace_ELBO(), case.weights), case, seed=0)
    variances = (case.weights.factor @ case.weights.factor.T).diagonal()
    assert variances[0].item() == pytest.approx(SCALE**2 / 0.5)
    assert (variances[1:] < 0.3).all()
    # A normal prior is as narrow everywhere; one of another shape only by what is imposed.
    assert (note is not None and "In 1 of 3" in note) == (prior is Laplace)


def test_draws_of_the_exact_posterior_are_calibrated():
    ranks = []
    pyro.set_rng_seed(0)
    for seed in range(120):
        case = Regression(AutoMultivariateNormal, seed=seed).exact()
        draws = torch.stack([d["likelihood.w"] for d in case.weights.draws(9)])
        ranks.append((draws < case.true).sum(0))
    counts = torch.stack(ranks).flatten().bincount(minlength=10).double()
    expected = counts.sum() / 10
    chi_squared = ((counts - expected).square() / expected).sum()
    assert chi_squared < 27.9  # the 99.9 % quantile for 9 degrees of freedom


def test_the_sampler_samples_the_posterior():
    case = Regression(AutoDelta)
    precision = case.covariance.inverse()
    w = nn.Parameter(case.mean.clone())
    w.data_size = N
    options = {"exploration": 1e-6, "draws_per_cycle": 9_000}
    sampler = SGHMC([w], lr=2e-2, eps=1.0, cycle_steps=20_000, **options)
    pyro.set_rng_seed(0)
    draws = []
    for _ in range(4_000):
        w.grad = precision @ (w.detach() - case.mean) / N
        sampler.step()
        if sampler.is_draw:
            draws.append(w.detach().clone())
    draws = torch.stack(draws)
    deviation = case.covariance.diagonal().sqrt()
    assert ((draws.mean(0) - case.mean).abs() < 0.4 * deviation).all()
    ratio = draws.T.cov().diagonal() / deviation.square()
    assert ((ratio > 0.6) & (ratio < 1.6)).all()


@pytest.mark.parametrize("prior", [Normal, Horseshoe])
def test_a_sampler_moves_on_the_density_of_unconstrained_weights(prior):
    weights = Regression(AutoDelta, prior=prior, draws=2).weights
    _, potential, transforms, _ = initialize_model(weights.model)
    medians = weights.guide.median()
    u = {name: transforms.get(name, identity_transform)(w) for name, w in medians.items()}
    vae = pvae.build((6,), 2)
    _, found = WithWeights(Trace_ELBO(), weights)._given(vae.model, vae.guide, (torch.ones(4, 6),))
    torch.testing.assert_close(found, potential(u))


def test_draws_are_left_at_the_end_of_a_cycle():
    w = nn.Parameter(torch.zeros(2))
    sampler = SGHMC([w], cycle_steps=10, exploration=0.4, draws_per_cycle=3)
    left = []
    for step in range(1, 21):
        w.grad = torch.ones(2)
        sampler.step()
        left += [step] if sampler.is_draw else []
    assert left == [6, 8, 10, 16, 18, 20]
    every = SGHMC([w], cycle_steps=1000, exploration=0.9, draws_per_cycle=100)
    every.param_groups[0]["steps"] = 901
    assert every.is_draw


def shifted(case, shift):
    """A VAE of the same model whose data are shifted, with its exact posterior."""
    case.vae.arguments = {}  # which refer to the case, and it to them
    vae = copy.deepcopy(case.vae)
    likelihood, encoder = vae.likelihood.network, vae.posterior.network
    with torch.no_grad():
        likelihood.bias += shift
        encoder.bias[: len(case.gain)] -= case.gain @ (shift * torch.ones_like(case.bias))
    return vae


def test_an_ensemble_averages_its_members():
    case = LinearGaussian()
    shifts = (-0.5, 0.0, 1.0)
    vae = ensemble([shifted(case, shift) for shift in shifts])
    x = case.sample(20)
    exact = torch.stack([case.evidence.log_prob(x - shift) for shift in shifts])
    found = log_likelihood(vae, x, num_samples=2, progress=False)
    torch.testing.assert_close(found.over_weights, exact.T)
    torch.testing.assert_close(found.log_prob, exact.logsumexp(0) - torch.tensor(3.0).log())
    relative = exact.softmax(0) * 3
    torch.testing.assert_close(weight_error(found.over_weights), relative.std(0) / 3**0.5)
    assert (found.standard_error < 1e-6).all()
    of_mean = relative.mean(1).std().item() / 3**0.5
    assert error_by_weights(found.over_weights) == pytest.approx(of_mean)
    assert f"± {of_mean:.3f} (weights)" in repr(found)
    scores = {
        "expected": -exact.mean(0),
        "waic": exact.var(0) - exact.mean(0),
        "disagreement": -1 / exact.softmax(0).square().sum(0),
    }
    for correction, expected in scores.items():
        options = {"num_samples": 2, "correction": correction, "progress": False}
        scored = anomaly_score(vae, x, **options)
        torch.testing.assert_close(scored.score, expected)
        torch.testing.assert_close(scored.over_weights, found.over_weights)
        torch.testing.assert_close(scored.standard_error, found.standard_error)
    annealed = pvae.evaluation.ais(vae, x[:2], num_chains=8, num_steps=50, progress=False)
    errors = [weight_error(each.over_weights)[:2] for each in (annealed, found)]
    torch.testing.assert_close(*errors, atol=0.2, rtol=0.5)
    # Its own parameters are those of the first member, before and after.
    first = shifted(case, shifts[0])
    assert torch.equal(vae.encode(x).mean, first.encode(x).mean)
    means = torch.stack([shifted(case, shift).reconstruct(x) for shift in shifts])
    torch.testing.assert_close(vae.reconstruct(x), means.mean(0))


def test_data_between_bidirectional_bounds_are_of_each_member():
    case, shifts = LinearGaussian(), (-8.0, 0.0, 8.0)
    vae = ensemble([shifted(case, shift) for shift in shifts])
    found = pvae.evaluation.bidirectional(vae, 12, num_chains=4, num_steps=40, progress=False)
    parts = zip(found.x.split(4), shifts, strict=True)
    exact = torch.cat([case.evidence.log_prob(x - shift) for x, shift in parts])
    assert (found.lower - 1.5 < exact).all()
    assert (exact < found.upper + 1.5).all()
    assert found.gap.mean() < 1.5


def test_an_ensemble_has_the_classifiers_of_its_members():
    cases = [LabelledLinearGaussian(), LabelledLinearGaussian()]
    turned = cases[1].log_p_y.flip(0)
    cases[1].vae.classifier.network.bias.data += turned - cases[1].log_p_y
    cases[1].vae.labels.logits.data = cases[1].log_p_y = turned
    for case in cases:
        case.vae.arguments = {}
    vae, (x, _) = ensemble([case.vae for case in cases]), cases[0].sample(20)
    joint = torch.stack([case.joint(x) for case in cases])
    torch.testing.assert_close(vae.classify(x).probs, joint.softmax(-1).mean(0))
    mean = joint.logsumexp(0) - torch.tensor(2.0).log()
    found = pvae.evaluation.classify(vae, x, num_samples=2, progress=False)
    torch.testing.assert_close(found.log_joint, mean)
    without = log_likelihood(vae, x, num_samples=2, progress=False).over_weights
    torch.testing.assert_close(without, joint.logsumexp(-1).T)


def test_few_draws_of_a_chain_are_any_of_it():
    members = [pvae.build((6,), 2, network=NETWORK, seed=seed) for seed in range(5)]
    weights, name = ensemble(members).weights, "likelihood.network.layers.1.weight"
    values = [vae.get_parameter(name) for vae in members]

    def chosen(n):
        return [next(i for i in range(5) if d[name].equal(values[i])) for d in weights.draws(n)]

    torch.manual_seed(0)
    for n in (1, 2, 3):
        counts = torch.tensor([i for _ in range(400) for i in chosen(n)]).bincount(minlength=5)
        assert ((counts - 80.0 * n).abs() < 4 * (80 * n) ** 0.5).all()
    assert chosen(5) == chosen(9) == [0, 1, 2, 3, 4]


def test_the_variance_of_x_is_that_of_weights_latents_and_noise():
    case = LinearGaussian()
    shifts = torch.tensor([-0.5, 0.0, 1.0], dtype=torch.float64)
    vae = ensemble([shifted(case, shift) for shift in shifts])
    x = case.sample(4)
    found = pvae.evaluation.predictive(vae, x, num_samples=4000, progress=False)
    # E[x'|x, w] = W gain (x - b) + b.
    ones = torch.ones(len(case.bias), dtype=torch.float64)
    kept = ones - case.weight @ case.gain @ ones
    between = kept.square() * shifts.var(correction=0)
    torch.testing.assert_close(found.weights, between.expand_as(x), rtol=0.1, atol=0.01)
    latents = (case.weight @ case.covariance @ case.weight.T).diagonal()
    torch.testing.assert_close(found.latents, latents.expand_as(x), rtol=0.1, atol=0.01)
    torch.testing.assert_close(found.noise, torch.full_like(x, case.noise**2))
    assert found.mean.shape == x.shape


def test_the_variance_of_samples_is_that_of_weights_latents_and_noise():
    case = LinearGaussian()
    shifts = torch.tensor([-0.5, 0.0, 1.0], dtype=torch.float64)
    vae = ensemble([shifted(case, shift) for shift in shifts])
    found = pvae.evaluation.predictive(vae, num_samples=20_000)
    size = (1, len(case.bias))
    expected = (case.bias + shifts.mean()).expand(size)
    torch.testing.assert_close(found.mean, expected, rtol=0, atol=0.05)
    between = shifts.var(correction=0).expand(size)
    torch.testing.assert_close(found.weights, between)  # z has the same draws for all weights
    latents = (case.weight @ case.weight.T).diagonal().expand(size)
    torch.testing.assert_close(found.latents, latents, rtol=0.05, atol=0.0)
    torch.testing.assert_close(found.noise, torch.full(size, case.noise**2).double())


@pytest.mark.parametrize("y", [None, 1])
def test_the_variance_of_samples_with_labels(y):
    vae = pvae.build(
        (5,), 2, conditional=True, classes=3, classifier=pvae.classifiers.Softmax, weights=Weights
    )
    found = pvae.evaluation.predictive(vae, y=y, num_samples=7, num_weights=2)
    assert all(each.shape == (1, 5) for each in found)
    assert all((each >= 0).all() for each in found)


def test_the_predictive_density_of_an_uncertain_bias():
    case = LinearGaussian(observed=3)
    data, x = case.sample(15), case.sample(6, seed=1)
    vae = case.vae
    vae.weights = Weights(
        vae,
        parts=["likelihood.network.bias"],
        prior=partial(Normal, 2.0),
        posterior=AutoMultivariateNormal,
    )
    within = case.evidence.covariance_matrix
    precision = len(data) * within.inverse() + torch.eye(3, dtype=torch.float64) / 4
    covariance = precision.inverse()
    mean = covariance @ within.inverse() @ data.sum(0)
    tril, guide = torch.linalg.cholesky(covariance), vae.weights.guide
    guide.loc.data.copy_(mean)
    guide.scale = tril.diagonal()
    guide.scale_tril = tril / tril.diagonal().unsqueeze(-1)
    vae.weights.center(vae)
    torch.testing.assert_close(vae.likelihood.network.bias.detach(), mean)
    exact = MultivariateNormal(mean, within + covariance).log_prob(x)
    found = log_likelihood(vae, x, num_weights=300, num_samples=300, progress=False)
    by_weights = weight_error(found.over_weights)
    error = (by_weights.square() + (found.over_weights.std(1) / 300**0.5).square()).sqrt()
    assert ((found.log_prob - exact).abs() < 4 * error + 0.02).all()


POSTERIORS = {
    "AutoNormal": AutoNormal,
    "low rank": partial(AutoLowRankMultivariateNormal, rank=2),
    "MAP": AutoDelta,
    "Laplace": AutoLaplaceApproximation,
}
PRIORS = {"normal": Normal, "Laplace": partial(Laplace, 2.0), "horseshoe": Horseshoe}


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("posterior", POSTERIORS)
def test_the_posterior_begins_at_the_weights_of_the_networks(prior, posterior):
    plain = pvae.build((6,), 2, network=NETWORK)
    weights = partial(Weights, prior=PRIORS[prior], posterior=POSTERIORS[posterior])
    vae = pvae.build((6,), 2, network=NETWORK, weights=weights)
    vae.weights.center(vae)
    for name in vae.weights.names:
        torch.testing.assert_close(vae.get_parameter(name).detach(), plain.get_parameter(name).data)
    vae.weights.observe(100)
    x = torch.ones(4, 6)
    for loss in (Trace_ELBO(), WithWeights(pvae.objectives.FreeBits(0.1), vae.weights)):
        svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 0.01}), loss)
        before = [p.clone() for p in vae.weights.guide.parameters()]
        svi.step(x)
        after = list(vae.weights.guide.parameters())
        assert not any(map(torch.equal, before, after))
    with over_weights(vae, 3, seed=0) as draws:
        values = [use().likelihood.network.output_bias.clone() for use in draws]
    assert len(values) == 3
    assert torch.equal(values[0], values[1]) == (posterior in ("MAP", "Laplace"))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_is_one_given_the_weights(name):
    weights = partial(Weights, posterior=AutoDelta)
    event = event_of(OBJECTIVES[name], (6,))
    vae = pvae.build(event, 2, network=NETWORK, weights=weights)
    vae.weights.observe(40)
    objective, x = objective_for(OBJECTIVES[name], event), torch.ones(4, *event)
    composed = WithWeights(objective, vae.weights)
    composed.loss(vae.model, vae.guide, x)  # finds the plates
    pyro.set_rng_seed(0)
    found = composed.loss(vae.model, vae.guide, x)
    _, divergence = composed._given(vae.model, vae.guide, (x,))
    vae.weights.fixed = True
    pyro.set_rng_seed(0)
    given = objective.loss(vae.model, vae.guide, x)
    assert found == pytest.approx(given + divergence.item(), rel=1e-5)


def compatible(kind, name):
    """The first compatible cell of a part."""
    cells = (Cell(*pair) for pair in itertools.product(PRIORS_OF_Z, POSTERIORS_OF_Z))
    return next(c for c in cells if c.compatible and getattr(c, kind) == name)


@pytest.mark.parametrize(
    "cell",
    [
        *(compatible("prior", name) for name in PRIORS_OF_Z),
        *(compatible("posterior", name) for name in POSTERIORS_OF_Z),
        *(Cell(likelihood=name) for name in LIKELIHOODS),
    ],
    ids=lambda cell: "-".join(cell[:3]),
)
def test_the_weights_of_every_part_may_be_uncertain(cell):
    pyro.set_rng_seed(0)
    plain = build(cell)
    parts = [p for p in ("prior", "likelihood", "posterior") if [*getattr(plain, p).parameters()]]
    vae = build(cell, weights=partial(Weights, parts=parts))
    vae.weights.observe(50)
    x = vae.sample(4, draw=True)
    objective = WithWeights(Trace_ELBO(), vae.weights)
    optim = Optimizer(vae.parameters(), torch.optim.Adam)
    assert math.isfinite(SVI(vae.model, vae.guide, optim, objective).step(x))
    vae.weights.center(vae)
    assert vae.reconstruct(x).shape == x.shape


def test_particles_share_a_draw_of_the_weights():
    case = Regression(AutoNormal)
    guide, found = case.weights.guide, []
    for vectorized in (False, True):
        loss = Trace_ELBO(num_particles=3, vectorize_particles=vectorized)
        objective = WithWeights(loss, case.weights)
        objective.loss(case.vae.model, case.vae.guide, case.x, case.y)  # finds the plates
        pyro.set_rng_seed(0)
        guide.zero_grad()
        total = objective.loss_and_grads(case.vae.model, case.vae.guide, case.x, case.y)
        found.append(torch.tensor([total, *(p.grad.sum() for p in guide.parameters())]))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("posterior", [AutoNormal, AutoLaplaceApproximation])
def test_a_copy_and_its_original_train_apart(posterior):
    vae = pvae.build((6,), 2, network=NETWORK, weights=partial(Weights, posterior=posterior))
    twins = [vae, copy.deepcopy(vae), pickle.loads(pickle.dumps(vae))]
    for twin in twins:
        others = [p.clone() for other in twins if other is not twin for p in other.parameters()]
        objective = WithWeights(Trace_ELBO(), twin.weights)
        before = [p.clone() for p in twin.weights.guide.parameters()]
        optim = pyro.optim.Adam({"lr": 0.01})
        SVI(twin.model, twin.guide, optim, objective).step(torch.ones(4, 6))
        assert not any(map(torch.equal, before, twin.weights.guide.parameters()))
        same = [p for other in twins if other is not twin for p in other.parameters()]
        assert all(map(torch.equal, others, same))
        twin.weights.center(twin)
        assert twin.sample(2).isfinite().all()


def test_compiled_steps_are_those_of_svi():
    losses = []
    for cls, options in ((SVI, {}), (CompiledSVI, {"backend": "graph", "compile": True})):
        weights = partial(Weights, parts=["likelihood", "posterior"])
        vae = pvae.build((6,), 2, network=NETWORK, weights=weights)
        vae.weights.observe(100)
        objective = WithWeights(pvae.objectives.ImportanceWeighted(3), vae.weights)
        optim = Optimizer(vae.parameters(), torch.optim.Adam)
        svi = cls(vae.model, vae.guide, optim, objective, **options)
        pyro.set_rng_seed(0)
        losses.append([svi.step(torch.ones(4, 6)) for _ in range(3)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


ERRORS = {
    "unknown part": (partial(Weights, parts=["decoder"]), ValueError, "'decoder' is unknown"),
    "no parameters": (partial(Weights, parts=["prior"]), ValueError, "'prior' has no parameters"),
    "no medians": (
        partial(Weights, posterior=AutoIAFNormal),
        ValueError,
        "AutoIAFNormal has no me",
    ),
    "no parts": (partial(Weights, parts=[]), ValueError, "parts is empty"),
    "no autoguide": (partial(Weights, posterior=Normal), TypeError, "class of pyro.infer.autogui"),
    "no prior": (partial(Weights, prior=nn.Identity), TypeError, "class of pvae.weights"),
    "scale 0": (partial(Weights, prior=partial(Normal, 0)), ValueError, "scale is 0"),
    "no scale": (partial(Weights, prior=partial(Normal, {"prior": 1.0})), ValueError, "no entry"),
    "init_scale 0": (partial(Weights, init_scale=0.0), ValueError, "init_scale is 0"),
    "kl_weight": (partial(Weights, kl_weight=0), ValueError, "kl_weight is 0"),
    "draws": (partial(Weights, draws=-1), ValueError, "draws"),
    "draws of a density": (partial(Weights, draws=2), ValueError, "posterior=AutoDelta only"),
    "no weights": (Normal(), TypeError, "pvae.weights.Weights"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_a_wrong_argument_is_one_sentence(case):
    factory, kind, said = ERRORS[case]
    with pytest.raises(kind, match=said) as error:
        pvae.build((6,), 2, network=NETWORK, weights=factory)
    assert len(str(error.value)) <= 300


def test_other_misuse_is_one_sentence():
    vae = pvae.build((6,), 2, network=NETWORK, weights=Weights)
    x = torch.ones(4, 6)
    for loss, sentence in {
        pvae.objectives.FreeBits(0.1): "FreeBits would take the weights likelihood",
        pvae.objectives.ImportanceWeighted(3): "all weights once for each particle",
    }.items():
        with pytest.raises(ValueError, match=sentence):
            loss.loss(vae.model, vae.guide, x)
    with pytest.raises(ValueError, match="parts of at most 3,000 weights"):
        pvae.build((9999,), 2, weights=partial(Weights, posterior=AutoLaplaceApproximation))
    plain = pvae.build((6,), 2, network=NETWORK)
    with pytest.raises(ValueError, match="draws of uncertain weights"):
        anomaly_score(plain, x, correction="waic")
    with pytest.raises(ValueError, match="at least two"):
        ensemble([plain])
    with pytest.raises(ValueError, match="differ in their parts"):
        ensemble([plain, pvae.build((6,), 3, network=NETWORK)])
    for name, value in {
        "lr": 0,
        "momentum": 1.0,
        "temperature": -1,
        "draws_per_cycle": 999,
    }.items():
        with pytest.raises(ValueError, match=name):
            SGHMC([nn.Parameter(torch.zeros(1))], **{name: value})
