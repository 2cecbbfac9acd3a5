import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

import pvae
from pvae.evaluation.decomposition import _marginals, active_units, kl_decomposition
from tests.evidence_cases import Discrete, LinearGaussian
from tests.posteriors_cases import ONLY_OWN_DRAWS, POSTERIORS, QUANTIZED, prior_for

QUIET = {"progress": False}
SCORED = [
    name
    for name in POSTERIORS
    if name.partition(",")[0] not in {"Delta", *QUANTIZED, *ONLY_OWN_DRAWS}
]
# Whose posterior has no density of a single latent.
JOINT = ("Autoregressive", "Spline", "Power", "OneHot", "Wrapped", "TopDown", "Smoothing")


class Copy(nn.Module):
    """A posterior network that returns the data themselves."""

    def forward(self, x):
        return x


def vae_of_outputs(posterior, numbers, latent_dim):
    """A VAE whose data are what the posterior's network returns."""
    return pvae.build(
        (numbers,),
        latent_dim,
        likelihood=pvae.likelihoods.Gaussian,
        posterior=partial(posterior, network=Copy()),
    ).double()


def small(name):
    network = partial(pvae.networks.MLP, hidden=[8])
    vae = pvae.build((6,), 4, prior=prior_for(name), posterior=POSTERIORS[name], network=network)
    return vae.double(), torch.bernoulli(torch.full((12, 6), 0.5, dtype=torch.float64))


def test_few_data():
    case = LinearGaussian()
    for n in (1, 2):
        found = kl_decomposition(case.vae, case.sample(n), **QUIET)
        # Posteriors so far from each other carry all of log n.
        assert found.mutual_information.item() == pytest.approx(math.log(n), abs=0.01)
        parts = found.total_correlation + found.dimension_wise.sum()
        assert parts.item() == pytest.approx(found.marginal_kl.item())


def test_the_information_is_that_of_the_gaussian_channel():
    case = LinearGaussian()
    found = kl_decomposition(case.vae, case.sample(3000), num_samples=2, **QUIET)
    exact = 0.5 * torch.logdet(
        torch.eye(2, dtype=torch.float64) + case.weight.T @ case.weight / case.noise**2
    )
    # A sum over 3000 data stands for an integral.
    assert found.mutual_information.item() == pytest.approx(exact.item(), abs=0.05)
    assert 0 <= found.marginal_kl < 0.05
    assert abs(found.total_correlation) < 0.05
    assert found.dimension_wise.abs().max() < 0.02
    assert found.kl.shape == (3000,)


def test_a_correlated_aggregate_has_the_total_correlation_of_its_normal():
    # Means of covariance S - 0.2 I under posteriors of variance 0.2 make q(z) = N(m, S).
    g = torch.Generator().manual_seed(0)
    covariance = torch.tensor([[1.5, 0.9], [0.9, 1.0]], dtype=torch.float64)
    shift = torch.tensor([0.5, 0.0], dtype=torch.float64)
    factor = torch.linalg.cholesky(covariance - 0.2 * torch.eye(2, dtype=torch.float64))
    mean = shift + torch.randn(4000, 2, generator=g, dtype=torch.float64) @ factor.T
    scale = torch.full_like(mean, 0.2).sqrt().log()
    vae = vae_of_outputs(pvae.posteriors.DiagonalNormal, 4, 2)
    found = kl_decomposition(vae, torch.cat([mean, scale], -1), **QUIET)
    aggregate = MultivariateNormal(shift, covariance)
    single = Normal(shift, covariance.diagonal().sqrt())
    each = kl_divergence(single, Normal(torch.zeros_like(shift), 1.0))
    correlation = single.entropy().sum() - aggregate.entropy()
    assert found.total_correlation.item() == pytest.approx(correlation.item(), abs=0.04)
    torch.testing.assert_close(found.dimension_wise, each, atol=0.05, rtol=0)
    assert found.marginal_kl.item() == pytest.approx((correlation + each.sum()).item(), abs=0.06)


@pytest.mark.parametrize("name", SCORED)
@pytest.mark.parametrize("num_samples", [1, 3])
def test_the_parts_sum_exactly(name, num_samples):
    vae, x = small(name)
    found = kl_decomposition(vae, x, num_samples=num_samples, memory=0.05, **QUIET)
    torch.testing.assert_close(found.kl.mean(), found.mutual_information + found.marginal_kl)
    known = not any(part in name for part in JOINT)
    assert (found.dimension_wise is not None) is known
    if known:
        parts = found.total_correlation + found.dimension_wise.sum()
        torch.testing.assert_close(found.marginal_kl, parts)


def test_one_draw_is_enough_where_all_data_are_one():
    vae, x = small("FullNormal")
    found = kl_decomposition(vae, x[:1].expand(20, -1), **QUIET)
    assert found.mutual_information.abs() < 1e-9
    apart = vae_of_outputs(pvae.posteriors.DiagonalNormal, 4, 2)
    far = torch.arange(20.0, dtype=torch.float64).unsqueeze(1) * torch.tensor([100.0, 100, 0, 0])
    found = kl_decomposition(apart, far, **QUIET)
    # Posteriors that do not overlap identify which of the n data it is, and no more.
    assert found.mutual_information.item() == pytest.approx(torch.tensor(20.0).log().item())
    assert found.total_correlation.item() == pytest.approx(torch.tensor(20.0).log().item())


def test_discrete_latents_agree_with_sums_over_all_categories():
    toy = Discrete()
    for p in toy.vae.posterior.parameters():
        p.data.mul_(4)
    x = toy.sample(40)
    with toy.vae.evaluating():
        q = toy.vae.encode(x).mean
        p = toy.vae.p_z().mean
    marginal_kl = (q.mean(0) * (q.mean(0) / p).log()).sum()
    information = (q * (q / q.mean(0)).log()).sum(-1).mean()
    found = kl_decomposition(toy.vae, x, num_samples=500, **QUIET)
    torch.testing.assert_close(found.kl, (q * (q / p).log()).sum(-1))
    assert information > 0.05
    assert found.mutual_information.item() == pytest.approx(information.item(), abs=0.02)
    assert found.marginal_kl.item() == pytest.approx(marginal_kl.item(), abs=0.02)


@pytest.mark.parametrize(
    "name", ["DiagonalNormal", "LowRankNormal", "FullNormal", "HouseholderFlow", "MixtureOfNormals"]
)
def test_marginals_are_those_of_the_joint(name):
    vae, x = small(name)
    with vae.evaluating():
        for p in vae.posterior.parameters():
            p.mul_(2)
        q = vae.encode(x[:2])
        single, z = _marginals(q), q.sample((4000,))
        assert single.batch_shape == (2, 4)
        # At a variable's own draws its distribution function is uniform.
        uniform = single.cdf(z) if name != "MixtureOfNormals" else _mixture_cdf(single, z)
        rank = uniform.sort(0).values
        even = torch.linspace(0, 1, 4000, dtype=rank.dtype).view(-1, 1, 1)
        assert (rank - even).abs().max() < 0.035


def _mixture_cdf(mixture, z):
    parts = mixture.component_distribution.cdf(z.unsqueeze(-1))
    return (mixture.mixture_distribution.probs * parts).sum(-1)


def test_chunks_do_not_matter():
    vae, x = small("DiagonalNormal")
    whole = kl_decomposition(vae, x, num_samples=2000, **QUIET)
    parts = kl_decomposition(vae, x, num_samples=2000, memory=0.1, **QUIET)
    torch.testing.assert_close(parts.kl, whole.kl)
    torch.testing.assert_close(parts[1:4], whole[1:4], atol=0.02, rtol=0)
    again = kl_decomposition(vae, x, num_samples=2000, **QUIET)
    assert torch.equal(again.marginal_kl, whole.marginal_kl)


def test_a_prior_of_dependent_latents_leaves_the_single_latents_out():
    network = partial(pvae.networks.MLP, hidden=[8])
    vae = pvae.build((6,), 2, prior=pvae.priors.Mixture, network=network)
    found = kl_decomposition(vae, torch.ones(5, 6), **QUIET)
    assert found.total_correlation is not None
    assert found.dimension_wise is None


def test_labels_are_data_too():
    vae = pvae.build((6,), 2, conditional=True, classes=3)
    y = torch.tensor([0, 1, 2, 0])
    found = kl_decomposition(vae, torch.ones(4, 6), y, **QUIET)
    assert found.mutual_information.isfinite()
    seen = pvae.build((6,), 2, conditional=["prior", "likelihood"], classes=3)
    with pytest.raises(ValueError, match="The prior sees the labels"):
        kl_decomposition(seen, torch.ones(4, 6), y, **QUIET)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Delta", "is a point mass"),
        ("PlanarFlow", "can score only its own draws"),
        ("SylvesterFlow", "SylvesterFlow can score only its"),
    ],
)
def test_what_has_no_decomposition_is_refused(name, says):
    vae, x = small(name)
    with pytest.raises(ValueError, match=says):
        kl_decomposition(vae, x, **QUIET)


def test_a_latent_is_active_where_its_mean_varies():
    vae = vae_of_outputs(pvae.posteriors.DiagonalNormal, 6, 3)
    g = torch.Generator().manual_seed(0)
    x = torch.zeros(500, 6, dtype=torch.float64)
    x[:, :3] = torch.randn(500, 3, generator=g, dtype=torch.float64) * torch.tensor([1, 0.05, 0])
    found = active_units(vae, x, **QUIET)
    torch.testing.assert_close(found.variance, x[:, :3].var(0))
    assert found.active.tolist() == [True, False, False]
    assert found.count == 1
    assert active_units(vae, x, threshold=0.001, **QUIET).count == 2
    with pytest.raises(ValueError, match="x has 1 datum"):
        active_units(vae, x[:1], **QUIET)


def test_draws_that_vary_make_no_latent_active():
    # A flow that ignores the data: its mean is estimated, and is the same for all.
    vae, x = small("InverseAutoregressiveFlow")
    for p in vae.posterior.parameters():
        p.data.zero_()
    found = active_units(vae, x.repeat(200, 1), **QUIET)
    assert found.variance.abs().max() < 0.002
    assert found.count == 0
