import math
from functools import partial

import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.distributions import biject_to

import pvae
from pvae.evaluation.ais import ACCEPTANCE, Path, ais, bidirectional
from pvae.evaluation.batching import counted, rows_within
from pvae.evaluation.unconstrained import latents
from tests.evidence_cases import Discrete, LinearGaussian

SMALL = {"network": partial(pvae.networks.MLP, hidden=[8])}
QUICK = {"num_steps": 12, "num_leapfrog": 2, "progress": False}


def sharpened(vae):
    """A decoder under which x depends on z, although it is untrained."""
    for p in vae.likelihood.parameters():
        p.data.mul_(2)
    return vae.double()


def by_importance(vae, x, y=None, samples=20_000):
    """log p(x) and its standard error by draws from the prior."""
    with vae.evaluating():
        prior = vae.p_z(y)
        z = prior.expand((samples, len(x))).sample()
        log_w = vae.decode(z, y, like=x).log_prob(x)
    found = log_w.logsumexp(0) - math.log(samples)
    return found, (log_w - found).exp().std(0) / samples**0.5


def agree(found, vae, x, y=None, room=0.0):
    truth, error = by_importance(vae, x, y)
    error = (found.standard_error**2 + error**2).sqrt()
    assert ((found.log_prob - truth).abs() < 4 * error + room).all()


@pytest.mark.parametrize("latent_dim", [1, 2])
def test_within_its_error_of_the_evidence(latent_dim):
    case = LinearGaussian(latent_dim, noise=0.8)
    x = case.sample(20)
    found = ais(case.vae, x, num_chains=64, num_steps=60, num_leapfrog=4, progress=False)
    wrong = found.log_prob - case.evidence.log_prob(x)
    assert (wrong.abs() < 5 * found.standard_error).all()
    assert 0.6 < (wrong / found.standard_error).square().mean().sqrt() < 1.5
    assert wrong.mean() < 4 * found.standard_error.mean() / len(x) ** 0.5
    assert found.standard_error.max() < 0.3
    assert (found.effective_sample_size > 15).all()
    assert (found.effective_sample_size <= 64).all()
    assert ((found.acceptance - ACCEPTANCE).abs() < 0.1).all()


def test_without_temperatures_between_it_is_the_mean_likelihood_of_prior_draws():
    case = LinearGaussian(1, noise=1.0)
    x = case.sample(3)
    found = ais(case.vae, x, num_chains=20_000, num_steps=1, progress=False)
    wrong = found.log_prob - case.evidence.log_prob(x)
    assert (wrong.abs() < 4 * found.standard_error).all()
    assert (found.acceptance == 0).all()


def test_an_integral_over_a_grid():
    torch.manual_seed(0)
    vae = sharpened(pvae.build((6,), 1, **SMALL))
    x = vae.sample(8, seed=0, draw=True)
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        joint = vae.p_z().log_prob(z)[:, None] + vae.decode(z[:, None]).log_prob(x)
    truth = joint.logsumexp(0) + (z[1] - z[0]).log()
    found = ais(vae, x, num_chains=64, **QUICK)
    assert ((found.log_prob - truth).abs() < 4 * found.standard_error).all()
    assert found.standard_error.max() < 0.1


def test_one_chain_is_a_loose_bound_of_an_unbiased_weight():
    case = LinearGaussian(2, noise=0.5)
    x = case.sample(1).expand(400, -1)
    few = ais(case.vae, x, num_chains=1, num_steps=10, progress=False)
    wrong = few.log_prob - case.evidence.log_prob(x)
    assert wrong.mean() < -4 * wrong.std() / 20
    weight = wrong.exp()  # of mean 1
    assert (weight.mean() - 1).abs() < 4 * weight.std() / 20
    assert few.standard_error.isnan().all()
    assert (few.effective_sample_size - 1).abs().max() < 1e-9


def test_bounds_straddle_the_evidence_and_close_as_temperatures_grow():
    case = LinearGaussian(2, noise=0.3)
    gaps = []
    for num_steps in (8, 24, 72):
        path = {"num_steps": num_steps, "num_leapfrog": 4}
        found = bidirectional(case.vae, 50, num_chains=8, progress=False, **path)
        assert found.x.shape == (50, 5)
        assert torch.equal(found.gap, found.upper - found.lower)
        truth = case.evidence.log_prob(found.x)
        for short in (truth - found.lower, found.upper - truth):
            assert short.mean() > -2 * short.std() / 50**0.5
        gaps.append(found.gap.mean().item())
    assert gaps[0] > 3 * gaps[1] > 6 * gaps[2]
    assert gaps[2] < 1


def test_reverse_weights_are_unbiased():
    """E[p(x) w'] = 1 for every datum, when its chain starts at an exact posterior sample."""
    case = LinearGaussian(1, noise=0.7)
    found = bidirectional(case.vae, 2000, num_chains=1, num_steps=8, progress=False)
    weight = (case.evidence.log_prob(found.x) - found.upper).exp()
    assert (weight.mean() - 1).abs() < 4 * weight.std() / 2000**0.5
    # x are draws from the model.
    z = (found.x - case.bias) @ torch.linalg.inv(case.evidence.scale_tril).T
    assert (z.mean(0).abs() < 4 / 2000**0.5).all()
    assert ((z.var(0) - 1).abs() < 4 * (2 / 2000) ** 0.5).all()


@pytest.mark.parametrize("t", [3, 10])
def test_transitions_keep_their_distribution(t):
    case = LinearGaussian(2, noise=0.8)
    x = case.sample(1)
    with case.vae.evaluating():
        path = Path(case.vae, x, None, x, num_steps=10, num_leapfrog=4)
        beta = path.betas[t]
        precision = torch.eye(2).double() + beta * case.weight.T @ case.weight / case.noise**2
        mean = torch.linalg.solve(
            precision, beta * case.weight.T @ (x - case.bias)[0] / case.noise**2
        )
        target = dist.MultivariateNormal(mean, precision_matrix=precision)
        path.steps[t] = 1.2 * precision.inverse().diagonal().min().sqrt()
        here = path.point(target.sample((20_000, 1)))
        there, acceptance = path.transition(here, t)
    assert 0.3 < acceptance.mean() < 0.97
    assert not torch.equal(there.u, here.u)
    whitened = (there.u[:, 0] - mean) @ torch.linalg.cholesky(precision)
    torch.testing.assert_close(whitened.mean(0), torch.zeros(2).double(), atol=0.03, rtol=0)
    torch.testing.assert_close(whitened.T.cov(), torch.eye(2).double(), atol=0.04, rtol=0)
    # The values carried along equal those computed again.
    for kept, computed in zip(there, path.point(there.u), strict=True):
        torch.testing.assert_close(kept, computed)


PRIORS = {
    "laplace": (pvae.priors.Laplace, pvae.posteriors.DiagonalNormal),
    "mixture": (partial(pvae.priors.Mixture, components=3), pvae.posteriors.DiagonalNormal),
    "flow": (partial(pvae.priors.Flow, layers=2, hidden=[8]), pvae.posteriors.DiagonalNormal),
    "sphere": (pvae.priors.Hyperspherical, pvae.posteriors.PowerSpherical),
    "sphere, unevenly": (
        partial(pvae.priors.VampPrior, components=3),
        pvae.posteriors.PowerSpherical,
    ),
    "ball": (pvae.priors.WrappedNormal, pvae.posteriors.WrappedNormal),
    "nested": (partial(pvae.priors.Nested, hidden=(8,)), pvae.posteriors.DiagonalNormal),
    "nested twice": (
        partial(pvae.priors.Nested, hidden=(8,), prior=partial(pvae.priors.Nested, hidden=(8,))),
        pvae.posteriors.DiagonalNormal,
    ),
    "nested, positive": (
        partial(pvae.priors.Nested, hidden=(8,), likelihood=pvae.likelihoods.Gamma),
        lambda *a, **k: Positive(*a, **k),
    ),
}


class Positive(pvae.posteriors.DiagonalNormal):
    def forward(self, x):
        q = super().forward(x).base_dist
        return dist.LogNormal(q.loc, q.scale).to_event(1)


@pytest.mark.parametrize("kind", PRIORS)
def test_any_continuous_prior(kind):
    torch.manual_seed(0)
    prior, posterior = PRIORS[kind]
    vae = sharpened(pvae.build((6,), 3, prior=prior, posterior=posterior, **SMALL))
    found = bidirectional(vae, 4, num_chains=16, **QUICK)
    assert found.gap.abs().max() < 1
    agree(ais(vae, found.x, num_chains=16, **QUICK), vae, found.x)


@pytest.mark.parametrize("kind", PRIORS)
def test_latents_as_real_vectors(kind):
    torch.manual_seed(0)
    prior, posterior = PRIORS[kind]
    vae = pvae.build((6,), 3, prior=prior, posterior=posterior, **SMALL).double()
    with vae.evaluating():
        base, p = latents(vae), vae.p_z()
        u = base.sample((20_000,))
        z = base.z(u)
        assert u.shape == (20_000, base.dim)
        assert p.support.check(z).all()
        # They are draws from the prior, and their density is normalized: E[q / p] = 1 for any q.
        direct = p.sample((20_000,))
        scale = direct.std(0) / 20_000**0.5
        assert ((z.mean(0) - direct.mean(0)).abs() < 6 * scale).all()
        q = dist.MultivariateNormal(u.mean(0), 0.5 * u.T.cov())
        ratio = (q.log_prob(u) - base.log_prob(u)).exp()
    assert (ratio.mean() - 1).abs() < 5 * ratio.std() / 20_000**0.5
    assert ratio.std() < 20


def test_a_positive_latent_is_one_to_one():
    with torch.no_grad():
        vae = pvae.VAE(Gamma(), pvae.likelihoods.Bernoulli(2, (6,)), Positive((6,), 2))
        base, p = latents(vae), vae.p_z()
    u = torch.randn(5, 2)
    transform = biject_to(p.support)
    torch.testing.assert_close(base.z(u), transform(u))
    torch.testing.assert_close(base.log_prob(u), p.log_prob(u.exp()) + u.sum(-1))


class Gamma(nn.Module):
    def forward(self):
        return dist.Gamma(2.0 * torch.ones(2), 1.0).to_event(1)


@pytest.mark.parametrize("seen", [("likelihood", "posterior"), ("prior", "likelihood")])
def test_given_labels(seen):
    torch.manual_seed(0)
    vae = sharpened(pvae.build((6,), 2, conditional=seen, classes=3, **SMALL))
    if "prior" in seen:
        for p in vae.prior.parameters():
            p.data.normal_(0, 0.1)
    y = torch.tensor([0, 1, 2, 1])
    drawn = bidirectional(vae, 4, y, num_chains=16, **QUICK)
    found = ais(vae, drawn.x, y, num_chains=16, **QUICK)
    agree(found, vae, drawn.x, y)
    # Each datum gets its own label, however the data are split.
    memory = 40 * 0.5 / rows_within(vae, 0.5)  # of the chains of two data
    split = ais(vae, drawn.x, y, num_chains=16, memory=memory, **QUICK)
    agree(split, vae, drawn.x, y)
    split = bidirectional(vae, 4, y, num_chains=16, memory=memory, **QUICK)
    assert split.gap.abs().max() < 1


def test_totals_of_counts():
    torch.manual_seed(0)
    likelihood = partial(pvae.likelihoods.NegativeBinomial, exposure="observed")
    vae = sharpened(pvae.build((6,), 2, likelihood=likelihood, **SMALL))
    x = vae.sample(4, seed=0, draw=True) + torch.arange(4).double()[:, None]
    agree(ais(vae, x, num_chains=16, **QUICK), vae, x)
    # Of data that are drawn the total is not observed: bounds are of the model drawn from.
    found = bidirectional(vae, 20, num_chains=16, **QUICK)
    with vae.evaluating():
        log_w = vae.decode(vae.p_z().sample((30_000, 1))).log_prob(found.x)
    truth = log_w.logsumexp(0) - math.log(30_000)
    torch.testing.assert_close((found.lower + found.upper) / 2, truth, atol=0.3, rtol=0)


def test_single_precision_and_a_network_of_images(vae, x):
    found = ais(vae, x, **QUICK)
    assert all(part.dtype == torch.float32 for part in found)
    agree(found, vae, x, room=1e-3)


def test_far_data_and_trajectories_that_diverge():
    case = LinearGaussian(2, noise=0.05)
    x = 100 * case.sample(3)
    found = ais(case.vae.float(), x.float(), num_chains=4, num_steps=20, progress=False)
    assert found.log_prob.isfinite().all()
    assert (found.log_prob < case.evidence.log_prob(x) + 4).all()

    class Overflowing(nn.Module):
        domain = "counts"

        def forward(self, z):
            return dist.Poisson((50 * z).exp()).to_event(1)

    posterior = pvae.posteriors.DiagonalNormal((2,), 2)
    vae = pvae.VAE(pvae.priors.StandardNormal(2), Overflowing(), posterior)
    found = ais(vae, torch.ones(2, 2), num_chains=64, **QUICK)
    assert found.log_prob.isfinite().all()


def test_repeatable_and_bounded_in_memory(monkeypatch):
    case = LinearGaussian(2, noise=0.8)
    x = case.sample(6)
    state = torch.get_rng_state()
    first = ais(case.vae, x, **QUICK)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(ais(case.vae, x, **QUICK).log_prob, first.log_prob)
    assert not torch.equal(ais(case.vae, x, seed=1, **QUICK).log_prob, first.log_prob)
    drawn = bidirectional(case.vae, 6, **QUICK)
    assert torch.equal(bidirectional(case.vae, 6, **QUICK).upper, drawn.upper)
    assert all(p.grad is None and p.requires_grad for p in case.vae.parameters())

    most, whole = 0, Path.point

    def point(self, u):
        nonlocal most
        most = max(most, u.shape[0] * u.shape[1])
        return whole(self, u)

    monkeypatch.setattr(Path, "point", point)
    quick = QUICK | {"num_chains": 9, "num_steps": 6}
    for memory in (0.006, 0.001):  # less than two data at once; less than the chains of one
        rows = rows_within(case.vae, memory)
        most = 0
        found = ais(case.vae, x[:3], memory=memory, **quick)
        assert most == min(rows, 9 * (rows // 9 or 1))
        wrong = found.log_prob - case.evidence.log_prob(x[:3])
        assert (wrong.abs() < 5 * found.standard_error).all()
        most = 0
        bidirectional(case.vae, 3, memory=memory, **quick)
        assert most == min(rows, 9 * (rows // 9 or 1))


def test_one_gradient_for_each_leapfrog_step(monkeypatch):
    case = LinearGaussian(1)
    x = case.sample(2)
    calls, whole = 0, Path.point

    def point(self, u):
        nonlocal calls
        calls += 1
        return whole(self, u)

    monkeypatch.setattr(Path, "point", point)
    ais(case.vae, x, num_steps=7, num_leapfrog=3, progress=False)
    assert calls == 2 * (1 + 6 * 3)


def test_forward_and_reverse_share_their_step_sizes():
    case = LinearGaussian(2)
    x = case.sample(2)
    with case.vae.evaluating():
        path = Path(case.vae, x, None, x, num_steps=30, num_leapfrog=5)
        with counted(60, False) as shown:
            path.adapt(8, shown)
            adapted = path.steps.clone()
            path.run(path.start(8), shown, reverse=True)
            path.run(path.start(8), shown)
    assert torch.equal(path.steps, adapted)
    assert (adapted[29] < adapted[1]).all()
    assert path.betas[0] == 0
    assert path.betas[-1] == 1
    assert path.betas == sorted(path.betas)


def test_bad_arguments(vae, x):
    for name in ("num_chains", "num_steps", "num_leapfrog"):
        for estimate in (partial(ais, vae, x), partial(bidirectional, vae, 2)):
            with pytest.raises(ValueError, match=f"{name} is 0: it must be a whole number"):
                estimate(**{name: 0})
    with pytest.raises(ValueError, match="n is 0"):
        bidirectional(vae, 0)
    with pytest.raises(ValueError, match="memory is 0"):
        ais(vae, x, memory=0)
    with pytest.raises(ValueError, match="expected a batch of shape"):
        ais(vae, x[0])
    toy = Discrete()
    for estimate in (lambda: ais(toy.vae, toy.sample(2)), lambda: bidirectional(toy.vae, 2)):
        with pytest.raises(ValueError, match=r"prior OneHot is not over real .* log_likelihood"):
            estimate()
    prior = partial(pvae.priors.Nested, likelihood=pvae.likelihoods.Bernoulli)
    posterior = pvae.posteriors.RelaxedBernoulli
    nested = pvae.build((6,), 3, prior=prior, posterior=posterior)
    with pytest.raises(ValueError, match="prior Nested is not over real numbers"):
        bidirectional(nested, 2)
    relaxed = pvae.build((6,), 2, likelihood=partial(pvae.likelihoods.Bernoulli, relaxed=True))
    with pytest.raises(ValueError, match="no density"):
        bidirectional(relaxed, 2)
    labelled = pvae.build((6,), 2, conditional=True, classes=3)
    with pytest.raises(ValueError, match="give its labels y"):
        bidirectional(labelled, 2)
    with pytest.raises(ValueError, match=r"y has shape \(3,\): give one label for each of 2"):
        bidirectional(labelled, 2, torch.tensor([0, 1, 2]))
