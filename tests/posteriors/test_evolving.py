"""Posteriors that follow the model: bounds and weights against an evidence that is known."""

import math
from functools import partial

import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO

import pvae
from pvae.inference import Optimizer
from pvae.posteriors import DAIS, DiagonalNormal, Hamiltonian
from tests.evidence_cases import LinearGaussian

KINDS = {
    "Hamiltonian": partial(Hamiltonian, steps=5, step_size=0.1),
    "DAIS": partial(DAIS, steps=5, step_size=0.1),
}


@pytest.fixture(scope="module")
def known():
    """A model whose exact posterior is not of independent normals, and data of it."""
    torch.manual_seed(0)
    linear = LinearGaussian(family=DiagonalNormal, scale=0.7, shift=0.1)
    return linear, linear.evidence.sample((6,))


def follow(linear, kind):
    start = linear.vae.posterior.network
    posterior = KINDS[kind]((5,), 2, network=start).double()
    return pvae.VAE(linear.vae.prior, linear.vae.likelihood, posterior)


def bound(vae, x, n=2000):
    """The ELBO of each datum by draws, and its standard error."""
    with vae.evaluating():
        many = x.expand(n, *x.shape)
        q = vae.encode(many)
        z = q.rsample()
        found = vae.decode(z).log_prob(many) + vae.p_z().log_prob(z) - q.log_prob(z)
    return found.mean(0), found.std(0) / n**0.5


@pytest.mark.parametrize("kind", KINDS)
def test_it_bounds_the_evidence_and_its_weights_are_unbiased(known, kind):
    linear, x = known
    torch.manual_seed(0)
    vae, exact = follow(linear, kind), linear.evidence.log_prob(x)
    lower, error = bound(vae, x)
    assert (lower < exact + 4 * error).all()
    found = pvae.evaluation.log_likelihood(vae, x, num_samples=20_000, progress=False)
    # Where k-hat fails there is no error: a few weights may decide.
    error_of_weights = found.standard_error.nan_to_num(0.05)
    assert ((found.log_prob - exact).abs() < 5 * error_of_weights + 1e-3).all()
    annealed = pvae.evaluation.ais(vae, x, num_chains=16, num_steps=100, progress=False)
    assert (lower < annealed.log_prob + 4 * error + 0.1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_learned(known, kind):
    linear, x = known
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    vae, exact = follow(linear, kind), linear.evidence.log_prob(x)
    vae.likelihood.requires_grad_(False)
    vae.posterior.network.requires_grad_(False)
    before, _ = bound(vae, x)
    optim = Optimizer(
        [p for p in vae.parameters() if p.requires_grad], partial(torch.optim.Adam, lr=3e-2)
    )
    svi = SVI(vae.model, vae.guide, optim, Trace_ELBO())
    for _ in range(80):
        svi.step(x.repeat(8, 1))
    lower, error = bound(vae, x)
    assert (lower > before).all()
    if kind == "DAIS":  # it halves the gap of the normal where it begins
        plain, _ = bound(linear.vae, x)
        assert ((exact - lower) < 0.5 * (exact - plain) + 4 * error).all()


def test_steps_conserve_energy_and_volume(known):
    """Leapfrog steps of Hamilton: small ones change log p(x, z) + log N(v) hardly at all."""
    linear, x = known
    vae = follow(linear, "DAIS")
    posterior = vae.posterior
    torch.nn.init.constant_(posterior.log_step_size, math.log(1e-3))

    def log_joint(z):
        return vae.p_z().log_prob(z) + vae.decode(z).log_prob(x[0])

    def slopes(z):
        return (pvae.posteriors.evolving.slope(log_joint, z),)

    def step(both):
        z, v = both.chunk(2)
        return torch.cat(posterior.leapfrog(z, v, slopes(z), slopes, lambda joint: joint)[:2])

    both = torch.randn(4, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(step, both)
    assert float(jacobian.det()) == pytest.approx(1, abs=1e-9)
    moved = step(both)

    def energy(both):
        return float(log_joint(both[:2]).detach() - both[2:].square().sum().detach() / 2)

    assert energy(moved) == pytest.approx(energy(both), abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_draw_takes_a_gradient_for_each_step_and_one(known, kind):
    linear, x = known
    vae, calls = follow(linear, kind), []
    vae.likelihood.register_forward_hook(lambda *_: calls.append(None))
    vae.encode(x).rsample()
    assert len(calls) == vae.posterior.steps + 1


def test_data_are_as_the_likelihood_has_them():
    x = torch.randint(0, 17, (5, 6)).float()
    for likelihood in (partial(pvae.likelihoods.Binomial, levels=17), pvae.likelihoods.Poisson):
        vae = pvae.build((6,), 2, likelihood=likelihood, posterior=Hamiltonian)
        seen = pvae.posteriors.evolving.unscaled(vae.features(x), vae.likelihood)
        torch.testing.assert_close(seen, x)


@pytest.mark.parametrize("kind", [Hamiltonian, DAIS])
def test_it_is_trained_by_fit(kind):
    """Where the operations of a step are counted, torch's hooks on modules meet its gradients."""
    network = partial(pvae.networks.MLP, hidden=[8])
    vae = pvae.build((6,), 2, posterior=partial(kind, steps=2), network=network)
    x = torch.rand(40, 6) > 0.5
    history = pvae.fit(vae, x, epochs=1, batch_size=20, compile=False, progress=False)
    assert math.isfinite(history["loss"][-1])


def test_what_is_refused():
    with pytest.raises(RuntimeError, match="connect"):
        DAIS((3,), 2)(torch.zeros(3))
    with pytest.raises(ValueError, match="over the same z"):
        pvae.build((3,), 2, pvae.priors.VampPrior, posterior=DAIS)
    with pytest.raises(ValueError, match="over the same z"):
        pvae.build((3,), 2, pvae.priors.Hyperspherical, posterior=DAIS)
    for seen in ("posterior", "likelihood"):
        with pytest.raises(ValueError, match="does not take labels"):
            pvae.build((3,), 2, posterior=DAIS, conditional=[seen], classes=3)
    with pytest.raises(ValueError, match="over the same z"):
        pvae.build((3,), 2, posterior=DAIS, conditional=["prior"], classes=3)
