from functools import partial

import pyro
import pytest
import torch
from torch import nn

import pvae
from pvae.networks import MLP
from pvae.training import Run

NETWORK = partial(MLP, hidden=[64], dropout=0.05)


@pytest.fixture(scope="module")
def digits():
    return pvae.data.load("digits")


@pytest.fixture(scope="module")
def once(digits):
    pyro.set_rng_seed(0)
    vae = pvae.build(digits.event_shape, 2, network=NETWORK)
    rate = partial(torch.optim.Adam, lr=5e-3)
    # With a small weight of the KL, the aggregate posterior is far from N(0, I).
    objective = pvae.objectives.BetaELBO(0.01)
    arguments = {"objective": objective, "optimizer": rate, "monitor": "neg_elbo"}
    pvae.fit(vae, digits, epochs=60, progress=False, **arguments)
    return vae.state_dict()


@pytest.fixture
def trained(digits, once):
    """A separate copy for each test."""
    vae = pvae.build(digits.event_shape, 2, network=NETWORK)
    vae.load_state_dict(once)
    return vae.eval()


PRIORS = {
    "Mixture": partial(pvae.priors.Mixture, components=20),
    "VampPrior": partial(pvae.priors.VampPrior, components=300),
    "Flow": pvae.priors.Flow,
    "Nested": pvae.priors.Nested,
}


@pytest.mark.parametrize("name", PRIORS)
def test_a_fitted_prior_is_nearer_to_the_aggregate_posterior(trained, digits, name, tmp_path):
    before = {n: w.clone() for n, w in trained.state_dict().items()}
    bound = pvae.evaluation.evaluate(trained, digits, "validation")
    rate = partial(torch.optim.Adam, lr=1e-2)
    history = pvae.refit_prior(
        trained, digits, PRIORS[name], epochs=16, optimizer=rate, run=tmp_path / "r", progress=False
    )
    assert len(history["epoch"]) == 16
    found = pvae.evaluation.evaluate(trained, digits, "validation")
    # Reconstructions are what they were, and the KL is less.
    assert found["log_likelihood"] == pytest.approx(bound["log_likelihood"], rel=0.02)
    assert found["kl"] < bound["kl"] - 0.5
    for part in ("likelihood", "posterior"):
        for n, w in getattr(trained, part).state_dict().items():
            assert torch.equal(w, before[f"{part}.{n}"])
        assert all(p.requires_grad for p in getattr(trained, part).parameters())
    assert trained.train().posterior.training
    loaded = pvae.load(tmp_path / "r")
    assert type(loaded.prior).__name__ == name
    assert torch.equal(loaded.sample(3, seed=0), trained.sample(3, seed=0))
    assert Run(tmp_path / "r").history["epoch"][-1] == 16


def test_the_classifier_and_the_class_prior_stay():
    data = pvae.data.load("digits", labelled=50)
    unknown = {"classifier": pvae.classifiers.Softmax, "class_prior": "learned"}
    vae = pvae.build(
        (1, 8, 8), 2, network=NETWORK, conditional=["likelihood"], classes=10, **unknown
    )
    before = {n: w.clone() for n, w in vae.state_dict().items()}
    pvae.refit_prior(vae, data, pvae.priors.Normal, epochs=1, progress=False, compile=False)
    changed = {n for n, w in vae.state_dict().items() if not torch.equal(w, before.get(n, w + 1))}
    assert changed == {"prior.loc", "prior.log_scale"}
    assert all(p.requires_grad for p in vae.parameters())


def test_what_cannot_be_refitted(trained, digits):
    for prior in ("Mixture", pvae.priors.Mixture(2)):
        with pytest.raises(TypeError, match="give a class, such as those"):
            pvae.refit_prior(trained, digits, prior)
    with pytest.raises(ValueError, match="StandardNormal has no parameters to fit"):
        pvae.refit_prior(trained, digits, pvae.priors.StandardNormal)
    with pytest.raises(ValueError, match="choose a pair over the same z"):
        pvae.refit_prior(trained, digits, _Sphere)
    assert type(trained.prior) is pvae.priors.StandardNormal
    conditional = pvae.build((1, 8, 8), 2, conditional=["prior"], classes=10)
    with pytest.raises(ValueError, match="sees its labels"):
        pvae.refit_prior(conditional, digits, pvae.priors.Mixture)


class _Sphere(nn.Module):
    """A prior with parameters, over another space."""

    def __init__(self, latent_dim):
        super().__init__()
        self.rate = nn.Parameter(torch.ones(latent_dim))

    def forward(self):
        return pyro.distributions.Exponential(self.rate).to_event(1)
