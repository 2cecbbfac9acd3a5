"""What must hold of every prior, whatever its family."""

import copy
from functools import partial

import pyro
import pytest
import torch
from pyro.distributions import constraints
from torch.distributions import biject_to, kl_divergence

from pvae.distributions import PoincareBall, RelaxedBernoulli, RelaxedOneHot
from pvae.networks import MLP
from pvae.posteriors import FSQ, DiagonalNormal
from pvae.priors import (
    Autoregressive,
    Bernoulli,
    Flow,
    Hyperspherical,
    Laplace,
    Mixture,
    Normal,
    OneHot,
    StandardNormal,
    StateSpace,
    StudentT,
    VampPrior,
    WrappedNormal,
)
from tests.priors_cases import CODES, ESTIMATED, PRIORS

LATENT, EVENT = 4, (2, 3, 3)
DENSITIES = [name for name in PRIORS if name not in ESTIMATED]


def make(name, latent_dim=LATENT):
    """A prior, with a posterior where it is made of one."""
    prior = PRIORS[name](latent_dim)
    if isinstance(prior, VampPrior):
        posterior = DiagonalNormal(EVENT, latent_dim, network=partial(MLP, hidden=[8]))
        prior.connect(posterior)
    if name in CODES:
        prior.connect(FSQ(EVENT, latent_dim, partial(MLP, hidden=[8]), levels=(3, 2)))
    return prior


SUPPORTS = {name: make(name)().support for name in PRIORS}
SPHERES = [name for name in PRIORS if SUPPORTS[name] is constraints.sphere]
REAL = [n for n in DENSITIES if getattr(SUPPORTS[n], "base_constraint", 0) is constraints.real]
BALLS = [name for name in PRIORS if SUPPORTS[name] == PoincareBall(1.0)]
DISCRETE = [name for name in DENSITIES if name not in (*SPHERES, *BALLS, *REAL, *CODES)]


def to(prior, dtype):
    if hasattr(prior, "_posterior"):
        prior._posterior[0].to(dtype)
    return prior.to(dtype)


@pytest.fixture(params=PRIORS)
def name(request):
    return request.param


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [(), (4,), (5, 4)])
def test_event_and_batch_shapes(name, dtype, batch):
    p = to(make(name), dtype)()
    assert p.event_shape == (LATENT,)
    assert p.batch_shape == ()
    z = p.sample(batch)
    assert z.shape == (*batch, LATENT)
    assert z.dtype == dtype
    assert p.support.check(z).all()
    expanded = p.expand(batch)
    assert expanded.batch_shape == batch
    assert expanded.sample((2,)).shape == (2, *batch, LATENT)
    for log_prob in (p.log_prob(z), expanded.log_prob(z)):
        assert log_prob.shape == batch
        assert log_prob.dtype == dtype
    if name not in ESTIMATED:
        torch.testing.assert_close(p.log_prob(z), expanded.log_prob(z))
    assert expanded.log_prob(z[(0,) * len(batch)]).shape == batch
    if p.has_rsample:
        assert p.rsample(batch).shape == z.shape


def quadrature():
    """Points that fill the plane, dense at its origin and reaching far, and log of their areas."""
    t = torch.linspace(-7, 7, 801, dtype=torch.float64)
    log_width = (t.cosh() * (t[1] - t[0])).log()
    areas = torch.cartesian_prod(log_width, log_width).sum(-1)
    return torch.cartesian_prod(t.sinh(), t.sinh()), areas


def test_in_a_plate(name):
    prior = make(name)

    def model():
        with pyro.plate("data", 6):
            return pyro.sample("z", prior())

    trace = pyro.poutine.trace(model).get_trace()
    trace.compute_log_prob()
    assert trace.nodes["z"]["value"].shape == (6, LATENT)
    assert trace.nodes["z"]["log_prob"].shape == (6,)


def test_support(name):
    support = make(name)().support
    if name in DISCRETE:
        spaces = [RelaxedOneHot(torch.zeros(k, 4 // k)).support for k in (1, 2)]
        spaces.append(RelaxedBernoulli(torch.zeros(4)).support)
        own = {"OneHot": 0, "OneHot, groups": 1}.get(name, 2)
        assert [support == space for space in spaces] == [i == own for i in range(3)]
    elif name not in (*SPHERES, *BALLS, *CODES):
        assert support.event_dim == 1
        assert support.base_constraint is constraints.real


def test_gradients_reach_every_parameter(name):
    prior = make(name)
    p = prior()
    log_prob = p.log_prob(p.sample((200,)))  # a remembered draw must not hide parameters
    if log_prob.requires_grad:
        log_prob.sum().backward()
    for parameter in prior.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("name", REAL)
def test_gradients_reach_the_value(name):
    p = to(make(name), torch.float64)()
    z = p.sample((3,)).requires_grad_()
    (grad,) = torch.autograd.grad(p.log_prob(z).sum(), z)
    step = 1e-6 * torch.randn_like(z)
    with torch.no_grad():
        slope = (p.log_prob(z + step) - p.log_prob(z - step)) / 2
    torch.testing.assert_close((grad * step).sum(-1), slope, rtol=1e-4, atol=1e-10)


@pytest.mark.parametrize("name", REAL)
def test_normalizes(name):
    p = to(make(name, 2), torch.float64)()
    grid, log_volume = quadrature()
    with torch.no_grad():
        log_prob = torch.cat([p.log_prob(part) for part in grid.split(200_000)])
    beyond = (p.sample((20_000,)).abs() > grid.max()).any(-1).double().mean().item()
    # Kinks are finer than the grid, and heavy tails reach beyond it.
    total = (log_prob + log_volume).exp().sum().item()
    assert total == pytest.approx(1, abs=3e-4 + 2 * beyond)


@pytest.mark.parametrize("name", DENSITIES)
def test_samples_match_the_density(name):
    # averages over draws are those that the density gives by summing over everything
    latent_dim = 4 if name in (*DISCRETE, *CODES) else 2
    p = to(make(name, latent_dim), torch.float64)()
    if name in DISCRETE:
        grid = torch.cartesian_prod(*[torch.arange(2, dtype=torch.float64)] * latent_dim)
        grid = grid[p.support.check(grid)]
    elif name in CODES:
        each = torch.arange(p.support.size)
        grid = p.support.vectors(torch.cartesian_prod(*[each] * p.support.positions))
    elif name in SPHERES:
        angle = torch.linspace(0, 2 * torch.pi, 1001, dtype=torch.float64)[:-1]
        grid = torch.stack([angle.cos(), angle.sin()], -1)
    else:
        grid, log_volume = quadrature()
        if name in BALLS:  # the plane is mapped to the disc
            into = biject_to(p.support)
            plane, grid = grid, into(grid)
            log_volume = log_volume + into.log_abs_det_jacobian(plane, grid)
            grid, log_volume = grid[plane.norm(dim=-1) < 20], log_volume[plane.norm(dim=-1) < 20]
    with torch.no_grad():
        weights = (p.log_prob(grid) + (log_volume if name in (*REAL, *BALLS) else 0)).softmax(0)
    z = p.sample((20_000,))
    for f in (torch.sin, lambda z: (-(z**2)).exp(), lambda z: (z[:, :1] * z[:, 1:]).tanh()):
        error = 5 * f(z).std(0) / len(z) ** 0.5 + 1e-3
        assert ((f(z).mean(0) - weights @ f(grid)).abs() < error).all()


def test_mean(name):
    p = make(name)()
    try:
        finite = p.mean.isfinite().all() and p.variance.isfinite().all()
    except NotImplementedError:
        return
    if not finite:  # the tails are too heavy for moments
        return
    z = p.sample((20_000,))
    assert p.mean.shape == (LATENT,)
    assert ((z.mean(0) - p.mean).abs() < 5 * p.stddev / len(z) ** 0.5).all()
    torch.testing.assert_close(z.var(0), p.variance, rtol=0.25, atol=0.02)


@pytest.mark.parametrize("name", DENSITIES)
def test_entropy(name):
    p = make(name)()
    try:
        entropy = p.entropy()
    except NotImplementedError:
        return
    log_prob = p.log_prob(p.sample((5000,)))
    assert abs(log_prob.mean() + entropy) < 5 * log_prob.std() / 5000**0.5 + 1e-4


def test_save_and_load(name):
    saved, loaded = make(name), make(name)
    if hasattr(saved, "_posterior"):
        loaded.connect(saved._posterior[0])
    if isinstance(saved, VampPrior):
        saved.initialize(torch.randn(20, *EVENT))
    loaded.load_state_dict(saved.state_dict())
    z = saved().sample((10,))
    found = []
    for prior in (saved, loaded):
        torch.manual_seed(1)
        found.append(prior().log_prob(z))
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.parametrize("name", DENSITIES)
def test_copies_after_a_gradient_step(name):
    prior = make(name)
    z = prior().sample((10,))
    log_prob = prior().log_prob(z)
    copied = copy.deepcopy(prior)
    torch.testing.assert_close(copied().log_prob(z), log_prob)
    for parameter in prior.parameters():
        parameter.data += 1
    torch.testing.assert_close(copied().log_prob(z), log_prob)


@pytest.mark.parametrize("size", [0, -1, 1.5, True])
def test_bad_latent_dim(name, size):
    with pytest.raises(ValueError, match=r"must be (a )?whole number"):
        PRIORS[name](size)


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (lambda: StudentT(2, degrees_of_freedom=0), "degrees_of_freedom is 0"),
        (lambda: StudentT(2, degrees_of_freedom=float("nan")), "degrees_of_freedom is nan"),
        (lambda: Mixture(2, components=0), "components is 0"),
        (lambda: VampPrior(2, components=0), "components is 0"),
        (lambda: Flow(1), "latent_dim is 1"),
        (lambda: Flow(1, kind="masked_autoregressive"), "latent_dim is 1"),
        (lambda: Flow(2, kind="planar"), "kind is 'planar'"),
        (lambda: Flow(2, layers=0), "layers is 0"),
        (lambda: Flow(2, hidden=[]), "hidden is"),
        (lambda: Flow(9, kind="masked_autoregressive", hidden=[8]), "at least as many units"),
        (lambda: Autoregressive(1), "latent_dim is 1"),
        (lambda: Autoregressive(3, components=0), "components is 0"),
        (lambda: Autoregressive(9, hidden=[8]), "at least as many units"),
        (lambda: Hyperspherical(1), "latent_dim is 1"),
        (lambda: WrappedNormal(2, curvature=0), "curvature is 0"),
        (lambda: WrappedNormal(2, curvature=-1.0), "curvature is -1"),
        (lambda: StateSpace(5, state_dim=2), "latent_dim is 5 and state_dim 2"),
        (lambda: StateSpace(4, state_dim=0), "state_dim is 0"),
        (lambda: StateSpace(4, hidden=0), "hidden is 0"),
        (lambda: OneHot(7, groups=2), "7 latents do not make 2 one-hot"),
        (lambda: OneHot(2, groups=2), "2 latents do not make 2 one-hot"),
        (lambda: OneHot(2, groups=0), "groups is 0"),
        (lambda: Bernoulli(2, probability=0), "probability is 0"),
        (lambda: Bernoulli(2, probability=1.0), "probability is 1"),
    ],
)
def test_bad_arguments(bad, match):
    with pytest.raises(ValueError, match=match):
        bad()


def test_one_latent():
    for prior in (StandardNormal, Normal, Laplace, StudentT, Mixture, Bernoulli):
        assert prior(1)().sample((3,)).shape == (3, 1)


def test_location_and_scale():
    z = torch.randn(5, 3)
    for prior, base in [
        (Normal(3), torch.distributions.Normal(0.0, 1.0)),
        (Laplace(3, learned=True), torch.distributions.Laplace(0.0, 1.0)),
        (StudentT(3, 4.0, learned=True), torch.distributions.StudentT(4.0)),
    ]:
        prior.loc.data = torch.tensor([1.0, -2.0, 0.5])
        prior.log_scale.data = torch.tensor([0.3, -0.5, 0.0])
        by_hand = base.log_prob((z - prior.loc) / prior.scale) - prior.log_scale
        torch.testing.assert_close(prior().log_prob(z), by_hand.sum(-1))
    for prior in (Laplace(3), StudentT(3)):
        assert not list(prior.parameters())
        assert not prior.state_dict()


def test_closed_kl_from_a_diagonal_normal():
    q = DiagonalNormal(EVENT, 3)(torch.randn(7, *EVENT))
    z = q.sample((20_000,))
    for prior in (Normal(3), Laplace(3)):
        ratio = q.log_prob(z) - prior().log_prob(z)
        kl = kl_divergence(q, prior())
        assert ((ratio.mean(0) - kl).abs() < 5 * ratio.std(0) / len(z) ** 0.5).all()
