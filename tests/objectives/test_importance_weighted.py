import copy
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions.transforms import Planar
from pyro.infer import SVI, RenyiELBO, Trace_ELBO
from torch import nn

from pvae.objectives import CIWAE, MIWAE, PIWAE, ImportanceWeighted
from tests.objectives_linear import LinearVAE, TwoLevels, gradients, number


@pytest.fixture
def x():
    return torch.linspace(-2, 3, 5, dtype=torch.float64).unsqueeze(-1)


@pytest.fixture(params=[LinearVAE, TwoLevels])
def vae(request):
    return request.param()


def check_same(one, other, names=("",)):
    (loss, found), (expected_loss, expected) = one, other
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    check_same_gradients(found, expected, names)


def check_same_gradients(found, expected, names=("",)):
    for name, gradient in expected.items():
        if name.startswith(tuple(names)):
            torch.testing.assert_close(found[name], gradient, rtol=1e-10, atol=1e-10)


def elbo(particles):
    return Trace_ELBO(num_particles=particles, vectorize_particles=particles > 1)


def test_one_sample_is_the_elbo(vae, x):
    expected = gradients(elbo(1), vae, x)
    for objective in (ImportanceWeighted(1), MIWAE(1, 1), CIWAE(0.3, 1), PIWAE(1, 1)):
        check_same(gradients(objective, vae, x), expected)


def test_limits_of_the_family(vae, x):
    iwae, averaged = (gradients(o, vae, x) for o in (ImportanceWeighted(6), elbo(6)))
    check_same(gradients(MIWAE(1, 6), vae, x), iwae)
    check_same(gradients(MIWAE(6, 1), vae, x), averaged)
    check_same(gradients(CIWAE(0.0, 6), vae, x), iwae)
    check_same(gradients(CIWAE(1.0, 6), vae, x), averaged)
    check_same(gradients(PIWAE(1, 6), vae, x), iwae)
    mixed = gradients(CIWAE(0.3, 6), vae, x)
    assert mixed[0] == pytest.approx(0.3 * averaged[0] + 0.7 * iwae[0], rel=1e-12)
    check_same_gradients(mixed[1], {n: 0.3 * averaged[1][n] + 0.7 * g for n, g in iwae[1].items()})


def test_renyi_divergences_of_pyro(vae, x):
    def renyi(alpha):
        return RenyiELBO(alpha, num_particles=6, vectorize_particles=True)

    check_same(gradients(renyi(0), vae, x), gradients(ImportanceWeighted(6), vae, x))
    averaged = gradients(elbo(6), vae, x)
    loss, found = gradients(renyi(1 - 1e-7), vae, x)
    assert loss == pytest.approx(averaged[0], rel=1e-5)
    for name, gradient in averaged[1].items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("gradient", ["plain", "stl", "dreg"])
def test_model_and_posterior_learn_from_their_own_bounds(vae, x, gradient):
    loss, found = gradients(PIWAE(3, 4, gradient), vae, x)
    check_same((loss, found), gradients(ImportanceWeighted(12), vae, x), ["decoder"])
    check_same_gradients(found, gradients(MIWAE(3, 4, gradient), vae, x)[1], ["encoder"])


@pytest.mark.parametrize("gradient", ["stl", "dreg"])
def test_the_model_learns_the_same_whatever_the_gradient(vae, x, gradient):
    for make in (lambda g: ImportanceWeighted(5, g), lambda g: CIWAE(0.3, 5, g)):
        plain = gradients(make("plain"), vae, x)
        check_same(gradients(make(gradient), vae, x), plain, ["decoder"])


def test_bound_by_hand(x):
    vae, samples = LinearVAE(), 7
    loss, _ = gradients(ImportanceWeighted(samples), vae, x)
    torch.manual_seed(0)
    q = dist.Normal(vae.encoder["a"] * x, vae.encoder["r"])
    z = q.rsample((samples,))
    p = dist.Normal(vae.decoder["w"] * z, vae.decoder["s"])
    w = (dist.Normal(0.0, 1.0).log_prob(z) + p.log_prob(x) - q.log_prob(z)).exp()
    assert loss == pytest.approx(-w.mean(0).log().sum().item(), rel=1e-12)


def test_the_bound_rises_to_the_evidence(x):
    vae = LinearVAE()
    x = x.repeat(400, 1)
    bounds = [-ImportanceWeighted(k).loss(vae.model, vae.guide, x) for k in (1, 2, 8, 64)]
    evidence = vae.log_evidence(x)
    gaps = [(evidence - bound) / len(x) for bound in bounds]
    assert gaps[0] > 1.3 * gaps[1] > 2 * gaps[2] > 4 * gaps[3] > -0.001


@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("gradient", ["stl", "dreg"])
def test_no_gradient_and_an_exact_bound_at_the_exact_posterior(x, samples, gradient):
    vae = LinearVAE(exact=True)
    loss, found = gradients(ImportanceWeighted(samples, gradient), vae, x)
    assert loss == pytest.approx(-vae.log_evidence(x), rel=1e-12)
    _, plain = gradients(ImportanceWeighted(samples), vae, x)
    for name in ("encoder.a", "encoder.r"):
        assert abs(found[name]) < 1e-10
        assert abs(plain[name]) > 1e-3


def moments(objective, vae, x, repeats):
    """Mean gradient of the loss by name, and the variance of that mean.

    Every datum of every repeat has parameters of its own, so that one pass has all gradients.
    """
    rows = repeats * len(x)
    vae = copy.deepcopy(vae)
    for parameters in (vae.encoder, vae.decoder):
        for name, p in parameters.items():
            each = p.detach().reshape(*p.shape, *[1] * x.dim())
            parameters[name] = nn.Parameter(each.repeat(*[1] * p.dim(), rows, *[1] * (x.dim() - 1)))
    _, found = gradients(objective, vae, x.repeat(repeats, *[1] * (x.dim() - 1)))
    split = {n: g.reshape(*g.shape[: g.dim() - x.dim()], repeats, len(x)) for n, g in found.items()}
    return {n: (g.mean(-2).sum(-1), g.var(-2).sum(-1) / repeats) for n, g in split.items()}


@pytest.mark.parametrize(
    ("plain", "other"),
    [
        (ImportanceWeighted(1), ImportanceWeighted(1, "stl")),
        (ImportanceWeighted(4), ImportanceWeighted(4, "dreg")),
        (CIWAE(0.3, 3), CIWAE(0.3, 3, "dreg")),
        (MIWAE(2, 2), MIWAE(2, 2, "dreg")),
    ],
)
@pytest.mark.parametrize("make", [LinearVAE, TwoLevels])
def test_gradients_agree_on_average_and_are_quieter(plain, other, make, x):
    vae = make()
    expected, found = (moments(objective, vae, x, repeats=4000) for objective in (plain, other))
    for name, (mean, variance) in expected.items():
        error = (variance + found[name][1]).sqrt()
        assert abs(found[name][0] - mean) < 4.5 * error
    if make is LinearVAE:  # whose posterior is nearly exact
        assert found["encoder.r"][1] < 0.5 * expected["encoder.r"][1]
        assert found["encoder.a"][1] < 0.8 * expected["encoder.a"][1]


class Coin(nn.Module):
    """A discrete latent: which of two rates a count has."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.ParameterDict({"logit": number(0.3)})
        self.decoder = nn.ParameterDict({"rates": number([1.0, 4.0])})

    def model(self, x):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(x.new_tensor(0.5)))
            low, high = self.decoder["rates"]
            pyro.sample("x", dist.Poisson(torch.where(z > 0, high, low)), obs=x)

    def guide(self, x):
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=self.encoder["logit"]).expand([len(x)]))

    def bound(self, x, samples, beta):
        """By enumeration of all the draws."""
        values = torch.tensor([0.0, 1.0], dtype=torch.float64)
        q = dist.Bernoulli(logits=self.encoder["logit"]).log_prob(values)
        rates = self.decoder["rates"]
        log_p = dist.Poisson(rates).log_prob(x.unsqueeze(-1)) - math.log(2)
        log_w = log_p - q
        total = 0
        for draws in torch.cartesian_prod(*[torch.arange(2)] * samples).reshape(-1, samples):
            each = log_w[:, draws]
            mean = each.logsumexp(-1) - math.log(samples)
            bound = beta * each.mean(-1) + (1 - beta) * mean
            total = total + q[draws].sum().exp() * bound.sum()
        return total


@pytest.mark.parametrize(
    ("objective", "samples", "beta"),
    [(ImportanceWeighted(1), 1, 0.0), (ImportanceWeighted(3), 3, 0.0), (CIWAE(0.4, 2), 2, 0.4)],
)
def test_discrete_latents(objective, samples, beta):
    vae, x = Coin(), torch.tensor([0.0, 2.0, 5.0], dtype=torch.float64)
    names = [n for n, _ in vae.named_parameters()]
    exact = torch.autograd.grad(-vae.bound(x, samples, beta), list(vae.parameters()))
    found = moments(objective, vae, x, repeats=10_000)
    for name, gradient in zip(names, exact, strict=True):
        mean, variance = found[name]
        assert (abs(mean - gradient) < 4.5 * variance.sqrt() + 1e-12).all()


@pytest.mark.parametrize("gradient", ["stl", "dreg"])
def test_draws_without_gradients_are_refused(gradient):
    vae, x = Coin(), torch.tensor([0.0, 2.0], dtype=torch.float64)
    svi = SVI(vae.model, vae.guide, pyro.optim.Adam({}), loss=ImportanceWeighted(2, gradient))
    with pytest.raises(ValueError, match=r"The draws of 'z'.*Bernoulli carry no gradient"):
        svi.step(x)


def test_flows_without_inverse_are_refused():
    flow = Planar(1).double()
    vae, x = LinearVAE(), torch.ones(4, 1, dtype=torch.float64)

    def guide(x):
        pyro.module("flow", flow)
        with pyro.plate("data", len(x)):
            base = dist.Normal(vae.encoder["a"] * x, vae.encoder["r"]).to_event(1)
            pyro.sample("z", dist.TransformedDistribution(base, [flow]))

    loss = ImportanceWeighted(3).loss_and_grads(vae.model, guide, x)
    assert torch.tensor(loss).isfinite()
    for objective in (ImportanceWeighted(3, "dreg"), PIWAE(2, 2)):
        with pytest.raises(
            ValueError, match=r"scores a copy of the draw.*posterior with an inverse"
        ):
            objective.loss_and_grads(vae.model, guide, x)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ImportanceWeighted(0), "num_samples is 0"),
        (lambda: ImportanceWeighted(2.5), "num_samples is 2.5"),
        (lambda: ImportanceWeighted(2, "drag"), "gradient is 'drag': it must be one of 'plain'"),
        (lambda: MIWAE(0, 2), "num_bounds is 0"),
        (lambda: MIWAE(2, 0), "num_samples is 0"),
        (lambda: PIWAE(-1, 2), "num_bounds is -1"),
        (lambda: CIWAE(1.5), "beta is 1.5"),
        (lambda: CIWAE(-0.1), "beta is -0.1"),
        (lambda: CIWAE(float("nan")), "beta is nan"),
        (lambda: RenyiELBO(1.0), "alpha should not be equal to 1"),
    ],
)
def test_bad_arguments(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
