"""Codes: vector and finite scalar quantization, priors over them, and their evaluation."""

import math
from functools import partial

import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import nn

import pvae
from pvae.distributions import AutoregressiveCodes, Codes, QuantizedDelta, UniformCodes
from pvae.evaluation import code_usage
from pvae.inference import CompiledSVI, Optimizer
from pvae.posteriors import FSQ, VQ
from pvae.priors import PixelCNN
from pvae.priors import UniformCodes as UniformPrior

NETWORK = partial(pvae.networks.MLP, hidden=[16])


def build(posterior, latent_dim=6, prior=UniformPrior, **parts):
    return pvae.build((1, 8, 8), latent_dim, prior, posterior=posterior, network=NETWORK, **parts)


class Itself(nn.Module):
    """A network that returns its input, so that r = x."""

    def __init__(self, in_shape, out_shape):
        super().__init__()
        self.in_shape, self.out_shape = in_shape, out_shape

    def forward(self, x):
        return x


# Quantization -------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [(2,), (3, 4), (6, 7), (8, 5, 5, 5)])
def test_fsq_reaches_every_level_and_no_other(levels):
    posterior = FSQ((len(levels),), len(levels), Itself, levels=levels)
    r = torch.linspace(-6, 6, 4001)
    for i, count in enumerate(levels):
        x = torch.zeros(4001, len(levels))
        x[:, i] = r
        found = posterior(x).mean[:, i].unique()
        expected = (torch.arange(count) - count // 2) / (count // 2)
        torch.testing.assert_close(found, expected)
    assert posterior.codes.size == math.prod(levels)
    assert posterior.codes.check(posterior(torch.randn(500, len(levels))).mean).all()


def test_fsq_passes_gradients_straight_through():
    posterior = FSQ((4,), 4, Itself, levels=(3, 2)).double()
    x = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(posterior(x).rsample().sum(), x)
    half = torch.tensor([1.0, 0.5] * 2).double() * (1 + 1e-3)
    torch.testing.assert_close(slope, half * (1 - x.tanh() ** 2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", range(2, 9))
def test_no_number_of_levels_begins_saturated(count):
    posterior = FSQ((1,), 1, Itself, levels=(count,)).double()
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    z = posterior(x).rsample()
    (slope,) = torch.autograd.grad(z.sum(), x)
    assert float(slope) > 0.45
    if count > 2:  # the middle level, as far as one can go either way
        assert float(z.detach()) == 0
    else:  # between its two levels
        assert posterior(x + 1e-6).mean != posterior(x - 1e-6).mean


def test_vq_takes_the_nearest_code():
    posterior = VQ((4,), 4, Itself, codes=7, grid=(2,)).eval()
    x = torch.randn(20, 4)
    q = posterior(x)
    pairs = torch.cdist(x.reshape(40, 2), posterior.vectors)
    assert torch.equal(q.codes.indices(q.mean).flatten(), pairs.argmin(-1))
    torch.testing.assert_close(q.mean, posterior.vectors[pairs.argmin(-1)].reshape(20, 4))


@pytest.mark.parametrize("update", ["ema", "loss"])
def test_vq_has_the_gradients_of_the_paper(update):
    posterior = VQ((4,), 4, Itself, codes=7, grid=(2,), update=update).double()
    x = torch.randn(20, 4, dtype=torch.float64, requires_grad=True)
    q = posterior(x)
    assert torch.equal(q.log_prob(q.rsample()), torch.zeros(20).double())
    wanted = [x, *posterior.parameters()]
    found = torch.autograd.grad((q.rsample().sin() + q.log_prob(q.mean)[:, None] / 4).sum(), wanted)
    e = q.mean.detach()
    torch.testing.assert_close(found[0], e.cos() + 2 * 0.25 * (x - e).detach())
    if update == "loss":
        book = posterior.codebook.detach().clone().requires_grad_()
        nearest = book[q.codes.indices(x)].flatten(-2)
        (by_hand,) = torch.autograd.grad((x.detach() - nearest).square().sum(), book)
        torch.testing.assert_close(found[1], by_hand)


def test_moving_averages():
    torch.manual_seed(0)
    posterior = VQ((2,), 2, Itself, codes=3, decay=0.5, revival=0.0)
    x = torch.randn(50, 2)
    first = posterior.vectors.clone()
    q = posterior(x)
    assert torch.equal(posterior.vectors, first)  # what the prior sees in this pass
    indices = q.codes.indices(q.mean).flatten()
    posterior(x)
    for k in range(3):
        own = x[indices == k]
        usage = 0.5 * 1 + 0.5 * len(own)
        expected = (0.5 * first[k] + 0.5 * own.sum(0)) / usage
        torch.testing.assert_close(posterior.vectors[k], expected)
    after = posterior.vectors.clone()
    posterior.eval()(x)
    assert torch.equal(posterior.vectors, after)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_unused_codes_stay_where_they_are(decay):
    posterior = VQ((2,), 2, Itself, codes=2, decay=decay, revival=0.0)
    posterior.vectors.copy_(torch.tensor([[1.0, 1.0], [-5.0, 3.0]]))
    posterior.sums.copy_(posterior.vectors)
    for _ in range(200):  # until usage and sums of the second are 0
        posterior(torch.ones(5, 2))
    assert float(posterior.usage[1]) == 0
    assert posterior.vectors.tolist() == [[1, 1], [-5, 3]]


def test_codes_that_are_set_anew_forget_the_pass_before():
    torch.manual_seed(0)
    posterior = VQ((2,), 2, Itself, codes=4, decay=0.5)
    posterior(torch.randn(50, 2))
    x = 9 + torch.randn(4, 2)
    posterior.initialize(x)
    first = posterior.vectors.clone()
    posterior(x)
    assert torch.equal(posterior.vectors, first)
    posterior(x)
    torch.testing.assert_close(posterior.vectors, first)  # each is the mean of its only r


@pytest.mark.parametrize("update", ["ema", "loss"])
def test_dead_codes_are_revived(update):
    torch.manual_seed(0)
    x = 5 + torch.randn(500, 2)
    used = []
    for revival in (0.0, 0.5):
        posterior = VQ((2,), 2, Itself, codes=30, decay=0.5, update=update, revival=revival)
        for _ in range(30):
            posterior(x)
        q = posterior.eval()(x)
        used.append(len(q.codes.indices(q.mean).unique()))
    assert used[0] < 5
    assert used[1] > 20


def test_codes_begin_at_the_data():
    posterior = VQ((2,), 2, Itself, codes=30)
    x = 5 + torch.randn(100, 2)
    posterior.initialize(x)
    assert (posterior.vectors.unsqueeze(1) == x).all(-1).any(1).all()
    with pytest.raises(ValueError, match="30 codes and 20 vectors of 20 data"):
        posterior.initialize(x[:20])
    vae = build(partial(VQ, codes=5000))
    with pytest.raises(ValueError, match="5000 codes"):
        pvae.fit(vae, pvae.data.load("digits"), epochs=1, progress=False)


# Distributions and priors -------------------------------------------------------------------------


def test_uniform_codes():
    codes = Codes(torch.randn(4, 3), grid=(2, 2))
    p = UniformCodes(codes)
    z = p.sample((4000,))
    assert codes.check(z).all()
    counts = codes.indices(z).flatten().bincount()
    assert ((counts - 4000).abs() < 5 * 4000**0.5).all()
    torch.testing.assert_close(p.log_prob(z), torch.full((4000,), -4 * math.log(4)))
    assert p.expand((5,)).log_prob(z[0]).shape == (5,)
    with pytest.raises(ValueError, match="support"):
        p.log_prob(z + 0.1)


def test_a_point_has_its_own_kl():
    codes = Codes(torch.randn(4, 3), grid=(2,))
    z = UniformCodes(codes).sample((5,))
    surrogate = torch.ones(5, requires_grad=True)
    q = QuantizedDelta(z, codes, surrogate)
    kl = torch.distributions.kl_divergence(q, UniformCodes(codes))
    torch.testing.assert_close(kl, torch.full((5,), 2 * math.log(4)))
    assert torch.autograd.grad(kl.sum(), surrogate)[0].tolist() == [1] * 5
    assert q.expand((3, 5)).log_prob(z).shape == (3, 5)


@pytest.mark.parametrize("grid", [(5,), (2, 3)])
def test_masked_convolutions_see_only_what_is_before(grid):
    prior = PixelCNN(2 * math.prod(grid), hidden=8, layers=2).double()
    posterior = FSQ((1,), 2 * math.prod(grid), NETWORK, levels=(3, 3), grid=grid).double()
    prior.connect(posterior)
    z = prior().sample().requires_grad_()
    logits = prior.logits(z)
    for p in range(math.prod(grid)):
        (slope,) = torch.autograd.grad(logits[p].sum(), z, retain_graph=True)
        seen = slope.unflatten(-1, (-1, 2)).abs().sum(-1) > 0
        assert not seen[p:].any()
        assert bool(seen[:p].any()) == (p > 0)


def test_autoregressive_codes_draw_as_they_score():
    torch.manual_seed(0)
    prior = PixelCNN(4, hidden=8, layers=1)
    prior.connect(FSQ((1,), 4, NETWORK, levels=(3, 2)))
    for weight in prior.parameters():
        weight.data *= 3
    p = prior()
    assert isinstance(p, AutoregressiveCodes)
    everything = p.codes.vectors(torch.cartesian_prod(torch.arange(6), torch.arange(6)))
    mass = p.log_prob(everything).exp().detach()
    assert float(mass.sum()) == pytest.approx(1, abs=1e-5)
    drawn = p.codes.indices(p.sample((5000,)))
    frequency = (drawn[:, 0] * 6 + drawn[:, 1]).bincount(minlength=36) / 5000
    assert ((frequency - mass).abs() < 5 * (mass / 5000).sqrt() + 1e-3).all()


def test_codes_are_found_far_from_the_origin():
    """No cancellation of large squares."""
    book = 1000 + 0.01 * torch.randn(50, 3)
    codes, indices = Codes(book, grid=(4,)), torch.randint(50, (20, 4))
    assert torch.equal(codes.indices(codes.vectors(indices)), indices)
    assert codes.check(codes.vectors(indices)).all()


@pytest.mark.parametrize("arguments", [{"levels": 2.5}, {"levels": "88"}, {"grid": "a"}])
def test_sizes_of_fsq_of_another_kind(arguments):
    with pytest.raises(ValueError, match=r"^(levels|grid) is .*: "):
        FSQ((3,), 4, **arguments)
    assert FSQ((3,), 2, levels=8, grid=2).codes.size == 8


def test_levels_of_a_point_at_codes():
    found = pvae.evaluation.kl_by_level(
        build(partial(VQ, codes=8, grid=(3,))), torch.ones(2, 1, 8, 8), progress=False
    )
    torch.testing.assert_close(found.kl, torch.full((2, 1), 3 * math.log(8)))


def test_priors_over_codes_need_them():
    for prior in (UniformPrior, PixelCNN):
        with pytest.raises(RuntimeError, match="connect"):
            prior(4)()
        with pytest.raises(ValueError, match="has no codes"):
            pvae.build((3,), 4, prior)
    with pytest.raises(ValueError, match="over the same z"):
        build(VQ, prior=pvae.priors.StandardNormal)
    with pytest.raises(ValueError, match="point mass at codes"):
        build(VQ, prior=pvae.priors.VampPrior)
    with pytest.raises(ValueError, match="kernel is 4"):
        PixelCNN(4, kernel=4)


# In a VAE -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "posterior", [partial(VQ, codes=8, grid=(3,)), partial(FSQ, levels=(4, 3))]
)
def test_the_loss_is_the_length_of_a_code(posterior):
    vae, x = build(posterior).eval(), torch.ones(5, 1, 8, 8)
    size, positions = vae.posterior.codes.size, vae.posterior.codes.positions
    with torch.no_grad():
        z = vae.encode(x).mean
        likelihood = float(vae.decode(z).log_prob(x).sum())
    expected = positions * math.log(size) * 5 - likelihood
    for objective in (Trace_ELBO(), pvae.objectives.FreeBits(0.0)):
        assert objective.loss(vae.model, vae.guide, x) == pytest.approx(expected, rel=1e-5)
    found = pvae.evaluation.elbo(vae, x)
    torch.testing.assert_close(found.kl, torch.full((5,), positions * math.log(size)))


@pytest.mark.parametrize("update", ["ema", "loss"])
def test_compiled_steps_move_the_codebook_alike(update):
    found = []
    for inference in (SVI, partial(CompiledSVI, compile=True, backend="graph")):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        vae = build(partial(VQ, codes=8, grid=(3,), update=update, decay=0.5, revival=0.5)).double()
        x = torch.rand(30, 1, 8, 8, dtype=torch.float64).round()
        optim = Optimizer(vae.parameters(), partial(torch.optim.Adam, lr=1e-2))
        svi = inference(vae.model, vae.guide, optim, Trace_ELBO())
        losses = []
        for seed in range(6):
            pyro.set_rng_seed(seed)
            losses.append(svi.step(x))
        found.append([torch.tensor(losses), *vae.state_dict().values()])
    torch.testing.assert_close(*found)


def test_a_run_is_resumed_to_the_bit(tmp_path):
    data = pvae.data.load("digits")

    def fit(epochs, **where):
        vae = build(partial(VQ, codes=32, grid=(3,)))
        pvae.fit(vae, data, epochs=epochs, warmup=0, patience=None, progress=False, **where)
        return vae

    whole, run = fit(2), tmp_path / "run"
    fit(1, run=run)
    parts = fit(2, run=run, resume=True)
    for name, one in whole.state_dict().items():
        assert torch.equal(one, parts.state_dict()[name]), name
    x = data.batch(parts, "test", 5)
    assert torch.equal(pvae.load(run).encode(x).mean, parts.encode(x).mean)


def test_a_prior_fitted_to_codes_shortens_them(tmp_path):
    data = pvae.data.load("digits")
    vae = build(partial(FSQ, levels=(3, 3), grid=(3, 3)), 18)
    rate = {"optimizer": partial(torch.optim.Adam, lr=5e-3), "progress": False}
    pvae.fit(vae, data, epochs=5, **rate)
    before = pvae.evaluation.evaluate(vae, data)
    assert before["kl"] == pytest.approx(9 * math.log(9))
    pvae.refit_prior(
        vae, data, partial(PixelCNN, hidden=16, layers=1), epochs=5, run=tmp_path / "r", **rate
    )
    after = pvae.evaluation.evaluate(vae, data)
    assert after["log_likelihood"] == pytest.approx(before["log_likelihood"], rel=1e-4)
    assert after["kl"] < before["kl"] - 3
    assert torch.equal(pvae.load(tmp_path / "r").sample(3, seed=0), vae.sample(3, seed=0))


def test_usage():
    vae = build(partial(FSQ, levels=(3, 2), grid=(2,)), 4)
    vae.posterior.network = nn.Flatten(-3)
    vae.posterior.network.forward = lambda x: x.flatten(-3)[:, :4]
    x = torch.zeros(4, 1, 8, 8)
    x[:2, 0, 0, 1] = 1.0
    found = code_usage(vae, x)
    f = found.counts / 8
    assert int(found.counts.sum()) == 8
    assert found.usage == pytest.approx(float((f > 0).float().mean()))
    assert found.perplexity == pytest.approx(float(torch.special.entr(f).sum().exp()), rel=1e-5)
    with pytest.raises(ValueError, match="no codes to count"):
        code_usage(pvae.build((1, 8, 8), 2), x)


def test_a_prior_over_real_numbers_is_refused():
    said = r"over Codes\(512 vectors, grid 1\), the prior .* such as with priors.UniformCodes\.$"
    with pytest.raises(ValueError, match=said):
        pvae.build((1, 8, 8), 2, posterior=VQ)


@pytest.mark.parametrize("estimator", ["log_likelihood", "ais"])
def test_estimators_of_the_evidence_refuse(estimator):
    with pytest.raises(ValueError, match=r"single code|not over real numbers"):
        getattr(pvae.evaluation, estimator)(build(VQ), torch.ones(2, 1, 8, 8), progress=False)
