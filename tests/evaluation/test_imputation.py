from functools import partial

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

import pvae
from pvae.evaluation.imputation import _propose, denoise, impute
from tests.evidence_cases import Affine, Discrete, LinearGaussian
from tests.likelihoods_cases import LIKELIHOODS
from tests.posteriors_cases import POSTERIORS, QUANTIZED, prior_for

quiet = {"progress": False}


def conditional(case, x, observed):
    """The exact E[x|x_o], stddev of x given x_o, and log p(x_o), for one row of observed."""
    o, m = observed, ~observed
    loc, cov = case.evidence.loc, case.evidence.covariance_matrix
    gain = cov[m][:, o] @ cov[o][:, o].inverse()
    mean = x.clone()
    mean[:, m] = loc[m] + (x[:, o] - loc[o]) @ gain.T
    rest = cov[m][:, m] - gain @ cov[o][:, m]
    log_prob = MultivariateNormal(loc[o], cov[o][:, o]).log_prob(x[:, o])
    return mean, rest, log_prob


OBSERVED = torch.tensor([True, False, True, False, False])


@pytest.mark.parametrize("method", ["importance", "nuts"])
def test_what_is_missing_from_a_gaussian_has_its_conditional_distribution(method):
    case = LinearGaussian(scale=0.9, shift=0.05)  # with an encoder that is somewhat wrong
    x = case.sample(2)
    mean, rest, log_prob = conditional(case, x, OBSERVED)
    num_samples = {"importance": 4000, "nuts": 250}[method]
    options = {"num_samples": num_samples, "draws": 2000, "method": method}
    found = impute(case.vae, x, OBSERVED, **options, **quiet)
    assert torch.equal(found.x[:, OBSERVED], x[:, OBSERVED])
    size = found.effective_sample_size
    assert (size > 100).all()
    error = rest.diagonal().sqrt() / size.sqrt().unsqueeze(-1)
    assert ((found.x - mean)[:, ~OBSERVED].abs() < 5 * error).all()
    torch.testing.assert_close(found.log_prob, log_prob, atol=0.15, rtol=0)
    assert found.draws.shape == (2000, 2, 5)
    assert (found.draws[:, :, OBSERVED] == x[:, OBSERVED]).all()
    drawn = found.draws[:, :, ~OBSERVED]
    bound = 6 * (rest.diagonal() / 100).sqrt()  # the draws are worth at least 100
    assert ((drawn.mean(0) - mean[:, ~OBSERVED]).abs() < bound).all()
    for k in range(2):
        torch.testing.assert_close(drawn[:, k].T.cov(), rest, atol=0.35, rtol=0.2)
    assert impute(case.vae, x, OBSERVED, num_samples=8, **quiet).draws.shape == (0, *x.shape)


def test_sums_over_a_discrete_latent_are_exact():
    toy = Discrete()
    x = toy.sample(6)
    observed = torch.rand(6, toy.observed) < 0.5
    z = torch.eye(toy.categories, dtype=torch.float64).unsqueeze(1)
    with torch.no_grad():
        p = toy.vae.decode(z)
        terms = (p.base_dist.log_prob(x) * observed).sum(-1)
        joint = terms + toy.vae.p_z().log_prob(z.squeeze(1)).unsqueeze(1)
        expected = (joint.softmax(0).unsqueeze(-1) * p.mean).sum(0)
    found = impute(toy.vae, x, observed, num_samples=5000, **quiet)
    assert torch.equal(found.x[observed], x[observed])
    torch.testing.assert_close(found.log_prob, joint.logsumexp(0), atol=0.08, rtol=0)
    torch.testing.assert_close(found.x, torch.where(observed, x, expected), atol=0.02, rtol=0)
    with pytest.raises(ValueError, match="'nuts' needs a density over continuous z, which OneHot"):
        impute(toy.vae, x, observed, method="nuts", **quiet)


def test_all_or_nothing_observed():
    case = LinearGaussian()
    x = case.sample(5)
    full = impute(case.vae, x, torch.tensor(True), num_samples=4000, draws=2, **quiet)
    assert torch.equal(full.x, x)
    assert torch.equal(full.draws, x.expand(2, 5, 5))
    torch.testing.assert_close(full.log_prob, case.evidence.log_prob(x), atol=0.1, rtol=0)
    empty = impute(case.vae, x * torch.nan, torch.zeros(5), num_samples=10_000, **quiet)
    error = case.evidence.stddev / empty.effective_sample_size.sqrt().unsqueeze(-1)
    assert ((empty.x - case.evidence.loc).abs() < 5 * error).all()
    torch.testing.assert_close(empty.log_prob, torch.zeros(5).double(), atol=0.1, rtol=0)


def test_missing_values_may_be_anything_and_parts_of_any_size():
    case = LinearGaussian()
    x = case.sample(6)
    mask = (torch.arange(30).reshape(6, 5) * 7 % 3 > 0).float()
    holed = torch.where(mask == 1, x, torch.nan)
    state = torch.get_rng_state()
    found = impute(case.vae, holed, mask, num_samples=300, draws=3, **quiet)
    assert torch.equal(torch.get_rng_state(), state)
    assert found.x.isfinite().all()
    assert found.draws.isfinite().all()
    wild = torch.where(mask == 1, x, 1e9)
    again = impute(case.vae, wild, mask, num_samples=300, draws=3, **quiet)
    for one, other in zip(found, again, strict=True):
        assert torch.equal(one, other)
    # In many small parts the draws are others, the answer is the same.
    parts = impute(case.vae, x, mask, num_samples=1000, memory=0.02, **quiet)
    exact = torch.stack([conditional(case, x[[k]], mask[k] == 1)[0][0] for k in range(6)])
    torch.testing.assert_close(parts.x, exact, atol=0.3, rtol=0)
    assert torch.equal(parts.x[mask == 1], x[mask == 1])


def test_two_modes_are_both_found():
    # x1 = |z| almost: given it z is of either sign, and so is x2 = z.
    class Fold(torch.nn.Module):
        def forward(self, z):
            return torch.cat([z.abs(), z], -1)

    likelihood = partial(pvae.likelihoods.Gaussian, scale=0.1, network=lambda *_: Fold())
    weight, bias = torch.tensor([[0.0, 1.0], [0.0, 0.0]]), torch.tensor([0.0, -2.3])
    posterior = partial(pvae.posteriors.DiagonalNormal, network=lambda *_: Affine(weight, bias))
    vae = pvae.build((2,), 1, likelihood=likelihood, posterior=posterior)
    x = torch.tensor([[1.5, torch.nan]])
    found = impute(vae, x, torch.tensor([1, 0]), draws=500, **quiet)
    share = (found.draws[:, 0, 1] > 0).float().mean()
    assert 0.35 < share < 0.65
    assert found.x[0, 1].abs() < 0.5
    assert found.draws[:, 0, 1].abs().sub(1.5).abs().max() < 1


@pytest.mark.parametrize("k", [2, 60, 100])
def test_a_proposal_is_drawn_no_more_often_than_needed(k):
    taken = []

    class Counted(Normal):
        def sample(self, sample_shape=()):
            found = super().sample(sample_shape)
            taken.append(found)
            return found

    loc = torch.arange(30.0).reshape(30, 1, 1).expand(30, 4, 2)
    q = torch.distributions.Independent(Counted(loc, torch.tensor(1e-3)), 1)
    prior = pvae.priors.StandardNormal(2)()
    z, log_density = _propose(prior, q, k)
    assert z.shape == (k, 4, 2)
    assert log_density.shape == (k, 4)
    assert len(taken[0].flatten(0, 1)) < k + 30
    # Each component is drawn as often as any other, or once less, but for draws of the prior.
    ours = (z - z.round()).abs().amax(-1) < 0.01
    assert 0.5 < ours.float().mean() <= 1
    for of_datum, kept in zip(z.unbind(1), ours.unbind(1), strict=True):
        assert of_datum[kept][:, 0].round().long().bincount(minlength=30).max() <= -(-k // 30)


def test_noise_is_removed_by_the_posterior_mean():
    case = LinearGaussian(scale=1.3, shift=0.2)
    x = case.sample(20)
    mean = case.posterior(x).mean @ case.weight.T + case.bias
    spread = (case.weight @ case.covariance @ case.weight.T).diagonal().sqrt()
    found = denoise(case.vae, x, num_samples=4000, **quiet)
    error = spread / found.effective_sample_size.sqrt().unsqueeze(-1)
    assert (found.effective_sample_size > 200).all()
    assert ((found.x - mean).abs() < 5 * error).all()
    assert (case.vae.reconstruct(x) - mean).abs().min() > (found.x - mean).abs().max()
    toy = Discrete()
    x = toy.sample(5)
    every = toy.vae.decode(torch.eye(4, dtype=torch.float64)).mean.detach()
    found = denoise(toy.vae, x, num_samples=20_000, **quiet)
    torch.testing.assert_close(found.x, toy.posterior(x).probs @ every, atol=0.02, rtol=0)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_every_likelihood_is_imputed_or_refused(name):
    torch.manual_seed(0)
    small = partial(pvae.networks.MLP, hidden=[8])
    vae = pvae.build((1, 4, 4), 2, likelihood=LIKELIHOODS[name], network=small)
    x = vae.sample(3, draw=True)
    mask = torch.arange(4) < 2
    options = {"num_samples": 50, "draws": 2, **quiet}
    if "observed" in name or name == "Multinomial":
        with pytest.raises(ValueError, match="needs all elements of x at once"):
            impute(vae, x, mask, **options)
    elif "relaxed" in name:
        with pytest.raises(ValueError, match="no density"):
            impute(vae, x, mask, **options)
    else:
        found = impute(vae, x, mask, **options)
        assert torch.equal(found.x[..., :2], x[..., :2])
        assert found.x.isfinite().all()
        assert vae.decode(torch.zeros(2)).support.check(found.draws).all()
    if "relaxed" not in name:
        assert denoise(vae, x, num_samples=50, **quiet).x.shape == x.shape


@pytest.mark.parametrize("name", POSTERIORS)
def test_every_posterior_estimates_the_same(name):
    torch.manual_seed(0)
    vae = pvae.build(
        (5,),
        4,
        prior=prior_for(name),
        posterior=POSTERIORS[name],
        network=partial(pvae.networks.MLP, hidden=[8]),
    )
    x, mask = vae.sample(3, draw=True), torch.tensor([1, 1, 0, 0, 1])
    if name.partition(",")[0] in {"Delta", *QUANTIZED}:
        with pytest.raises(ValueError, match=r"Delta is a point mass|is a single code"):
            impute(vae, x, mask, **quiet)
        with pytest.raises(ValueError, match=r"Delta is a point mass|is a single code"):
            denoise(vae, x, **quiet)
        return
    found = impute(vae, x, mask, num_samples=4000, **quiet)
    with torch.no_grad():
        z = vae.p_z().expand((1,)).sample((20_000,))
        terms = vae.decode(z).base_dist.log_prob(x)[..., mask == 1].sum(-1)
        expected = (terms.softmax(0).unsqueeze(-1) * vae.decode(z).mean).sum(0)
    torch.testing.assert_close(found.x[:, mask == 0], expected[:, mask == 0], atol=0.05, rtol=0)
    log_prob = terms.logsumexp(0) - torch.tensor(20_000.0).log()
    torch.testing.assert_close(found.log_prob, log_prob, atol=0.15, rtol=0)


def test_a_prior_that_is_a_vae():
    torch.manual_seed(0)
    vae = pvae.build((5,), 3, prior=pvae.priors.Nested)
    x, mask = vae.sample(3, draw=True), torch.tensor([1, 1, 0, 0, 1])
    found = impute(vae, x, mask, num_samples=500, draws=2, **quiet)
    assert found.x.isfinite().all()
    with pytest.raises(ValueError, match="'nuts' needs a density"):
        impute(vae, x, mask, method="nuts", **quiet)


def test_labels_say_what_to_fill_in():
    torch.manual_seed(0)
    vae = pvae.build((1, 4, 4), 2, conditional=True, classes=3)
    x, y = torch.bernoulli(torch.full((6, 1, 4, 4), 0.5)), torch.arange(6) % 3
    mask = torch.arange(4) < 2
    for method in ("importance", "nuts"):
        found = impute(vae, x, mask, y, num_samples=20, draws=2, method=method, **quiet)
        assert found.draws.shape == (2, 6, 1, 4, 4)
    assert denoise(vae, x, y, num_samples=20, **quiet).x.shape == x.shape
    with pytest.raises(ValueError, match="conditional: give its labels y"):
        impute(vae, x, mask, **quiet)


def test_what_cannot_be_imputed_is_refused(vae, x):
    mask = torch.ones(8, 8)
    for wrong, sentence in (
        (torch.ones(7, 8), r"mask has shape \(7, 8\): it must broadcast .* \(6, 1, 8, 8\)"),
        (torch.ones(2, 6, 1, 8, 8), r"mask has shape \(2, 6, 1, 8, 8\)"),
        (mask / 2, "mask has values other than 0 and 1"),
    ):
        with pytest.raises(ValueError, match=sentence):
            impute(vae, x, wrong, **quiet)
    for options, sentence in (
        ({"method": "mice"}, "method is 'mice': it must be 'importance' or 'nuts'"),
        ({"draws": -1}, "draws is -1"),
        ({"num_samples": 0}, "num_samples is 0"),
        ({"memory": 0}, "memory is 0"),
    ):
        with pytest.raises(ValueError, match=sentence):
            impute(vae, x, mask, **options, **quiet)
    with pytest.raises(ValueError, match=r"expected \(\*batch, 1, 8, 8\)"):
        impute(vae, x.flatten(1), mask, **quiet)
    with pytest.raises(ValueError, match=r"x holds .*binary values, 0 and 1"):
        impute(vae, x + 0.5, mask, **quiet)
    # What is not observed need not be in the support.
    grey = torch.where(torch.arange(8) < 4, x, 0.5)
    found = impute(vae, grey, torch.arange(8) < 4, num_samples=20, **quiet)
    assert torch.equal(found.x[..., :4], x[..., :4])
