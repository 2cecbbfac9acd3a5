"""A warm-up of the KL, and noise at the input, around any objective."""

from functools import partial

import pyro
import pytest
import torch
from pyro.infer import (
    SVI,
    JitTrace_ELBO,
    RenyiELBO,
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
)

import pvae
from pvae.inference import CompiledSVI
from pvae.objectives import (
    WAE,
    BetaELBO,
    CapacityELBO,
    Denoising,
    FreeBits,
    ImportanceWeighted,
    InfoVAE,
    Warmup,
)
from pvae.objectives.counting import risen_after, settled
from pvae.objectives.warmup import can_warm_up
from tests.objectives_cases import OBJECTIVES, objective_for
from tests.objectives_linear import gradients


def at(step, objective):
    objective.step = step
    return objective


def check_same(one, other):
    assert one[0] == pytest.approx(other[0], rel=1e-5)
    for name, gradient in other[1].items():
        torch.testing.assert_close(one[1][name], gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_warm_up_ends_with_the_objective_itself(vae, x, name):
    torch.manual_seed(3)  # of a discriminator
    inner = objective_for(OBJECTIVES[name], vae.event_shape)
    warm = Warmup(inner, 4)
    found = gradients(at(4, warm), vae, x)
    if hasattr(inner, "step"):
        inner.step = 4
    check_same(found, gradients(inner, vae, x))


@pytest.mark.parametrize(
    "elbo", [Trace_ELBO, TraceGraph_ELBO, partial(RenyiELBO, 0.5, num_particles=1)]
)
def test_the_weight_is_that_of_the_kl(vae, x, elbo):
    torch.manual_seed(0)
    with torch.no_grad():
        q = vae.encode(x)
        z = q.sample()
        kl = (q.log_prob(z) - vae.prior().log_prob(z)).sum()
        by_hand = kl / 4 - vae.decode(z).log_prob(x).sum()
    torch.manual_seed(0)
    loss = at(1, Warmup(elbo(), 4)).loss(vae.model, vae.guide, x)
    assert loss == pytest.approx(float(by_hand), rel=1e-5)


def test_during_the_warm_up_the_elbo_is_that_with_a_beta(vae, x):
    check_same(
        gradients(at(1, Warmup(TraceMeanField_ELBO(), 4)), vae, x),
        gradients(BetaELBO(0.25), vae, x),
    )


@pytest.mark.parametrize("gradient", ["plain", "dreg"])
def test_a_tempered_importance_weighted_bound_has_its_gradient(gradient):
    """In the mean over many draws, for the posterior, by one number that both bounds depend on."""
    loc = torch.nn.Parameter(torch.tensor(0.4, dtype=torch.float64))
    objective = at(1, Warmup(ImportanceWeighted(3, gradient), 4))

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", pyro.distributions.Normal(x.new_zeros(len(x)), 1.0))
            pyro.sample("x", pyro.distributions.Normal(z, 0.5), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", pyro.distributions.Normal(pyro.param("loc", loc).expand(len(x)), 0.8))

    n = 100_000
    x = torch.full((n,), 1.5, dtype=torch.float64)
    torch.manual_seed(0)
    objective.loss_and_grads(model, guide, x)
    found = pyro.param("loc").grad / n
    # The same bound by hand, reparameterized and differentiated as it is.
    torch.manual_seed(1)
    m = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    z = m + 0.8 * torch.randn(3, n, dtype=torch.float64)
    normal = torch.distributions.Normal
    kl = normal(0.0, 1.0).log_prob(z) - normal(m, 0.8).log_prob(z)
    log_w = normal(z, 0.5).log_prob(x) + kl / 4
    by_hand = torch.autograd.grad(-log_w.logsumexp(0).mean(), m)[0]
    assert float(found) == pytest.approx(float(by_hand), rel=0.02)


@pytest.mark.parametrize("inference", [SVI, partial(CompiledSVI, compile=True, backend="graph")])
def test_it_rises_compiled_or_not(vae, x, inference):
    objective = Warmup(Denoising(0.1, objective=BetaELBO(2.0)), 4)
    svi = inference(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-3}), loss=objective)
    found = []
    for _ in range(6):
        found.append(objective.weight)
        svi.evaluate_loss(x)  # is no step
        svi.step(x)
    assert found == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


@pytest.mark.parametrize(
    ("objective", "can"),
    [
        (Trace_ELBO(), True),
        (TraceMeanField_ELBO(), True),
        (RenyiELBO(), True),
        (BetaELBO(0.2), True),
        (FreeBits(), True),
        (ImportanceWeighted(3), True),
        (Denoising(), True),
        (Denoising(objective=FreeBits()), True),
        (Denoising(objective=WAE()), False),
        (InfoVAE(0.5), True),
        (WAE(), False),
        (CapacityELBO(), False),
        (BetaELBO(warmup_steps=5), False),
        (Warmup(FreeBits()), False),
        (Denoising(objective=Warmup(FreeBits())), False),
        (TraceEnum_ELBO(), False),
        (JitTrace_ELBO(), False),
        (type("Own", (Trace_ELBO,), {})(), False),
    ],
    ids=lambda o: type(o).__name__,
)
def test_what_is_warmed_up_by_default(objective, can):
    assert can_warm_up(objective) == can


def test_a_schedule_is_found_inside_a_wrapper():
    inner = BetaELBO(4.0, warmup_steps=8)
    objective = Denoising(objective=inner)
    assert risen_after(objective) == 8
    assert objective.step == 0
    objective.step = 4
    assert inner.weight == 2.0
    with settled(objective):
        assert inner.weight == 4.0
    assert inner.weight == 2.0
    cycle = BetaELBO(4.0, warmup_steps=8, cycle_steps=8)
    with settled(cycle):
        assert cycle.weight == 4.0


def test_a_discriminator_is_reached_through_wrappers(vae):
    inner = pvae.objectives.FactorVAE(latent_dim=2, hidden=[4])
    objective = Warmup(Denoising(objective=inner), 3)
    assert list(objective.parameters()) == list(inner.parameters())
    assert objective.state_dict().keys() == inner.state_dict().keys()
    assert not hasattr(Denoising(), "step")


@pytest.mark.parametrize("given", [Trace_ELBO, "Trace_ELBO", None, 3])
@pytest.mark.parametrize("wrapper", [Warmup, lambda o: Denoising(objective=o)])
def test_only_objectives_are_wrapped(given, wrapper):
    if given is None and wrapper is not Warmup:
        assert type(wrapper(given).objective) is Trace_ELBO
        return
    with pytest.raises(TypeError, match=r"must be an instance of a Pyro ELBO"):
        wrapper(given)


def test_bad_arguments():
    with pytest.raises(ValueError, match="warmup_steps is 0"):
        Warmup(Trace_ELBO(), 0)
    with pytest.raises(TypeError, match="num_particles is an argument of the Trace_ELBO"):
        Denoising(objective=FreeBits(), num_particles=2)
