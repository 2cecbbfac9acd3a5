"""The top-down hierarchy: prior and posterior on one path."""

import copy
import weakref
from functools import partial

import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from torch.distributions import MultivariateNormal, Normal, kl_divergence
from torch.nn.functional import gelu

import pvae
from pvae import evaluation as ev
from pvae.distributions import level_kl
from pvae.inference import CompiledSVI, Optimizer
from pvae.networks import MLP, ResNet
from pvae.objectives import FreeBits, ImportanceWeighted, Warmup
from pvae.posteriors import TopDown as Posterior
from pvae.priors import StandardNormal, TopDown, VampPrior
from tests.evidence_cases import Affine

QUIET = {"progress": False}
MAPS = [3, (2, 4, 4), (1, 8, 8)]
COMBINATIONS = ("absolute", "residual", "precision")


def hierarchy(levels=(2, 3, 4), combination="absolute", seed=0, **network):
    sizes = [torch.tensor(level).prod().item() for level in levels]
    make = partial(ResNet, levels=levels, channels=[4, 4], blocks=1) if network else None
    return pvae.build(
        (1, 8, 8),
        sum(sizes),
        prior=partial(TopDown, levels=list(levels), hidden=8, channels=4),
        posterior=partial(Posterior, combination=combination),
        network=make or partial(MLP, hidden=[16]),
        seed=seed,
    ).double()


def maps(combination="absolute"):
    return hierarchy(MAPS, combination, maps=True)


def data(n=5):
    g = torch.Generator().manual_seed(0)
    return torch.rand(n, 1, 8, 8, generator=g, dtype=torch.float64).round()


class Linear:
    """Two levels of a linear-Gaussian hierarchy, whose evidence and posterior are known.

    z1 ~ N(0, I), z2 ~ N(m z1 + c, s²), x ~ N(W z2 + b, noise²), with orthogonal columns of W, so
    that the exact posterior is normal and independent within each level.
    """

    def __init__(self, scale=1.0):
        g = torch.Generator().manual_seed(0)
        real = {"generator": g, "dtype": torch.float64}
        m, c, s, noise = torch.tensor([[0.8, -0.5], [0.3, -0.2], [0.6, 0.9], [0.4, 0.4]]).double()
        w = torch.linalg.qr(torch.randn(5, 2, **real))[0] * torch.tensor([1.5, 0.7])
        b, noise = torch.randn(5, **real), noise[0]
        # z2 as x tells it, a normal of this mean and width.
        gain = (w / w.square().sum(0)).T
        width = noise / w.norm(dim=0)
        above = (s**2 + width**2).sqrt() / m.abs()
        up = torch.cat([gain / m[:, None], gain])
        shift = torch.cat([(-(gain @ b) - c) / m, -(gain @ b)])
        log_widths = torch.cat([above, width]).log() + torch.tensor(scale).double().log()
        exact = {
            "posterior": (torch.cat([up, 0 * up]), torch.cat([shift, log_widths])),
            "likelihood": (torch.cat([0 * w, w], 1), b),
        }
        encoder, decoder = (Affine(*(t.float() for t in exact[name])) for name in exact)
        self.vae = pvae.build(
            (5,),
            4,
            prior=partial(TopDown, levels=[2, 2], hidden=2),
            likelihood=partial(
                pvae.likelihoods.Gaussian, scale=noise.item(), network=lambda *_: decoder
            ),
            posterior=partial(Posterior, network=lambda *_: encoder, combination="precision"),
        ).double()
        step = self.vae.prior.path.steps[0]
        with torch.no_grad():
            for name, (weight, bias) in exact.items():
                network = getattr(self.vae, name).network
                network.weight.copy_(weight)
                network.bias.copy_(bias)
            for p in step.parameters():
                p.zero_()
            step.join.weight.copy_(torch.eye(2))
            step.head.weight[:2].copy_(m.diag())
            step.head.bias.copy_(torch.cat([c, s.log()]))
        covariance = w @ (m**2 + s**2).diag() @ w.T + noise**2 * torch.eye(5).double()
        self.evidence = MultivariateNormal(w @ c + b, covariance)
        self.m, self.c, self.s = m, c, s

    def sample(self, n):
        torch.manual_seed(1)
        return self.evidence.sample((n,))


def test_the_evidence_in_closed_form():
    """With the exact posterior every weight is p(x), so one sample gives log p(x) and the ELBO."""
    case = Linear()
    x = case.sample(20)
    exact = case.evidence.log_prob(x)
    found = ev.log_likelihood(case.vae, x, num_samples=7, **QUIET)
    torch.testing.assert_close(found.log_prob, exact)
    loss = Trace_ELBO().loss(case.vae.model, case.vae.guide, x)
    assert -loss == pytest.approx(exact.sum().item(), rel=1e-10)


def test_estimators_with_another_posterior():
    case = Linear(scale=1.5)
    x = case.sample(4)
    exact = case.evidence.log_prob(x)
    found = ev.log_likelihood(case.vae, x, num_samples=4000, **QUIET)
    assert ((found.log_prob - exact).abs() < 5 * found.standard_error + 1e-3).all()
    found = ev.ais(case.vae, x, num_chains=16, num_steps=100, **QUIET)
    assert ((found.log_prob - exact).abs() < 5 * found.standard_error + 0.1).all()
    parts = ev.kl_decomposition(case.vae, x, **QUIET)
    total = parts.mutual_information + parts.marginal_kl
    torch.testing.assert_close(total, parts.kl.mean())


def test_kl_of_the_levels_in_closed_form():
    """KL(q || p) of two joint normals, split at the first level."""
    case = Linear(scale=1.3)
    vae, x = case.vae, case.sample(3)
    q, m, c, s = vae.encode(x), case.m, case.c, case.s
    with torch.no_grad():
        found = level_kl(q.expand((20_000, 3)), vae.p_z()).mean(0)
        mean1, width1 = q.message[:, 0, :2], q.message[:, 1, :2].exp()
        mean2, width2 = q.message[:, 0, 2:], q.message[:, 1, 2:].exp()
        v1 = 1 / (1 + width1**-2)
        q1 = Normal(v1 * mean1 / width1**2, v1.sqrt())
        v2 = 1 / (s**-2 + width2**-2)
        first = kl_divergence(q1, Normal(torch.zeros(2).double(), 1.0)).sum(-1)
        # E over z1 of KL(N(v2 (prior / s² + mean2 / width2²), v2) || N(prior, s²)).
        gain = v2 / width2**2
        apart = mean2 - (m * q1.mean + c)
        square = gain**2 * (apart**2 + (m * q1.stddev) ** 2)
        second = (0.5 * (v2 / s**2 + square / s**2 - 1) - 0.5 * (v2 / s**2).log()).sum(-1)
    torch.testing.assert_close(found, torch.stack([first, second], -1), rtol=0.02, atol=0.01)
    by_level = ev.kl_by_level(vae, x, num_samples=2000, **QUIET).kl
    torch.testing.assert_close(by_level, torch.stack([first, second], -1), rtol=0.05, atol=0.03)


def test_log_density_by_hand():
    prior = TopDown(5, levels=[2, 3], hidden=4).double()
    z = torch.randn(6, 5, dtype=torch.float64)
    weights = dict(prior.path.steps[0].named_parameters())

    def linear(name, h):
        return h @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    h = linear("join", z[:, :2])
    h = h + linear("body.0.layers.2", gelu(linear("body.0.layers.0", h)))
    loc, log_scale = linear("head", h).chunk(2, -1)
    by_hand = Normal(0.0, 1.0).log_prob(z[:, :2]).sum(-1)
    by_hand = by_hand + Normal(loc, log_scale.exp()).log_prob(z[:, 2:]).sum(-1)
    torch.testing.assert_close(prior().log_prob(z), by_hand)
    torch.testing.assert_close(prior().by_level(prior().log_prob_of_latents(z)).sum(-1), by_hand)


@pytest.mark.parametrize("combination", COMBINATIONS)
@pytest.mark.parametrize("make", [partial(hierarchy, (2, 3, 4)), maps])
def test_a_draw_and_its_density_agree(make, combination):
    """Remembered normals are those of another pass, with the same gradients."""
    vae = make(combination=combination)
    found = []
    for remember in (True, False):
        torch.manual_seed(0)
        vae.zero_grad()
        q = vae.encode(data())
        z = q.rsample((3,))
        value = z if remember else z.clone()
        (q.log_prob(value) - vae.p_z().log_prob(value)).sum().backward()
        found.append([q.log_prob(value), *(p.grad for p in vae.parameters() if p.grad is not None)])
    assert len(found[0]) > 5
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    # The last scale at every latent is what a change of that latent alone says.
    with torch.no_grad():
        torch.manual_seed(0)
        draw = q.sample()
        torch.manual_seed(0)
        assert torch.equal(q.sample(), draw)


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_a_step_makes_one_pass(combination, monkeypatch):
    vae, passes = maps(combination), []
    path = type(vae.prior.path)
    descend = path.descend
    monkeypatch.setattr(path, "descend", lambda *args: passes.append(1) or descend(*args))
    for objective in (Trace_ELBO(), TraceMeanField_ELBO(), FreeBits(0.1)):
        objective.max_plate_nesting = 1
        passes.clear()
        objective.loss_and_grads(vae.model, vae.guide, data())
        assert len(passes) == 1
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in vae.parameters())


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_messages_are_combined_with_the_prior(combination):
    vae, x = hierarchy((2, 3), combination), data()
    with torch.no_grad():
        for head in vae.posterior.heads:
            head.weight.normal_()
        q = vae.encode(x)
        z = q.sample()
        a, b = vae.posterior.raw(x)
        state, loc, log_scale = vae.prior.path.steps[0](None, z[:, :2])
        loc, scale = torch.cat([0 * loc[:, :2], loc], 1), torch.cat([0 * b[:, :2], log_scale], 1)
        scale = scale.exp()
        if combination != "precision":
            shift, stretch = vae.posterior.heads[0](state).chunk(2, 1)
            a, b = (
                torch.cat([a[:, :2], a[:, 2:] + shift], 1),
                torch.cat([b[:, :2], b[:, 2:] + stretch], 1),
            )
        if combination == "absolute":
            expected = Normal(a, b.exp())
        elif combination == "residual":
            expected = Normal(loc + scale * a, scale * b.exp())
        else:
            precision = scale**-2 + (-2 * b).exp()
            mean = (loc / scale**2 + a * (-2 * b).exp()) / precision
            expected = Normal(mean, precision**-0.5)
    torch.testing.assert_close(q.log_prob(z), expected.log_prob(z).sum(-1))


def test_no_level_collapses_for_good():
    """In so short a training without warm-up a weighting by precisions ends below 1e-6 nats."""
    vae = pvae.build(
        (1, 8, 8),
        14,
        prior=partial(TopDown, levels=[2, 4, 8], hidden=32),
        posterior=Posterior,
        network=partial(MLP, hidden=[64]),
    )
    digits = pvae.data.load("digits")
    optimizer = partial(torch.optim.Adam, lr=5e-3)
    options = {"epochs": 30, "batch_size": 256, "warmup": 0, "patience": None, "compile": False}
    pvae.fit(vae, digits, optimizer=optimizer, **options, **QUIET)
    kl = ev.kl_by_level(vae, digits.batch(vae, "test"), **QUIET).kl.mean(0)
    assert kl.min() > 0.01


def test_nothing_is_remembered_of_other_weights_and_values():
    vae, x = hierarchy(), data()
    p, q = vae.p_z(), vae.encode(x)
    z = q.rsample()
    before = p.log_prob(z)
    with torch.no_grad():
        for weight in vae.prior.parameters():
            weight += 0.1  # as a step of an optimizer
    for each in (p, vae.p_z(), q):
        found = each.log_prob(z)
        assert not torch.allclose(found, before)
        torch.testing.assert_close(found, each.log_prob(z.detach().clone()))
    with torch.no_grad():
        kl = level_kl(q, p)
        z = q.sample()
        torch.testing.assert_close(kl[:, 0], level_kl(q, p)[:, 0])
        z[:, 0] += 1
        torch.testing.assert_close(q.log_prob(z), q.log_prob(z.clone()))


def test_a_draw_keeps_no_memory_once_it_is_gone():
    vae = hierarchy()
    q = vae.encode(data())
    z = q.rsample()
    kept = weakref.ref(q._latest.prior)
    vae.p_z().log_prob(z).sum().backward()
    del z, q
    assert kept() is None  # without the garbage collector: there is no circle


def test_weights_are_owned_once():
    vae = hierarchy(combination="residual")
    names = [name for name, _ in vae.named_parameters()]
    assert not any(name.startswith("posterior") and "path" in name for name in names)
    twin = copy.deepcopy(vae)
    assert twin.posterior._path[0] is twin.prior.path
    before = vae.encode(data()).path
    assert before is vae.prior.path


def test_levels_are_held():
    vae = hierarchy()
    p = vae.p_z()
    z = p.sample()
    drawn = p.redraw(z.expand(7, 9), 2)
    assert torch.equal(drawn[:, :5], z[:5].expand(7, 5))
    assert drawn[:, 5:].std(0).min() > 0
    q = vae.encode(data())
    assert q.redraw(q.sample((2,)), 1).shape == (2, 5, 9)
    assert vae.decode(drawn).batch_shape == (7,)
    with pytest.raises(ValueError, match="of 3 levels fewer can be held"):
        p.redraw(z, 3)


def test_free_bits_by_level():
    vae, x = hierarchy(), data()
    torch.manual_seed(0)
    plain = FreeBits(0.0).loss(vae.model, vae.guide, x)
    torch.manual_seed(0)
    with torch.no_grad():
        q = vae.encode(x)
        q.sample()
        kl = level_kl(q, vae.p_z()).sum(0)
    free = kl.sort().values[:2].mean().item() / 5  # between the first and the second
    torch.manual_seed(0)
    loss = FreeBits(free).loss(vae.model, vae.guide, x)
    assert loss - plain == pytest.approx((5 * free - kl).clamp(min=0).sum().item(), rel=1e-6)


def test_warm_up_by_level():
    vae, x = hierarchy(), data()

    def loss(step, objective=Trace_ELBO):
        warmed = Warmup(objective(), 30, by_level=True)
        warmed.step = step
        pyro.set_rng_seed(0)
        return warmed.loss(vae.model, vae.guide, x)

    pyro.set_rng_seed(0)
    with torch.no_grad():
        q = vae.encode(x)
        z = q.sample()
        each = q.by_level(q.log_prob_of_latents(z) - vae.p_z().log_prob_of_latents(z)).sum(0)
        log_p = vae.decode(z).log_prob(x).sum()
    for step, weights in [(0, [0, 0, 0]), (5, [0, 0, 0.5]), (15, [0, 0.5, 1]), (40, [1, 1, 1])]:
        expected = (torch.tensor(weights) * each).sum() - log_p
        assert loss(step) == pytest.approx(expected.item(), rel=1e-6)
    pyro.set_rng_seed(0)
    with torch.no_grad():
        q = vae.encode(x)
        q.sample()
        each = level_kl(q, vae.p_z()).sum(0)
    expected = (each[2] + 0.5 * each[1] - log_p).item()
    for objective in (TraceMeanField_ELBO, partial(FreeBits, 0.0)):
        assert loss(15, objective) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ValueError, match="DReG gradient needs one weight"):
        Warmup(ImportanceWeighted(3, gradient="dreg"), by_level=True)


def test_levels_rise_at_once_with_a_posterior_that_has_none():
    vae, x = pvae.build((1, 8, 8), 4, prior=TopDown).double(), data()
    losses = []
    for by_level in (True, False):
        warmed = Warmup(Trace_ELBO(), 30, by_level=by_level)
        warmed.step = 15
        pyro.set_rng_seed(0)
        losses.append(warmed.loss(vae.model, vae.guide, x))
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


def test_a_nested_vae_has_levels_too():
    vae = pvae.build((1, 8, 8), 4, prior=partial(pvae.priors.Nested, prior=pvae.priors.Nested))
    found = ev.kl_by_level(vae, data().float(), num_samples=3000, **QUIET).kl
    assert found.shape == (5, 3)
    objective = ImportanceWeighted(1)
    losses = [objective.loss(vae.model, vae.guide, data().float()) for _ in range(300)]
    with torch.no_grad():
        z = vae.encode(data().float()).sample((3000,))
        reconstruction = vae.decode(z).log_prob(data().float()).mean(0)
    elbo = (reconstruction - found.sum(-1)).sum().item()
    losses = torch.tensor(losses)
    assert abs(losses.mean() + elbo) < 5 * losses.std() / 300**0.5 + 0.1


def test_queries_of_maps():
    vae, x = maps(), data()
    assert vae.latent_shape == (99,)
    assert vae.sample(2, draw=True).shape == (2, 1, 8, 8)
    assert vae.reconstruct(x).shape == x.shape
    assert vae.interpolate(x[:2], x[1:3], steps=3).shape == (2, 3, 1, 8, 8)
    assert ev.active_units(vae, x, **QUIET).variance.shape == (99,)
    assert ev.log_likelihood(vae, x, num_samples=30, **QUIET).log_prob.isfinite().all()
    assert "KL of 3 levels" in repr(ev.kl_by_level(vae, x, **QUIET))


def test_maps_in_residual_networks_are_compiled():
    losses, weights = [], []
    for inference in (SVI, partial(CompiledSVI, compile=True, backend="graph")):
        pyro.clear_param_store()
        vae = maps("residual")
        optim = Optimizer(vae.parameters(), partial(torch.optim.Adam, lr=1e-3))
        warmed = Warmup(FreeBits(0.1), 10, by_level=True)
        svi = inference(vae.model, vae.guide, optim, warmed)
        found = []
        for seed in range(3):
            pyro.set_rng_seed(seed)
            found.append(svi.step(data()))
        losses.append(torch.tensor(found, dtype=torch.float64))
        weights.append(torch.cat([p.detach().flatten() for p in vae.parameters()]))
    torch.testing.assert_close(*losses, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(*weights, rtol=1e-6, atol=1e-6)


def test_a_stopped_run_ends_with_the_same_bits(tmp_path):
    digits, found = pvae.data.load("digits"), []
    for stops in ((), (1,)):
        vae = hierarchy(combination="residual").float()
        options = {"epochs": 2, "batch_size": 512, "compile": False, "run": tmp_path / str(stops)}
        for stop in stops:
            pvae.fit(vae, digits, pause=lambda h, n=stop: len(h) >= n, **options, **QUIET)
        pvae.fit(vae, digits, resume=bool(stops), **options, **QUIET)
        found.append(vae.state_dict())
    for name, weight in found[0].items():
        assert torch.equal(weight, found[1][name]), name


def test_other_posteriors_take_the_prior():
    vae = pvae.build((1, 8, 8), 4, prior=TopDown)
    assert isinstance(vae.posterior, pvae.posteriors.DiagonalNormal)
    assert Trace_ELBO().loss(vae.model, vae.guide, data().float()) > 0
    with pytest.raises(NotImplementedError):
        kl_divergence(hierarchy().encode(data()), TopDown(9)())


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: TopDown(5, levels=[2, 2]),
            r"levels \[2, 2\] have 4 latents in all, and latent_dim",
        ),
        (lambda: TopDown(8, levels=[(1, 2, 2), 4]), "vectors .* come first"),
        (lambda: TopDown(5, levels=[0, 5]), "a level is"),
        (lambda: TopDown(5, levels="2, 3"), "give sizes or shapes"),
        (lambda: TopDown(4, hidden=0), "hidden is 0"),
        (lambda: TopDown(4, blocks=0), "blocks is 0"),
        (lambda: Posterior((3,), 2, combination="sum"), "combination is 'sum'"),
        (
            lambda: pvae.build((3,), 4, posterior=Posterior),
            "and the prior is StandardNormal: choose both TopDown",
        ),
        (
            lambda: pvae.build((3,), 4, prior=VampPrior, posterior=Posterior),
            "and the prior is VampPrior: choose both TopDown",
        ),
        (
            lambda: pvae.VAE(TopDown(4), pvae.likelihoods.Bernoulli(4, (3,)), Posterior((3,), 5)),
            "The posterior is over 5 latents, the levels of the prior over 4",
        ),
        (
            lambda: pvae.build((3,), 4, prior=TopDown, posterior=pvae.posteriors.PowerSpherical),
            "choose a pair over the same z",
        ),
        (
            lambda: pvae.refit_prior(hierarchy(), pvae.data.load("digits"), TopDown),
            "goes down the path of another prior",
        ),
        (
            lambda: pvae.refit_prior(hierarchy(), pvae.data.load("digits"), StandardNormal),
            "the prior is StandardNormal: choose both TopDown",
        ),
    ],
)
def test_what_does_not_fit(make, sentence):
    with pytest.raises(ValueError, match=sentence) as raised:
        make()
    assert len(str(raised.value)) < 300


def test_a_posterior_needs_a_path():
    with pytest.raises(RuntimeError, match=r"connect\(prior\) first"):
        Posterior((3,), 2)(torch.zeros(3))
