"""What must hold of every likelihood."""

import copy
from functools import partial
from typing import get_args

import pytest
import torch

from pvae import likelihoods
from pvae.data.domains import Domain
from pvae.networks import GRU, MLP, Conv
from tests.likelihoods_cases import LIKELIHOODS

EVENT, LATENT = (2, 3, 2), 3
SMALL = partial(MLP, hidden=[6])
RELAXED = "Bernoulli, relaxed"  # not a density of the data that it is given
MULTINOMIAL = "Multinomial"  # each total has its own distribution


def make(name, event=EVENT, network=SMALL):
    return LIKELIHOODS[name](LATENT, event, network=network)


@pytest.fixture(params=LIKELIHOODS)
def name(request):
    return request.param


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_shapes_types_and_support(name, dtype):
    part = make(name).to(dtype)
    assert part.domain in get_args(Domain)
    for batch in [(), (4,), (5, 4)]:
        p = part(torch.randn(*batch, LATENT, dtype=dtype))
        x = p.sample()
        assert p.event_shape == EVENT
        assert p.batch_shape == batch
        assert x.shape == (*batch, *EVENT)
        assert x.dtype == dtype
        assert p.support.check(x).all()
        log_prob = p.log_prob(x)
        assert log_prob.shape == batch
        assert log_prob.dtype == dtype
        assert log_prob.isfinite().all()
        try:
            mean = p.mean
        except NotImplementedError:
            assert name.startswith("LogitNormal")
        else:
            assert mean.shape == x.shape
            assert mean.dtype == dtype
            assert mean.isfinite().all()


def test_images(name):
    part = make(name, event=(2, 8, 8), network=partial(Conv, channels=[2], hidden=6))
    if hasattr(part, "initialize"):
        part.initialize(torch.full((2, 8, 8), 0.5))
    p = part(torch.randn(4, LATENT))
    assert p.log_prob(p.sample()).isfinite().all()


def test_expands_and_takes_sample_dimensions(name):
    p = make(name).double()(torch.randn(4, LATENT).double())
    q = p.expand((3, 4))
    assert q.batch_shape == (3, 4)
    assert q.event_shape == EVENT
    x = q.sample((2,))
    assert x.shape == (2, 3, 4, *EVENT)
    if name != "Gaussian, scale optimal":  # its scale is that of all data given at once
        torch.testing.assert_close(q.log_prob(x), p.log_prob(x))


def test_gradients_reach_every_parameter(name):
    part = make(name)
    p = part(torch.randn(100, LATENT))
    p.log_prob(p.sample()).sum().backward()
    assert all(q.grad.isfinite().all() and q.grad.abs().sum() > 0 for q in part.parameters())


@pytest.mark.parametrize("size", [1.0, 15.0])
def test_gradients_stay_finite_far_away(name, size):
    # whatever the network returns, of any data that there can be
    part = make(name)
    with torch.no_grad():
        part.network.output_bias.normal_(std=size)
    other = make(name)
    x = other(torch.randn(50, LATENT)).sample()
    log_prob = part(torch.randn(50, LATENT)).log_prob(x)
    assert log_prob.isfinite().all()
    log_prob.sum().backward()
    assert all(q.grad.isfinite().all() for q in part.parameters())


def test_samples_match_the_density(name):
    # For any distributions p and q, E[q(x) / p(x)] under p is 1; q is p moved a little.
    if name in (RELAXED, MULTINOMIAL):
        pytest.skip("not a distribution over all that it takes")
    part = make(name, event=(2,)).double().eval()
    near = copy.deepcopy(part)
    with torch.no_grad():
        near.network.output_bias.add_(0.05 * torch.randn_like(near.network.output_bias))
        z = torch.randn(LATENT).double()
        p, q = part(z), near(z)
        x = p.sample((20_000,))
        ratio = (q.log_prob(x) - p.log_prob(x)).exp()
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / len(x) ** 0.5


def test_samples_have_the_mean_and_variance(name):
    part = make(name, event=(2,)).double().eval()
    with torch.no_grad():
        p = part(torch.randn(LATENT).double())
        if name.startswith("LogitNormal"):
            median = p.sample((20_001,)).median(0).values.logit()
            assert (median - p.base_dist.base_dist.loc).abs().max() < 0.06
            return
        x = p.sample((20_000,))
        deviation = (x.mean(0) - p.mean) / (p.variance / len(x)).sqrt()
        assert deviation.abs().max() < 5
        if not name.startswith("StudentT"):  # which has no fourth moment
            square = (x - p.mean) ** 2
            error = ((square**2).mean(0) - p.variance**2).clamp_min(0).sqrt() / len(x) ** 0.5
            assert ((square.mean(0) - p.variance).abs() < 6 * error + 1e-6).all()


def test_starts_at_the_mean_of_the_data(name):
    part = make(name).eval()
    if not hasattr(part, "initialize"):
        assert name == "Categorical"
        return
    top = {"bytes": (getattr(part, "levels", 0) or 0) - 1, "counts": 20.0}.get(part.domain, 1.0)
    mean = top * (0.1 + 0.8 * torch.rand(EVENT))
    with torch.no_grad():
        for weight in [*part.network.parameters()][:-1]:
            weight.zero_()
        part.network.output_bias.zero_()
    part.initialize(mean)
    p = part(torch.zeros(LATENT))
    if name.startswith("LogitNormal"):
        shown = p.base_dist.base_dist.loc.sigmoid()
    elif name.startswith("LogNormal"):
        shown = p.base_dist.base_dist.loc.exp()
    elif name.startswith("ZeroInflated"):
        shown = 2 * p.mean  # half of all are zeros at first
    elif name.startswith("Discretized"):
        inner = p.base_dist
        shown = inner.loc if hasattr(inner, "loc") else inner.component_distribution.loc.mean(-1)
    else:
        shown = p.mean
    torch.testing.assert_close(shown, mean, rtol=1e-4, atol=1e-5)


def test_save_and_load(name):
    part, other = make(name), make(name)
    part(torch.zeros(5, LATENT)).log_prob(part(torch.zeros(5, LATENT)).sample())
    other.load_state_dict(part.state_dict())
    z = torch.randn(4, LATENT)
    x = part.eval()(z).sample()
    assert torch.equal(part(z).log_prob(x), other.eval()(z).log_prob(x))


def test_bad_sizes(name):
    with pytest.raises(ValueError, match=r"context_shape is \(0,\): it must be"):
        LIKELIHOODS[name](0, EVENT)
    with pytest.raises(ValueError, match=r"event_shape is \(0,\): it must be"):
        LIKELIHOODS[name](LATENT, (0,))
    with pytest.raises(ValueError, match="The network Linear must map"):
        LIKELIHOODS[name](LATENT, (7,), network=torch.nn.Linear(LATENT, 5))


@pytest.mark.parametrize("cls", ["Gaussian", "Beta", "StudentT", "DiscretizedLogistic"])
@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf"), True, "lerned", None])
def test_bad_scale(cls, scale):
    with pytest.raises(ValueError, match=r"it must be a positive number, 'learned', .* or '\w+'\."):
        getattr(likelihoods, cls)(LATENT, EVENT, scale=scale)


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [
        ("StudentT", {"degrees_of_freedom": 1}, "degrees_of_freedom is 1: it must be"),
        ("Poisson", {"exposure": -1.0}, "exposure is -1.0: .* must be a positive number"),
        ("NegativeBinomial", {"exposure": "obs"}, "exposure is 'obs': .* must be"),
        ("ZeroInflatedPoisson", {"exposure": True}, "exposure is True: .* must be"),
        ("NegativeBinomial", {"dispersion": 2.0}, "dispersion is 2.0: it must be"),
        ("Categorical", {"levels": 1}, "levels is 1: there must be at least 2"),
        ("Binomial", {"levels": 0}, "levels is 0: it must be a whole number"),
        ("DiscretizedGaussian", {"levels": 2.5}, "levels is 2.5: it must be a whole number"),
        ("DiscretizedLogistic", {"levels": 1}, "levels is 1: there must be"),
        ("DiscretizedLogisticMixture", {"components": 0}, "components is 0: it must be"),
    ],
)
def test_bad_arguments(cls, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(likelihoods, cls)(LATENT, EVENT, **arguments)


def test_sequences_have_their_parameters_at_each_step():
    """Parameters of several kinds are along the values of a step, and start at its mean."""
    mean = torch.arange(12.0).view(4, 3)
    for network in (partial(MLP, hidden=[]), partial(GRU, hidden=5)):
        part = likelihoods.Gaussian(LATENT, (4, 3), network=network, scale="predicted")
        with torch.no_grad():
            [p.zero_() for p in part.parameters()]
        part.initialize(mean)
        loc, raw_scale = part.raw(torch.zeros(LATENT))
        torch.testing.assert_close(loc, mean if network.func is MLP else mean.mean(0).expand(4, 3))
        assert (raw_scale == 0).all()
    levels = likelihoods.Categorical(LATENT, (4, 3), levels=5)(torch.zeros(2, LATENT))
    assert levels.sample().shape == (2, 4, 3)
