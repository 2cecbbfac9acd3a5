"""What must hold of every objective."""

from functools import partial

import pyro
import pytest
import torch
from pyro.infer import ELBO, SVI

import pvae
from pvae import Labels, factories
from pvae.inference import CompiledSVI
from tests.objectives_cases import OBJECTIVES


@pytest.fixture(params=OBJECTIVES)
def make(request):
    return OBJECTIVES[request.param]


def small(**arguments):
    network = partial(pvae.networks.MLP, hidden=[6], activation="tanh")
    return pvae.build((3,), 2, likelihood=pvae.likelihoods.Gaussian, network=network, **arguments)


def optimizer():
    return pyro.optim.Adam({"lr": 1e-2})


def test_losses_are_numbers_and_gradients_reach_every_parameter(make, vae, x):
    objective = make()
    before = [p.detach().clone() for p in vae.parameters()]
    svi = SVI(vae.model, vae.guide, optimizer(), objective)
    assert type(svi.evaluate_loss(x)) is float
    losses = [svi.step(x) for _ in range(4)]
    assert all(type(loss) is float and abs(loss) < 1e5 for loss in losses)
    moved = [bool((p != b).any()) for p, b in zip(vae.parameters(), before, strict=True)]
    assert all(moved)


@pytest.mark.parametrize("name", ["importance-weighted, DReG", "InfoVAE", "FactorVAE"])
def test_compiled_evaluation(name):
    x, vae, objective = torch.randn(5, 3), small(), OBJECTIVES[name]()
    svi = CompiledSVI(vae.model, vae.guide, optimizer(), objective, compile=True, backend="graph")
    objective.loss(vae.model, vae.guide, x)
    for _ in range(2):
        pyro.set_rng_seed(1)
        expected = objective.loss(vae.model, vae.guide, x)
        pyro.set_rng_seed(1)
        assert svi.evaluate_loss(x) == pytest.approx(expected, rel=1e-4)


def test_programs_with_labels(make):
    parts = pvae.priors.StandardNormal(2), pvae.likelihoods.Gaussian(6, (3,))
    vae = pvae.VAE(*parts, pvae.posteriors.DiagonalNormal((7,), 2), Labels(classes=4))
    x, y = torch.randn(5, 3), torch.tensor([0, 1, 2, 3, 0])
    svi = SVI(vae.model, vae.guide, optimizer(), make())
    assert torch.tensor([svi.step(x, y) for _ in range(2)]).isfinite().all()


def test_any_names_of_sites(make):
    vae = small()

    def model(x):
        with pyro.plate("data", len(x)):
            code = pyro.sample("code", vae.prior())
            pyro.sample("observed", vae.likelihood(code), obs=x)

    def guide(x):
        pyro.module("encoder", vae.posterior)
        with pyro.plate("data", len(x)):
            pyro.sample("code", vae.posterior(x))

    x = torch.randn(5, 3)
    objective = make()
    losses = []
    for programs in ((model, guide), (vae.model, vae.guide)):
        objective.loss(*programs, x)
        torch.manual_seed(1)
        losses.append(objective.loss(*programs, x))
    assert losses[0] == losses[1]


def test_minibatch_of_one(make):
    vae = small()
    svi = SVI(vae.model, vae.guide, optimizer(), make())
    assert torch.tensor([svi.step(torch.randn(1, 3)) for _ in range(3)]).isfinite().all()


def test_written_down_and_made_again(make):
    description = factories.describe_instance("objective", make())
    again = factories.restore("objective", description, ELBO)()
    assert type(again) is type(make())
    assert factories.describe_instance("objective", again) == description
