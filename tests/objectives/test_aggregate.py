"""Objectives on where z lies as a whole: InfoVAE, WAE, FactorVAE."""

import math
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, TraceMeanField_ELBO

import pvae
from pvae.inference import CompiledSVI
from pvae.objectives import WAE, FactorVAE, InfoVAE
from pvae.objectives.factor_vae import shuffled
from pvae.objectives.mmd import SCALES, mmd
from tests.objectives_linear import gradients

D, N = 2, 7


@pytest.fixture
def vae():
    network = partial(pvae.networks.MLP, hidden=[8], activation="tanh")
    made = pvae.build((4,), D, likelihood=pvae.likelihoods.Gaussian, network=network)
    return made.double()


@pytest.fixture
def x():
    return torch.randn(N, 4, dtype=torch.float64)


def check_same(one, other, rel=1e-10):
    assert one[0] == pytest.approx(other[0], rel=rel)
    for name, gradient in other[1].items():
        torch.testing.assert_close(one[1][name], gradient, rtol=1e-9, atol=1e-9)


# Maximum mean discrepancy -----------------------------------------------------------------------

KERNELS = {
    "rbf": lambda d, c: math.exp(-d / c),
    "imq": lambda d, c: sum(s * c / (s * c + d) for s in SCALES),
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_mmd_by_hand(kernel):
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)

    def total(one, other, same):
        return sum(
            KERNELS[kernel](float(((a - b) ** 2).sum()), 1.7)
            for i, a in enumerate(one)
            for j, b in enumerate(other)
            if not (same and i == j)
        )

    by_hand = (total(x, x, True) + total(y, y, True)) / 20 - 2 * total(x, y, False) / 25
    equal = torch.full((5,), 0.2, dtype=torch.float64)
    assert mmd(x, y, kernel, 1.7, equal).item() == pytest.approx(by_hand, rel=1e-10)
    # Points without a share are as if they were not there.
    more = [torch.cat([each, torch.randn(2, 3, dtype=torch.float64)]) for each in (x, y)]
    some = torch.cat([equal, torch.zeros(2, dtype=torch.float64)])
    assert mmd(*more, kernel, 1.7, some).item() == pytest.approx(by_hand, rel=1e-10)
    one = torch.tensor([0.0, 1, 0, 0, 0], dtype=torch.float64)
    assert mmd(x, y, kernel, 1.7, one) == 0


class Fixed:
    """A posterior that ignores x, and a model of which only the latent matters."""

    def __init__(self, q, p):
        self.q, self.p = q, p

    def model(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.p)
            pyro.sample("x", dist.Normal(x.new_zeros(1), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.q)


def discrepancies(objective, q, p, n=30, repeats=100):
    programs, x = Fixed(q, p), torch.zeros(n, 1)
    constant = n * 0.5 * math.log(2 * math.pi)
    losses = [objective.loss(programs.model, programs.guide, x) for _ in range(repeats)]
    return (torch.tensor(losses) - constant) / n


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_discrepancy_is_zero_only_where_z_lies_as_the_prior(kernel):
    p = dist.Laplace(torch.tensor([3.0, -1.0]), torch.tensor([1.0, 4.0])).to_event(1)
    found = discrepancies(WAE(1.0, kernel), p, p)
    assert abs(found.mean()) < 4 * found.std() / len(found) ** 0.5
    assert found.min() < 0  # without bias
    shifted = dist.Laplace(torch.tensor([5.0, -1.0]), torch.tensor([1.0, 4.0])).to_event(1)
    narrow = dist.Laplace(torch.tensor([3.0, -1.0]), torch.tensor([0.2, 0.8])).to_event(1)
    for q in (shifted, narrow):
        other = discrepancies(WAE(1.0, kernel), q, p)
        assert other.mean() > found.mean() + 10 * found.std() / len(found) ** 0.5


def test_the_kernel_is_as_wide_as_the_prior():
    # Ten times as far apart in all directions, the points have the same discrepancy.
    q, p = (dist.Normal(torch.full((2,), m), 1.0).to_event(1) for m in (1.0, 0.0))
    wide_q, wide_p = (dist.Normal(torch.full((2,), m), 10.0).to_event(1) for m in (10.0, 0.0))
    found = []
    for one, other in ((q, p), (wide_q, wide_p)):
        torch.manual_seed(0)
        found.append(discrepancies(WAE(), one, other, repeats=2))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kernel", KERNELS)
def test_info_vae_by_hand(vae, x, kernel):
    torch.manual_seed(0)
    q = vae.posterior(x)
    z = q.rsample()
    drawn, others = (torch.randn(N, D, dtype=torch.float64) for _ in range(2))
    pairs = [(others[i] - others[j]).square().sum() for i in range(N) for j in range(N) if i != j]
    share = torch.full((N,), 1 / N, dtype=torch.float64)
    discrepancy = mmd(z, drawn, kernel, sum(pairs).item() / len(pairs), share)
    log_likelihood = vae.likelihood(z).log_prob(x).sum()
    kl = torch.distributions.kl_divergence(q, vae.prior()).sum()
    by_hand = -log_likelihood + 0.6 * kl + N * (0.4 + 5 - 1) * discrepancy
    found = gradients(InfoVAE(0.4, 5.0, kernel), vae, x)
    vae.zero_grad()
    by_hand.backward()
    expected = {n: p.grad for n, p in vae.named_parameters()}
    check_same(found, (by_hand.item(), expected))


def test_corners_of_info_vae(vae, x):
    elbo = gradients(TraceMeanField_ELBO(), vae, x)
    check_same(gradients(InfoVAE(0.0, 1.0), vae, x), elbo)
    check_same(gradients(WAE(3.0, "rbf"), vae, x), gradients(InfoVAE(1.0, 3.0, "rbf"), vae, x))


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_draws_of_a_discrete_prior_may_all_be_equal(kernel):
    priors, posteriors = pvae.priors.OneHot, pvae.posteriors.RelaxedOneHot
    vae = pvae.build((3,), 2, prior=priors, posterior=posteriors)
    svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-3}), InfoVAE(kernel=kernel))
    x = torch.tensor([[0.0, 1, 1], [1, 0, 1]])
    assert torch.tensor([svi.step(x) for _ in range(10)]).isfinite().all()
    assert all(p.isfinite().all() for p in vae.parameters())


def test_wae_with_a_posterior_that_is_a_point(vae, x):
    def guide(x):
        pyro.module("posterior", vae.posterior)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(vae.posterior(x).mean).to_event(1))

    svi = SVI(vae.model, guide, pyro.optim.Adam({"lr": 1e-2}), WAE())
    losses = torch.tensor([svi.step(x) for _ in range(30)])
    assert losses[-10:].mean() < losses[:10].mean()


# Total correlation by a discriminator -----------------------------------------------------------


def double(**arguments):
    return FactorVAE(D, hidden=[8], **arguments).to(torch.float64)


def test_factor_vae_without_its_penalty_is_the_elbo(vae, x):
    check_same(gradients(double(gamma=0.0), vae, x), gradients(TraceMeanField_ELBO(), vae, x))


def test_factor_vae_by_hand(vae, x):
    objective = double(gamma=3.0)
    loss, found = gradients(objective, vae, x)
    ours = [p.grad.clone() for p in objective.parameters()]
    torch.manual_seed(0)
    q = vae.posterior(x)
    z = q.rsample()
    order = torch.rand_like(z).argsort(0)
    shuffled = torch.stack([z[order[:, j], j] for j in range(D)], dim=-1).detach()
    kl = torch.distributions.kl_divergence(q, vae.prior()).sum()
    penalty = 3 * objective.discriminator(z).sum()
    by_hand = kl - vae.likelihood(z).log_prob(x).sum() + penalty
    expected = torch.autograd.grad(by_hand, list(vae.parameters()))
    check_same((loss, found), (by_hand.item(), dict(zip(found, expected, strict=True))))
    logits = objective.discriminator(torch.cat([z.detach(), shuffled])).squeeze(-1)
    labels = torch.tensor([1.0] * N + [0.0] * N, dtype=torch.float64)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
    expected = torch.autograd.grad(entropy / 2, list(objective.parameters()))
    for gradient, by_hand in zip(ours, expected, strict=True):
        torch.testing.assert_close(gradient, by_hand)


@pytest.mark.parametrize("inference", [SVI, partial(CompiledSVI, compile=True, backend="graph")])
def test_the_discriminator_learns_the_total_correlation(inference):
    rho = 0.8
    tril = torch.linalg.cholesky(torch.tensor([[1.0, rho], [rho, 1.0]]))
    q = dist.MultivariateNormal(torch.zeros(2), scale_tril=tril)
    programs = Fixed(q, dist.Normal(torch.zeros(2), 1.0).to_event(1))
    objective = FactorVAE(2, hidden=[32, 32], seed=None)
    optim = pyro.optim.Adam({"lr": 5e-3})
    svi = inference(programs.model, programs.guide, optim, objective)
    for _ in range(300):
        svi.step(torch.zeros(512, 1))
    z = q.sample((20_000,))
    found = objective.discriminator(z).mean()
    assert abs(found + 0.5 * math.log(1 - rho**2)) < 0.05
    # and not only its mean: the log of the ratio of the densities
    z = torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.7, -0.7]])
    ratio = q.log_prob(z) - dist.Normal(0.0, 1.0).log_prob(z).sum(-1)
    torch.testing.assert_close(objective.discriminator(z).squeeze(-1), ratio, atol=0.35, rtol=0)


def test_latents_are_shuffled_by_the_weights_of_their_data():
    z, weight = torch.arange(8.0).reshape(4, 2), torch.tensor([1.0, 0.0, 3.0, 0.0])
    for scale, mask in ((weight, None), (torch.ones(4), weight > 0)):
        site = {"scale": scale, "mask": mask, "log_prob": torch.zeros(4)}
        drawn = torch.cat([shuffled(z, site) for _ in range(500)])
        expected = torch.where(weight > 0, scale, 0) / torch.where(weight > 0, scale, 0).sum()
        for j in range(2):
            found = torch.stack([(drawn[:, j] == value).double().mean() for value in z[:, j]])
            torch.testing.assert_close(found, expected.double(), atol=0.05, rtol=0)
            assert (found[expected == 0] == 0).all()
    permuted = shuffled(z, {"scale": 0.5, "mask": None, "log_prob": torch.zeros(4)})
    assert (permuted.sort(0).values == z).all()


def test_two_discriminators_in_one_process(vae, x):
    for _ in range(2):
        objective = double()
        before = [p.detach().clone() for p in objective.parameters()]
        SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-2}), objective).step(x)
        now = objective.parameters()
        assert all((p != b).any() for p, b in zip(now, before, strict=True))


def test_the_discriminator_is_saved_and_follows_the_vae(vae, x):
    objective, again = FactorVAE(D, hidden=[8]), FactorVAE(D, hidden=[8], seed=1)
    state = {name: value.clone() for name, value in objective.state_dict().items()}
    again.load_state_dict(state)
    losses = [gradients(o, vae, x)[0] for o in (objective, again)]  # in float64, as the VAE
    assert losses[0] == losses[1]
    assert {p.dtype for p in objective.parameters()} == {torch.float64}


def test_factor_vae_of_another_size(vae, x):
    with pytest.raises(ValueError, match="latent_dim is 5: the VAE has 2 latents"):
        FactorVAE(5).loss(vae.model, vae.guide, x)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: InfoVAE(alpha=1.5), "alpha is 1.5"),
        (lambda: InfoVAE(alpha=math.nan), "alpha is nan"),
        (lambda: InfoVAE(alpha=0.5, lambda_=0.2), "lambda_ is 0.2: with alpha 0.5"),
        (lambda: InfoVAE(kernel="linear"), "kernel is 'linear'"),
        (lambda: WAE(-1.0), "lambda_ is -1.0"),
        (lambda: WAE(kernel="linear"), "kernel is 'linear'"),
        (lambda: FactorVAE(0), "latent_dim is 0"),
        (lambda: FactorVAE(2, gamma=-1.0), "gamma is -1.0"),
        (lambda: FactorVAE(2, hidden=[0]), "hidden is"),
    ],
)
def test_bad_arguments(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
