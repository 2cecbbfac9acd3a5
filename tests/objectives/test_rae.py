from functools import partial

import pyro
import pytest
import torch
from pyro.infer import SVI

import pvae
from pvae.inference import CompiledSVI, Optimizer
from pvae.objectives import RAE
from pvae.posteriors import Delta
from tests.objectives_linear import seeded_loss, weighted_programs

NETWORK = partial(pvae.networks.MLP, hidden=[6], activation="tanh")


def build(**parts):
    likelihood = partial(pvae.likelihoods.Gaussian, scale=1.0)
    parts = {"likelihood": likelihood, "posterior": Delta, "network": NETWORK} | parts
    return pvae.build((3,), 2, **parts).double()


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(5, 3, dtype=torch.float64)


def jacobian(vae, z):
    """The squared norm of the gradient of the decoded mean, exactly."""
    found = [torch.autograd.functional.jacobian(lambda z: vae.decode(z).mean, one) for one in z]
    return torch.stack(found).square().sum()


def test_by_hand(x):
    vae = build()
    with torch.no_grad():
        z = vae.encode(x).mean
        reconstruction = -vae.decode(z).log_prob(x).sum()
        length = z.square().sum() / 2
        weights = sum(p.square().sum() for p in vae.likelihood.parameters())
    arguments = vae.model, vae.guide, x
    expected = reconstruction + 0.3 * length
    assert RAE(0.3, regularizer="none").loss(*arguments) == pytest.approx(float(expected))
    found = RAE(0.3, 0.2, "weights").loss(*arguments)
    assert found == pytest.approx(float(expected + 0.2 * 5 * weights))
    # The estimate of the gradient is unbiased.
    estimates = torch.tensor([RAE(0.3, 0.2).loss(*arguments) for _ in range(400)])
    error = estimates.std() / 20
    assert abs(estimates.mean() - float(expected + 0.2 * jacobian(vae, z))) < 4 * error


@pytest.mark.parametrize("regularizer", ["gradient", "weights"])
def test_scale_and_mask_are_those_of_all_terms(x, regularizer):
    vae = build()
    objective = RAE(0.3, 0.2, regularizer)
    programs, scaled, kept = weighted_programs(vae)
    loss = partial(seeded_loss, objective)
    assert loss(scaled, x) == pytest.approx(0.5 * loss(programs, x), rel=1e-5)
    if regularizer == "weights":  # of which nothing is drawn
        assert loss(kept, x) == pytest.approx(loss(programs, x[:3]))
    other = torch.cat([x[:3], 9 * x[3:]])
    assert loss(kept, other) == pytest.approx(loss(kept, x))


def test_the_gradient_penalty_makes_the_decoder_flat(x):
    found = []
    for weight in (0.0, 1.0):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        vae = build()
        optim = Optimizer(vae.parameters(), partial(torch.optim.Adam, lr=1e-2))
        svi = SVI(vae.model, vae.guide, optim, RAE(0.01, weight))
        for _ in range(100):
            svi.step(x)
        found.append(float(jacobian(vae, vae.encode(x).mean)))
    assert found[1] < 0.5 * found[0]


@pytest.mark.parametrize("regularizer", ["gradient", "weights"])
@pytest.mark.parametrize("frozen", [False, True])
def test_compiled(x, regularizer, frozen):
    found = []
    for inference in (SVI, partial(CompiledSVI, compile=True, backend="graph")):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        vae, objective = build(), RAE(0.3, 0.2, regularizer)
        if frozen:
            vae.posterior.requires_grad_(False)
        objective.loss(vae.model, vae.guide, x)
        optim = Optimizer(vae.parameters(), partial(torch.optim.Adam, lr=1e-2))
        svi = inference(vae.model, vae.guide, optim, objective)
        losses = []
        for seed in range(3):
            pyro.set_rng_seed(seed)
            losses.append(svi.step(x))
        found.append(torch.tensor(losses))
    torch.testing.assert_close(*found)


def test_a_prior_fitted_to_the_codes():
    data = pvae.data.load("digits")
    vae = pvae.build(data.event_shape, 2, posterior=Delta, network=partial(NETWORK, hidden=[32]))
    arguments = {"optimizer": partial(torch.optim.Adam, lr=5e-3), "progress": False}
    pvae.fit(vae, data, objective=RAE(beta=0.01), epochs=10, **arguments)
    before = pvae.evaluation.evaluate(vae, data)
    mixture = partial(pvae.priors.Mixture, components=10)
    arguments["optimizer"] = partial(torch.optim.Adam, lr=2e-2)
    pvae.refit_prior(vae, data, mixture, epochs=15, **arguments)
    after = pvae.evaluation.evaluate(vae, data)
    # Reconstructions stay; codes are likelier under the mixture.
    assert after["log_likelihood"] == pytest.approx(before["log_likelihood"], rel=1e-2)
    assert after["kl"] < before["kl"] - 0.1
    with pytest.raises(ValueError, match="point mass"):
        pvae.evaluation.log_likelihood(vae, data.batch(vae, "test")[:2])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"beta": -1}, "beta is -1"),
        ({"weight": float("inf")}, "weight is inf"),
        ({"regularizer": "dropout"}, "regularizer is 'dropout'"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        RAE(**arguments)
