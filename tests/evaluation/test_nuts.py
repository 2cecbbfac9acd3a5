import importlib
from functools import partial

import pyro
import pytest
import torch
from pyro.infer.mcmc.util import initialize_model

import pvae
from pvae.evaluation.nuts import posterior_samples
from tests.evidence_cases import Discrete, LinearGaussian

SMALL = {"network": partial(pvae.networks.MLP, hidden=[8])}
QUICK = {"num_samples": 40, "warmup_steps": 30, "progress": False}
BRIEF = {"num_samples": 6, "warmup_steps": 3, "progress": False}
MODULE = importlib.import_module("pvae.evaluation.nuts")


@pytest.fixture
def quick_starts(monkeypatch):
    """Have chains start after a short annealing."""
    monkeypatch.setattr(MODULE, "ANNEALING_STEPS", 10)


@pytest.mark.usefixtures("quick_starts")
def test_draws_are_from_the_exact_posterior():
    case = LinearGaussian(2, noise=0.8)
    x = case.sample(2)
    found = posterior_samples(case.vae, x, num_samples=110, warmup_steps=40, progress=False)
    exact = case.posterior(x)
    assert found.z.shape == (2, 220, 2)
    size = found.effective_sample_size[:, None]
    assert (size > 60).all()
    assert ((found.z.mean(1) - exact.mean).abs() < 4 * (exact.variance / size).sqrt()).all()
    for z in found.z:
        whitened = torch.linalg.solve_triangular(
            torch.linalg.cholesky(case.covariance), z.T, upper=False
        )
        room = 5 * (2 / size.min().item()) ** 0.5
        torch.testing.assert_close(whitened.cov(), torch.eye(2).double(), atol=room, rtol=0)
    assert (found.r_hat < 1.05).all()
    assert found.divergences.tolist() == [0, 0]


def test_what_is_sampled_is_the_program(monkeypatch):
    """The energy is that of `vae.model`, which Pyro's NUTS samples too."""

    class Caught(Exception):
        pass

    def catch(potential_fn):
        energies.append(potential_fn)
        raise Caught

    energies = []
    monkeypatch.setattr(MODULE, "NUTS", catch)
    monkeypatch.setattr(MODULE, "ANNEALING_STEPS", 1)
    case = LinearGaussian(2, noise=0.8)
    x = case.sample(1)
    with pytest.raises(Caught):
        posterior_samples(case.vae, x, **QUICK)
    _, program, _, _ = initialize_model(case.vae.model, (x,))
    for z in torch.randn(5, 1, 2).double():
        torch.testing.assert_close(energies[0]({"u": z}), program({"z": z}))


def weighted(vae, x, y=None):
    """E[z|x] and its standard error by draws from the prior."""
    with vae.evaluating():
        z = vae.p_z(y).expand((30_000, len(x))).sample()
        w = vae.decode(z, y, like=x).log_prob(x).softmax(0).unsqueeze(-1)
    mean = (w * z).sum(0)
    return mean, (w * (z - mean)).square().sum(0).sqrt()


@pytest.mark.usefixtures("quick_starts")
@pytest.mark.parametrize("kind", ["sphere", "nested", "given labels"])
def test_any_continuous_prior(kind):
    torch.manual_seed(0)
    parts = {
        "sphere": {
            "prior": pvae.priors.Hyperspherical,
            "posterior": pvae.posteriors.PowerSpherical,
        },
        "nested": {"prior": partial(pvae.priors.Nested, hidden=(8,))},
        "given labels": {"conditional": ["prior", "likelihood"], "classes": 3},
    }
    vae = pvae.build((6,), 3, **parts[kind], **SMALL).double()
    for p in vae.likelihood.parameters():
        p.data.mul_(3)
    y = torch.tensor([2]) if kind == "given labels" else None
    x = vae.sample(1, y=y, seed=0, draw=True)
    found = posterior_samples(vae, x, y, **QUICK)
    assert vae.p_z(y).support.check(found.z).all()
    mean, error = weighted(vae, x, y)
    error = (error**2 + found.z.var(1) / found.effective_sample_size[:, None]).sqrt()
    assert ((found.z.mean(1) - mean).abs() < 4.5 * error).all()


def test_modes_that_one_chain_does_not_reach():
    """Two modes far from each other: chains from the prior find both, and r-hat shows it."""

    class Square(torch.nn.Module):
        domain = "reals"

        def forward(self, z):
            return pyro.distributions.Normal(z.square(), 0.05).to_event(1)

    posterior = pvae.posteriors.DiagonalNormal((1,), 1)
    vae = pvae.VAE(pvae.priors.StandardNormal(1), Square(), posterior)
    x = torch.ones(1, 1)
    found = posterior_samples(vae, x, num_chains=4, seed=1, **QUICK)
    chains = found.z.view(4, -1)
    assert (chains.abs() - 1).abs().max() < 0.2
    assert (chains.sign() == chains[:, :1].sign()).all()
    assert chains[:, 0].unique().sign().unique().numel() == 2
    assert found.r_hat.item() > 1.5


@pytest.mark.usefixtures("quick_starts")
def test_the_vae_is_left_as_it_was(vae, x):
    vae.train()
    vae.likelihood.requires_grad_(False)
    wanted = {name: p.requires_grad for name, p in vae.named_parameters()}
    state = torch.get_rng_state()
    first = posterior_samples(vae, x[:2], **BRIEF)
    assert torch.equal(torch.get_rng_state(), state)
    assert {name: p.requires_grad for name, p in vae.named_parameters()} == wanted
    assert all(p.grad is None for p in vae.parameters())
    assert vae.training
    assert not list(pyro.get_param_store().keys())
    assert first.z.dtype == torch.float32
    assert not first.z.requires_grad
    again = posterior_samples(vae, x[:2], **BRIEF)
    assert torch.equal(again.z, first.z)
    other = posterior_samples(vae, x[:2], seed=1, **BRIEF)
    assert not torch.equal(other.z, first.z)


def test_bad_arguments(vae, x):
    with pytest.raises(ValueError, match="num_samples is 3: half a chain"):
        posterior_samples(vae, x, num_samples=3)
    for name in ("num_samples", "warmup_steps", "num_chains"):
        with pytest.raises(ValueError, match=f"{name} is 0"):
            posterior_samples(vae, x, **{name: 0})
    with pytest.raises(ValueError, match="expected a batch of shape"):
        posterior_samples(vae, x[0])
    toy = Discrete()
    with pytest.raises(ValueError, match="prior OneHot is not over real numbers"):
        posterior_samples(toy.vae, toy.sample(1))
