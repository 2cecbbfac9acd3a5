"""What must hold of every objective."""

from functools import partial

import pyro
import pytest
import torch
from pyro.infer import ELBO, SVI

import pvae
from pvae import Labels, factories
from pvae.inference import CompiledSVI
from pvae.objectives import BetaTC, ImportanceWeighted, RenyiELBO
from tests.objectives_cases import OBJECTIVES, event_of, objective_for
from tests.objectives_linear import seeded_loss, weighted_programs


@pytest.fixture(params=OBJECTIVES)
def case(request):
    return OBJECTIVES[request.param]


@pytest.fixture
def event(case):
    return event_of(case, (3,))


@pytest.fixture
def objective(case, event):
    return objective_for(case, event)


def small(event=(3,)):
    network = partial(pvae.networks.MLP, hidden=[6], activation="tanh")
    return pvae.build(event, 2, likelihood=pvae.likelihoods.Gaussian, network=network)


def optimizer():
    return pyro.optim.Adam({"lr": 1e-2})


def test_losses_are_numbers_and_gradients_reach_every_parameter(case, vae, x):
    objective = objective_for(case, vae.event_shape)
    before = [p.detach().clone() for p in vae.parameters()]
    svi = SVI(vae.model, vae.guide, optimizer(), objective)
    assert type(svi.evaluate_loss(x)) is float
    losses = [svi.step(x) for _ in range(4)]
    assert all(type(loss) is float and abs(loss) < 1e5 for loss in losses)
    moved = [bool((p != b).any()) for p, b in zip(vae.parameters(), before, strict=True)]
    assert all(moved)


@pytest.mark.parametrize("name", ["importance-weighted, DReG", "InfoVAE", "FactorVAE", "VAE-GAN"])
def test_compiled_evaluation(name):
    x, vae, objective = torch.randn(5, 3), small(), objective_for(OBJECTIVES[name], (3,))
    svi = CompiledSVI(vae.model, vae.guide, optimizer(), objective, compile=True, backend="graph")
    objective.loss(vae.model, vae.guide, x)
    for _ in range(2):
        pyro.set_rng_seed(1)
        expected = objective.loss(vae.model, vae.guide, x)
        pyro.set_rng_seed(1)
        assert svi.evaluate_loss(x) == pytest.approx(expected, rel=1e-4)


def test_programs_with_labels(objective, event):
    parts = pvae.priors.StandardNormal(2), pvae.likelihoods.Gaussian(6, event)
    seen = (event[0] + 4, *event[1:])
    vae = pvae.VAE(*parts, pvae.posteriors.DiagonalNormal(seen, 2), Labels(classes=4))
    x, y = torch.randn(5, *event), torch.tensor([0, 1, 2, 3, 0])
    svi = SVI(vae.model, vae.guide, optimizer(), objective)
    assert torch.tensor([svi.step(x, y) for _ in range(2)]).isfinite().all()


def test_any_names_of_sites(objective, event):
    vae = small(event)

    def model(x):
        with pyro.plate("data", len(x)):
            code = pyro.sample("code", vae.prior())
            pyro.sample("observed", vae.likelihood(code), obs=x)

    def guide(x):
        pyro.module("encoder", vae.posterior)
        with pyro.plate("data", len(x)):
            pyro.sample("code", vae.posterior(x))

    x = torch.randn(5, *event)
    losses = []
    for programs in ((model, guide), (vae.model, vae.guide)):
        objective.loss(*programs, x)
        torch.manual_seed(1)
        losses.append(objective.loss(*programs, x))
    assert losses[0] == losses[1]


def test_scale_and_mask_are_those_of_all_terms(objective, event):
    """A scale multiplies the loss; data that are masked are as if they were not there."""
    vae, x = small(event).double(), torch.randn(5, *event, dtype=torch.float64)
    loss = partial(seeded_loss, objective)
    programs, scaled, kept = weighted_programs(vae)
    objective.loss(*programs, x)  # finds the plates, by a separate draw
    if not isinstance(objective, (ImportanceWeighted, RenyiELBO)):  # whose weights have powers
        assert loss(scaled, x) == pytest.approx(0.5 * loss(programs, x), rel=1e-9)
    if isinstance(objective, BetaTC) and objective.sampling == "stratified":
        with pytest.raises(ValueError, match="needs data of equal weights"):
            loss(kept, x)
        return
    other = x[[0, 1, 2, 4, 3]]  # which changes no range of the data
    assert loss(kept, other) == pytest.approx(loss(kept, x), rel=1e-9)
    every = [pyro.poutine.mask(each, torch.ones(5, dtype=torch.bool)) for each in programs]
    assert loss(every, x) == pytest.approx(loss(programs, x), rel=1e-9)


# That draw once, so that the data that are kept get the same draws as without the others.
DRAWING_ONCE = ["capacity, constant", "free bits", "beta-TC", "FactorVAE", "structural similarity"]


@pytest.mark.parametrize("name", DRAWING_ONCE)
def test_masked_data_are_left_out(name):
    event = event_of(OBJECTIVES[name], (3,))
    vae, x = small(event).double(), torch.randn(5, *event, dtype=torch.float64)
    objective = objective_for(OBJECTIVES[name], event)
    programs, _, kept = weighted_programs(vae)
    objective.loss(*programs, x)  # finds the plates, by a separate draw
    expected = seeded_loss(objective, programs, x[:3])
    assert seeded_loss(objective, kept, x) == pytest.approx(expected, rel=1e-9)


def test_minibatch_of_one(objective, event):
    vae = small(event)
    svi = SVI(vae.model, vae.guide, optimizer(), objective)
    assert torch.tensor([svi.step(torch.randn(1, *event)) for _ in range(3)]).isfinite().all()


def test_written_down_and_made_again(objective):
    description = factories.describe_instance("objective", objective)
    again = factories.restore("objective", description, ELBO)()
    assert type(again) is type(objective)
    assert factories.describe_instance("objective", again) == description
