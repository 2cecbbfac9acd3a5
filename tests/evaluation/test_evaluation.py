import math
from functools import partial

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import pvae
from pvae.data import Batches
from pvae.evaluation import elbo, evaluate, summarize


def linear_gaussian(posterior_scale=1.0):
    """p(z) = N(0, 1), p(x|z) = N(wz, s²) with two elements, and its exact posterior, widened."""
    w, s = torch.tensor([[1.5], [-0.5]]), 0.7

    class Likelihood(nn.Module):
        domain = "reals"

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(w.clone())

        def forward(self, z):
            return dist.Normal(z @ self.weight.T, s).to_event(1)

    class Posterior(nn.Module):
        def forward(self, x):
            precision = 1 + (w**2).sum() / s**2
            mean = (x @ w) / s**2 / precision
            return dist.Normal(mean, posterior_scale * precision**-0.5).to_event(1)

    evidence = torch.distributions.MultivariateNormal(torch.zeros(2), w @ w.T + s**2 * torch.eye(2))
    return pvae.VAE(pvae.priors.StandardNormal(1), Likelihood(), Posterior()), evidence


def test_the_elbo_is_tight_when_the_posterior_is_exact():
    vae, evidence = linear_gaussian()
    x = evidence.sample((20_000,))
    bound = elbo(vae, x)
    torch.testing.assert_close(bound.elbo, bound.log_likelihood - bound.kl)
    gap = evidence.log_prob(x) - bound.elbo
    standard_error = gap.std() / len(x) ** 0.5
    assert abs(gap.mean()) < 4 * standard_error


def test_the_elbo_is_short_by_the_kl_of_the_posteriors():
    vae, evidence = linear_gaussian(posterior_scale=2.0)
    x = evidence.sample((20_000,))
    gap = evidence.log_prob(x) - elbo(vae, x).elbo
    kl = -math.log(2.0) + 0.5 * (4 - 1)
    standard_error = gap.std() / len(x) ** 0.5
    assert abs(gap.mean() - kl) < 4 * standard_error


def test_a_pair_without_a_closed_form_is_sampled(x):
    class Cauchy(nn.Module):
        def forward(self):
            return dist.Cauchy(torch.zeros(2), 1.0).to_event(1)

    built = pvae.build((1, 8, 8), 2)
    vae = pvae.VAE(Cauchy(), built.likelihood, built.posterior)
    torch.manual_seed(1)
    found = elbo(vae, x)
    torch.manual_seed(1)
    q = vae.encode(x)
    z = q.rsample()
    torch.testing.assert_close(found.kl, q.log_prob(z) - vae.prior().log_prob(z))


def test_bits_per_dim_of_bytes_under_a_density():
    # A decoder that ignores z has E[−log p((x + u) / 256)] in closed form.
    loc, scale = 0.4, 0.3
    data = pvae.data.load(np.random.default_rng(0).integers(0, 256, (400, 5)).astype(np.uint8))
    assert data.levels == 256
    likelihood = partial(pvae.likelihoods.Gaussian, scale=scale, network=Constant)
    vae = pvae.build((5,), 1, likelihood=likelihood)
    vae.likelihood.network.value.data.fill_(loc)
    y = data.train.x.double()
    mean_square = ((y + 0.5) / 256 - loc) ** 2 + (1 / 256) ** 2 / 12
    nats = 0.5 * math.log(2 * math.pi) + math.log(scale) + (0.5 * mean_square / scale**2).mean()
    found = evaluate(vae, data, "train")
    expected = (nats + found["kl"] / 5) / math.log(2) + 8
    assert found["bits_per_dim"] == pytest.approx(expected.item(), rel=1e-4)


class Constant(nn.Module):
    def __init__(self, in_shape, out_shape):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(out_shape))

    def forward(self, z):
        return self.value.expand(len(z), *self.value.shape)


def test_figures_repeat_and_leave_the_random_state(vae):
    data = pvae.data.load("digits")
    vae.train()
    state = torch.get_rng_state()
    first = evaluate(vae, data, "validation", seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert evaluate(vae, data, "validation", seed=1) == first
    assert evaluate(vae, data, "validation", seed=2) != first
    assert vae.training
    by_batch = evaluate(vae, data, "validation", seed=1, batch_size=7)
    assert by_batch["neg_elbo"] == pytest.approx(first["neg_elbo"], rel=0.05)


def test_a_fixed_choice_of_items(vae):
    data = pvae.data.load("digits", binarization="threshold")
    batches = Batches(data, data.train, "binary", 100)
    some = summarize(vae, batches, items=300)
    assert some == summarize(vae, batches, items=300)
    assert some["neg_elbo"] != summarize(vae, batches)["neg_elbo"]


def test_bad_arguments(vae):
    data = pvae.data.load("digits", validation=0)
    with pytest.raises(ValueError, match="digits has no validation part"):
        evaluate(vae, data, "validation")
    with pytest.raises(ValueError, match="part is 'tst': choose train, validation or test"):
        evaluate(vae, data, "tst")
    reals = pvae.data.load(np.random.default_rng(0).normal(size=(50, 8, 8)))
    with pytest.raises(ValueError, match=r"real numbers .* likelihood needs binary values"):
        evaluate(vae, reals, "train")
