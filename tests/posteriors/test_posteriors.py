"""What must hold of every posterior, whatever its family."""

import copy
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions import constraints
from torch import nn
from torch.distributions import biject_to, kl_divergence

from pvae.distributions import PoincareBall
from pvae.networks import MLP, Conv
from pvae.priors import Laplace as LaplacePrior
from pvae.priors import Normal as NormalPrior
from pvae.priors import StandardNormal
from tests.posteriors_cases import (
    ONLY_OWN_DRAWS,
    POSTERIORS,
    QUANTIZED,
    double,
    made,
    prior_for,
)

EVENT, LATENT = (2, 8, 8), 4
SMALL = partial(MLP, hidden=[6])
DISCRETE = [
    name
    for name in POSTERIORS
    if name.startswith(("RelaxedOneHot", "RelaxedBernoulli", *QUANTIZED))
]
CONTINUOUS = [name for name in POSTERIORS if name not in (*DISCRETE, "Delta")]
ANY_POINT = [name for name in CONTINUOUS if name not in ONLY_OWN_DRAWS]
NO_MEAN = [
    *ONLY_OWN_DRAWS,
    *(n for n in POSTERIORS if n.startswith(("Spline", "InverseAuto", "TopDown", "Smoothing"))),
]


class Raw(nn.Module):
    """A network of one weight: its output, whatever the input."""

    def __init__(self, in_shape, out_shape, scale=0.5):
        super().__init__()
        self.raw = nn.Parameter(scale * torch.randn(out_shape))

    def forward(self, x):
        return self.raw.expand(len(x), *self.raw.shape)


def make(name, event_shape=EVENT, latent_dim=LATENT, network=SMALL):
    return made(name, event_shape, latent_dim, network)


def bare(name, latent_dim=2):
    """A posterior in double precision that does not depend on x, and the x it is given."""
    posterior = double(make(name, (1,), latent_dim, Raw))
    return posterior, torch.zeros(1, dtype=torch.float64)


def prior_of(name, posterior):
    """The simplest prior over the same z, connected."""
    prior = prior_for(name)(LATENT)
    if hasattr(prior, "connect"):
        prior.connect(posterior)
    return prior


@pytest.fixture(params=POSTERIORS)
def name(request):
    return request.param


@pytest.mark.parametrize("network", [SMALL, partial(Conv, channels=[2], hidden=6)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [(), (4,), (5, 4)])
def test_event_and_batch_shapes(name, network, dtype, batch):
    posterior = make(name, network=network)
    posterior = double(posterior) if dtype == torch.float64 else posterior
    q = posterior(torch.randn(*batch, *EVENT, dtype=dtype))
    assert q.event_shape == (LATENT,)
    assert q.batch_shape == batch
    assert q.has_rsample
    for sample_shape in ((), (3,), (2, 3)):
        z = q.rsample(sample_shape)
        assert z.shape == (*sample_shape, *batch, LATENT)
        assert z.dtype == dtype
        log_prob = q.log_prob(z)
        assert log_prob.shape == (*sample_shape, *batch)
        assert log_prob.dtype == dtype
        assert log_prob.isfinite().all()
        assert q.support.check(z).all()
    if name not in NO_MEAN:
        assert q.mean.shape == (*batch, LATENT)
        assert q.mean.dtype == dtype
    else:
        with pytest.raises(NotImplementedError):
            _ = q.mean


def test_one_latent():
    for name in CONTINUOUS:
        if name.startswith(("InverseAutoregressiveFlow", "PowerSpherical")):
            continue
        q = make(name, latent_dim=1)(torch.randn(5, *EVENT))
        assert q.log_prob(q.rsample((2,))).shape == (2, 5)


def test_expand(name):
    for more in ((3, 4), (2, 3, 4)):
        q = make(name)(torch.randn(4, *EVENT)).expand(more)
        assert q.batch_shape == more
        z = q.rsample()
        assert z.shape == (*more, LATENT)
        assert z[0].ne(z[1]).any() or name == "Delta" or name in DISCRETE
        assert q.log_prob(z).shape == more


def test_support(name):
    posterior = make(name)
    support = posterior(torch.zeros(EVENT)).support
    if name in DISCRETE:
        assert support == prior_of(name, posterior)().support
    elif name == "PowerSpherical":
        assert support is constraints.sphere
    elif name == "WrappedNormal":
        assert support == PoincareBall(1.0)
    else:
        assert support.event_dim == 1
        assert support.base_constraint is constraints.real


def test_gradients_reach_every_parameter(name):
    posterior = make(name)
    q = posterior(torch.randn(200, *EVENT))
    z = q.rsample()
    (q.log_prob(z) + z.sin().sum(-1)).sum().backward()
    for parameter in posterior.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ANY_POINT)
def test_gradients_where_a_draw_has_none(name):
    # a remembered draw must not hide the parameters, however it was made
    posterior = make(name, network=partial(MLP, hidden=[6], activation="tanh"))
    x = torch.randn(20, *EVENT)
    q = posterior(x)
    with torch.no_grad():
        z = q.rsample()
    for value in (z, q.sample()):
        fresh = posterior(x).log_prob(value.clone())
        expected = torch.autograd.grad(fresh.sum(), list(posterior.parameters()))
        found = torch.autograd.grad(
            q.log_prob(value).sum(), list(posterior.parameters()), retain_graph=True
        )
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", sorted(ONLY_OWN_DRAWS))
def test_flows_without_an_inverse_say_so(name):
    q = make(name)(torch.randn(3, *EVENT))
    with pytest.raises(NotImplementedError, match="no inverse in closed form"):
        q.log_prob(torch.zeros(3, LATENT))
    z = q.sample()
    with pytest.raises(NotImplementedError, match="only if it was drawn by rsample"):
        q.log_prob(z)
    with torch.no_grad():
        assert q.log_prob(q.sample()).shape == (3,)


def quadrature(name, points=801):
    """Points that fill where z may be in two dimensions, and the volume of each."""
    if name == "PowerSpherical":
        angle = torch.linspace(0, 2 * torch.pi, 20_001, dtype=torch.float64)[:-1]
        points = torch.stack([angle.cos(), angle.sin()], -1)
        return points, torch.full_like(angle, 2 * torch.pi / 20_000)
    end = 60 if name == "StudentT" else 16
    line = torch.linspace(-end, end, points, dtype=torch.float64)
    plane, volume = torch.cartesian_prod(line, line), (2 * end / (points - 1)) ** 2
    if name == "WrappedNormal":
        into = biject_to(PoincareBall(1.0))
        disc = into(plane)
        return disc, volume * into.log_abs_det_jacobian(plane, disc).exp()
    return plane, torch.full(plane.shape[:1], volume, dtype=plane.dtype)


@pytest.mark.parametrize("name", ANY_POINT)
def test_normalizes(name):
    posterior, x = bare(name)
    points, volume = quadrature(name)
    with torch.no_grad():
        total = (posterior(x).log_prob(points).exp() * volume).sum()
    # kinks are finer than the grid, and Student's tails reach beyond it
    rough = name in ("Laplace", "StudentT", "SplineFlow")
    assert float(total) == pytest.approx(1, abs=2e-3 if rough else 1e-6)


@pytest.mark.parametrize("name", [*ANY_POINT, "MixtureOfNormals of one latent"])
def test_samples_and_their_gradients_match_the_density(name):
    # E[f(z)] and its gradients by draws against quadrature
    if name == "MixtureOfNormals of one latent":
        posterior, x = bare("MixtureOfNormals", 1)
        points = torch.linspace(-15, 15, 20_001, dtype=torch.float64).unsqueeze(-1)
        volume = torch.ones(20_001, dtype=torch.float64)
    else:
        posterior, x = bare(name)
        points, volume = quadrature(name, 401)
    raw = posterior.network.raw

    def f(z):
        return (z * torch.tensor([0.7, 1.3], dtype=z.dtype)[: z.shape[-1]]).sum(-1).sin()

    density = posterior(x).log_prob(points).exp() * volume
    expected = (density * f(points)).sum() / density.sum().detach()
    (slope,) = torch.autograd.grad(expected, raw)
    z = posterior(x).rsample((1000, 30))
    values = f(z).mean(0)
    slopes = torch.stack([torch.autograd.grad(v, raw, retain_graph=True)[0] for v in values])
    # kinks are finer than the grid, and Student's tails reach beyond it
    rough = name.startswith(("Laplace", "StudentT", "SplineFlow", "InverseAutoregressiveFlow"))
    tolerance = 2e-3 if rough else 1e-5
    assert abs(values.mean() - expected) < 5 * values.std() / 30**0.5 + tolerance
    error = (slopes.mean(0) - slope).abs()
    assert (error < 5 * slopes.std(0) / 30**0.5 + tolerance).all()


@pytest.mark.parametrize("name", CONTINUOUS)
def test_entropy_and_moments(name):
    q = make(name, network=SMALL)(torch.randn(EVENT))
    with torch.no_grad():
        z = q.rsample((20_000,))
    if name not in (*NO_MEAN, "WrappedNormal"):
        assert ((z.mean(0) - q.mean).abs() < 5 * z.std(0) / len(z) ** 0.5).all()
    if name not in (*NO_MEAN, "PowerSpherical", "WrappedNormal"):
        rtol = 0.25 if name in ("Laplace", "StudentT") else 0.08
        torch.testing.assert_close(z.var(0), q.variance, rtol=rtol, atol=1e-3)
    try:
        entropy = q.entropy()
    except NotImplementedError:
        return
    log_prob = q.log_prob(z)
    assert abs(log_prob.mean() + entropy) < 5 * log_prob.std() / len(z) ** 0.5 + 1e-4


CLOSED = {
    **{
        name: StandardNormal
        for name in ("LowRankNormal", "FullNormal", "HouseholderFlow", "Laplace", "StudentT")
    },
    **{name: prior_for(name) for name in ("PowerSpherical", *DISCRETE)},
    "Delta": StandardNormal,
}


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("batch", [(), (3,)])
def test_kl_in_closed_form(name, batch):
    posterior = make(name).eval()
    q = posterior(torch.randn(*batch, *EVENT))
    p = prior_of(name, posterior)()
    kl = kl_divergence(q, p)
    torch.testing.assert_close(kl, kl_divergence(q, p.expand(batch)))
    assert kl.shape == batch
    with torch.no_grad():
        z = q.sample((20_000,))
        score = q.log_prob(z) - p.log_prob(z)
    error = 4.5 * score.std(0) / len(z) ** 0.5 + 1e-4
    assert ((score.mean(0) - kl).abs() < error).all()


@pytest.mark.parametrize(
    ("name", "prior"),
    [
        *((n, NormalPrior) for n in ("FullNormal", "LowRankNormal", "HouseholderFlow", "StudentT")),
        ("Laplace", LaplacePrior),
    ],
)
def test_kl_to_priors_of_other_scales(name, prior):
    p = prior(LATENT)
    with torch.no_grad():
        for parameter in p.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    with torch.no_grad():
        q, p = make(name)(torch.randn(EVENT)), p()
        z = q.sample((20_000,))
        score = q.log_prob(z) - p.log_prob(z)
        assert abs(score.mean() - kl_divergence(q, p)) < 4.5 * score.std() / len(z) ** 0.5


def test_kls_that_are_not_closed():
    laplace = dist.Laplace(torch.zeros(LATENT), 1.0).to_event(1)
    for name in ("FullNormal", "LowRankNormal", "HouseholderFlow", "StudentT"):
        with pytest.raises(NotImplementedError):
            kl_divergence(make(name)(torch.zeros(EVENT)), laplace)


def test_save_and_load(name):
    saved, loaded = make(name).eval(), make(name).eval()
    loaded.load_state_dict(saved.state_dict())
    x = torch.randn(10, *EVENT)
    with torch.no_grad():
        one, other = saved(x), loaded(x)
        torch.manual_seed(1)
        z = one.sample()
        torch.manual_seed(1)
        same = other.sample()
        torch.testing.assert_close(same, z, rtol=0, atol=0)
        torch.testing.assert_close(other.log_prob(same), one.log_prob(z), rtol=0, atol=0)


def test_copies(name):
    posterior = make(name)
    x = torch.randn(4, *EVENT)
    posterior(x).rsample().sum().backward()
    copied = copy.deepcopy(posterior)(x)
    assert copied.event_shape == (LATENT,)
    q = posterior(x)
    z = q.rsample()
    torch.testing.assert_close(copy.copy(q).log_prob(z), q.log_prob(z))
    other = copy.copy(q)
    z = other.rsample((2,))
    assert other.log_prob(z).shape == (2, 4)


def test_in_a_plate(name):
    posterior = make(name)
    x = torch.randn(6, *EVENT)

    def guide():
        with pyro.plate("particles", 3, dim=-2), pyro.plate("data", 6, dim=-1):
            return pyro.sample("z", posterior(x))

    trace = pyro.poutine.trace(guide).get_trace()
    trace.compute_log_prob()
    assert trace.nodes["z"]["value"].shape == (3, 6, LATENT)
    assert trace.nodes["z"]["log_prob"].shape == (3, 6)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (None, {"latent_dim": 0}, "is 0|is \\(0,\\)"),
        (None, {"event_shape": (0, 3)}, "_shape is"),
        (None, {"network": nn.Linear(3, 2)}, "must map"),
        ("LowRankNormal", {"rank": 0}, "rank is 0"),
        ("PlanarFlow", {"layers": 0}, "layers is 0"),
        ("HouseholderFlow", {"layers": 0}, "layers is 0"),
        ("SylvesterFlow", {"layers": 1.5}, "layers is 1.5"),
        ("SylvesterFlow", {"reflections": 0}, "reflections is 0"),
        ("InverseAutoregressiveFlow", {"latent_dim": 1}, "at least 2 latents"),
        ("InverseAutoregressiveFlow", {"hidden": [3]}, "no hidden layer .* smaller than"),
        ("InverseAutoregressiveFlow", {"hidden": []}, "hidden is"),
        ("InverseAutoregressiveFlow", {"layers": 0}, "layers is 0"),
        ("InverseAutoregressiveFlow", {"context_dim": 0}, "context_dim is 0"),
        ("SplineFlow", {"bins": 1}, "bins is 1"),
        ("SplineFlow", {"layers": 0}, "layers is 0"),
        ("SplineFlow", {"context_dim": 0}, "context_dim is 0"),
        ("MixtureOfNormals", {"components": 0}, "components is 0"),
        ("StudentT", {"degrees_of_freedom": 0}, "degrees_of_freedom is 0"),
        ("StudentT", {"degrees_of_freedom": float("nan")}, "degrees_of_freedom is nan"),
        ("PowerSpherical", {"latent_dim": 1}, "at least 2 coordinates"),
        ("WrappedNormal", {"curvature": 0}, "curvature is 0"),
        ("Hamiltonian", {"steps": 0}, "steps is 0"),
        ("DAIS", {"step_size": 0}, "step_size is 0"),
        ("Smoothing", {"state_dim": 3}, "must divide into states"),
        ("Smoothing", {"message": 0}, "message is 0"),
        ("FSQ", {"levels": (3, 1)}, "at least 2"),
        ("FSQ", {"levels": (3, 3, 3)}, "3 latents of a code"),
        ("FSQ", {"levels": ()}, "levels is"),
        ("FSQ", {"grid": (2, 2)}, "2 latents of a code"),
        ("VQ", {"codes": 1}, "codes is 1"),
        ("VQ", {"grid": (3,)}, "must divide into codes"),
        ("VQ", {"update": "adam"}, "update is 'adam'"),
        ("VQ", {"commitment": -1}, "commitment is -1"),
        ("VQ", {"decay": 1}, "decay is 1"),
        ("VQ", {"revival": 2}, "revival is 2"),
        ("RelaxedOneHot", {"groups": 3}, "groups of one size"),
        ("RelaxedOneHot", {"groups": 4}, "at least 2"),
        ("RelaxedOneHot", {"groups": 0}, "groups is 0"),
        ("RelaxedOneHot", {"temperature": 0}, "temperature is 0"),
        ("RelaxedBernoulli", {"temperature": -1.0}, "temperature is -1"),
        ("RelaxedBernoulli", {"final_temperature": 0.1}, "needs both"),
        ("RelaxedBernoulli", {"annealing_steps": 10}, "needs both"),
        (
            "RelaxedBernoulli",
            {"final_temperature": 0, "annealing_steps": 10},
            "final_temperature is 0",
        ),
        (
            "RelaxedBernoulli",
            {"final_temperature": 0.1, "annealing_steps": 0},
            "annealing_steps is 0",
        ),
    ],
)
def test_bad_arguments(name, arguments, message):
    arguments = {"event_shape": (3,), "latent_dim": LATENT} | arguments
    for case in POSTERIORS if name is None else [name]:
        with pytest.raises(ValueError, match=message):
            POSTERIORS[case](**arguments)
