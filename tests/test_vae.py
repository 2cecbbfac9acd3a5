import copy
import math
import pickle
import re
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO, TraceMeanField_ELBO
from pyro.infer.inspect import get_model_relations
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

import pvae
from pvae import VAE, likelihoods, posteriors, priors
from pvae.inference import CompiledSVI
from pvae.networks import MLP


def test_log_probabilities_equal_those_computed_by_hand(vae, x):
    guide = poutine.trace(vae.guide).get_trace(x)
    model = poutine.trace(poutine.replay(vae.model, trace=guide)).get_trace(x)
    guide.compute_log_prob()
    model.compute_log_prob()
    z = guide.nodes["z"]["value"]
    loc, log_scale = vae.posterior.network(x).chunk(2, dim=-1)
    log_q = (
        -0.5 * ((z - loc) / log_scale.exp()) ** 2 - log_scale - 0.5 * math.log(2 * math.pi)
    ).sum(-1)
    log_p = (-0.5 * z**2 - 0.5 * math.log(2 * math.pi)).sum(-1)
    p = torch.sigmoid(vae.likelihood.network(z))
    log_x = (x * p.log() + (1 - x) * (1 - p).log()).flatten(1).sum(1)
    torch.testing.assert_close(guide.nodes["z"]["log_prob"], log_q)
    torch.testing.assert_close(model.nodes["z"]["log_prob"], log_p)
    torch.testing.assert_close(model.nodes["x"]["log_prob"], log_x)
    assert [n for n, site in model.nodes.items() if site["type"] == "sample"] == ["data", "z", "x"]


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("objective", [Trace_ELBO, TraceMeanField_ELBO])
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_elbo_and_gradients_equal_a_hand_derived_computation(likelihood, objective, network):
    make = {
        "mlp": partial(MLP, hidden=[16]),
        "conv": partial(pvae.networks.Conv, channels=[4], hidden=8),
    }[network]
    families = {
        "bernoulli": likelihoods.Bernoulli,
        "gaussian": partial(likelihoods.Gaussian, scale="learned"),
    }
    vae = pvae.build((1, 8, 8), 3, likelihood=families[likelihood], network=make).double()
    x = torch.rand(5, 1, 8, 8, dtype=torch.float64)
    x = x.round() if likelihood == "bernoulli" else x

    torch.manual_seed(1)
    loss = objective().differentiable_loss(vae.model, vae.guide, x)
    loss.backward()
    found = {name: p.grad.clone() for name, p in vae.named_parameters()}

    vae.zero_grad()
    torch.manual_seed(1)
    noise = torch.randn(5, 3, dtype=torch.float64)
    loc, log_scale = vae.posterior.network(x).chunk(2, dim=-1)
    z = loc + log_scale.exp() * noise
    out = vae.likelihood.network(z)
    if likelihood == "bernoulli":
        log_x = nn.functional.logsigmoid(torch.where(x == 1, out, -out)).sum()
    else:
        scale = 1e-3 + vae.likelihood.log_scale.exp()
        log_x = (-0.5 * ((x - out) / scale) ** 2 - scale.log() - 0.5 * math.log(2 * math.pi)).sum()
    if objective is TraceMeanField_ELBO:
        kl = (0.5 * (loc**2 + (2 * log_scale).exp() - 1) - log_scale).sum()
    else:
        kl = (0.5 * (z**2 - noise**2) - log_scale).sum()
    (kl - log_x).backward()
    torch.testing.assert_close(loss, kl - log_x, rtol=1e-9, atol=0)
    for name, p in vae.named_parameters():
        torch.testing.assert_close(found[name], p.grad, rtol=1e-5, atol=1e-9)


def test_pyro_example_code_runs_unchanged(vae, x):
    svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 3e-2}), loss=Trace_ELBO())
    losses = [svi.step(x) for _ in range(80)]
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])
    assert set(pyro.get_param_store().keys()) == {
        f"{part}$$${name}"
        for part in ("likelihood", "posterior")
        for name, _ in getattr(vae, part).named_parameters()
    }


def test_predictive(vae, x):
    draws = Predictive(poutine.uncondition(vae.model), num_samples=7)(x)
    assert draws["z"].shape == (7, 6, 2)
    assert draws["x"].shape == (7, 6, 1, 8, 8)
    assert set(draws["x"].unique().tolist()) == {0.0, 1.0}
    posterior = Predictive(vae.model, guide=vae.guide, num_samples=7, return_sites=["z"])(x)
    assert posterior["z"].shape == (7, 6, 2)


def test_condition(vae, x):
    z = torch.randn(6, 2)
    conditioned = poutine.condition(poutine.uncondition(vae.model), data={"z": z})
    trace = poutine.trace(conditioned).get_trace(x)
    assert torch.equal(trace.nodes["z"]["value"], z)
    torch.testing.assert_close(trace.nodes["x"]["fn"].mean, vae.decode(z).mean)


def test_nuts_agrees_with_quadrature(vae, x):
    vae.likelihood.network.layers[-2].weight.data.mul_(10)  # a posterior unlike the prior
    mcmc = MCMC(
        NUTS(vae.model, max_tree_depth=3), num_samples=200, warmup_steps=80, disable_progbar=True
    )
    mcmc.run(x[:1])
    z = mcmc.get_samples()["z"].squeeze(1)
    grid = torch.cartesian_prod(torch.linspace(-5, 5, 201), torch.linspace(-5, 5, 201))
    with torch.no_grad():
        log_joint = vae.prior().log_prob(grid) + vae.decode(grid).log_prob(x[:1])
    weight = log_joint.softmax(0)
    mean = (weight[:, None] * grid).sum(0)
    stddev = (weight[:, None] * (grid - mean) ** 2).sum(0).sqrt()
    assert (mean - 0).norm() > 0.1  # or the test would show nothing
    assert ((z.mean(0) - mean).abs() < 0.25 * stddev).all()
    assert ((z.std(0) / stddev - 1).abs() < 0.25).all()


def test_model_relations(vae, x):
    relations = get_model_relations(vae.model, (x,))
    assert relations["sample_sample"] == {"z": [], "x": ["z"]}
    assert relations["observed"] == ["x"]
    assert relations["plate_sample"] == {"data": ["z", "x"]}


def test_two_vaes_in_one_process_do_not_disturb_each_other(x):
    vaes = [pvae.build((1, 8, 8), 2, network=partial(MLP, hidden=[n])) for n in (16, 16)]
    svis = [SVI(v.model, v.guide, pyro.optim.Adam({"lr": 1e-2}), loss=Trace_ELBO()) for v in vaes]
    for svi, v in zip(svis * 2, vaes * 2, strict=True):
        before = [{k: w.clone() for k, w in v.state_dict().items()} for v in vaes]
        svi.step(x)
        for b, other in zip(before, vaes, strict=True):
            changed = any(not torch.equal(b[k], w) for k, w in other.state_dict().items())
            assert changed == (other is v)


def test_frozen_parts_stay(vae, x):
    vae.likelihood.requires_grad_(False)
    before = {k: w.clone() for k, w in vae.likelihood.state_dict().items()}
    svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-2}), loss=Trace_ELBO())
    svi.step(x)
    assert all(torch.equal(before[k], w) for k, w in vae.likelihood.state_dict().items())


def test_a_part_replaced_by_hand_is_connected():
    vae = pvae.build((5,), 2, pvae.priors.VampPrior, posterior=pvae.posteriors.DiagonalNormal)
    vae.posterior = new = pvae.posteriors.DiagonalNormal((5,), 2)
    assert vae.prior._connected()[0] is new
    vae.prior = pvae.priors.VampPrior(2)
    assert vae.prior._connected()[0] is new

    vae = pvae.build((5,), 2, posterior=pvae.posteriors.DAIS)
    vae.prior = prior = pvae.priors.Mixture(2)
    vae.likelihood = likelihood = pvae.likelihoods.Bernoulli(2, (5,))
    assert vae.posterior._parts == (prior, likelihood)


def test_encode_and_decode_take_any_batch_shape(vae, x):
    for batch in ((), (6,), (2, 3), (4, 6)):
        items = x[0].expand(*batch, 1, 8, 8)
        q = vae.encode(items)
        assert q.batch_shape == batch
        assert vae.decode(q.sample()).log_prob(items).shape == batch
        assert vae.reconstruct(items).shape == items.shape


def test_reconstruct_means_and_draws(vae, x):
    means = vae.reconstruct(x)
    torch.testing.assert_close(means, vae.decode(vae.encode(x).mean).mean)
    assert not means.requires_grad
    drawn = vae.reconstruct(x, draw=True)
    assert set(drawn.unique().tolist()) <= {0.0, 1.0}


def test_sample_is_repeatable_and_leaves_the_random_state(vae):
    state = torch.get_rng_state()
    first = vae.sample(5, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, vae.sample(5, seed=3))
    assert not torch.equal(first, vae.sample(5, seed=4))
    assert first.shape == (5, 1, 8, 8)
    assert ((first > 0) & (first < 1)).all()
    assert set(vae.sample(50, seed=3, draw=True).unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("spherical", [False, True])
def test_interpolate_ends_at_the_reconstructions(vae, x, spherical):
    path = vae.interpolate(x[:3], x[3:], steps=5, spherical=spherical)
    assert path.shape == (3, 5, 1, 8, 8)
    torch.testing.assert_close(path[:, 0], vae.reconstruct(x[:3]))
    torch.testing.assert_close(path[:, -1], vae.reconstruct(x[3:]))
    assert vae.interpolate(x[0], x[1], spherical=spherical).shape == (10, 1, 8, 8)


def test_queries_run_without_dropout_and_leave_the_mode():
    vae = pvae.build((1, 8, 8), 2, network=partial(MLP, hidden=[16], dropout=0.5))
    vae.posterior.eval()
    x = torch.ones(1, 1, 8, 8)
    assert torch.equal(vae.reconstruct(x), vae.reconstruct(x))
    assert vae.training
    assert vae.likelihood.training
    assert not vae.posterior.training


class Uniform(nn.Module):
    """A user's parts, which inherit nothing from the package."""

    def __init__(self, d):
        super().__init__()
        self.register_buffer("low", -torch.ones(d))

    def forward(self):
        return dist.Uniform(self.low, -self.low).to_event(1)


def test_shapes_are_sizes_if_those_of_a_distribution_are_plain_tuples():
    class Box(dist.TorchDistribution):
        support = dist.constraints.real_vector

        def __init__(self):
            super().__init__(event_shape=(2,), validate_args=False)

        def sample(self, sample_shape=()):
            return torch.rand(*sample_shape, 2)

        def log_prob(self, z):
            return torch.zeros(z.shape[:-1])

    class Prior(nn.Module):
        def forward(self):
            return Box()

    vae = VAE(Prior(), likelihoods.Bernoulli(2, (3,)), posteriors.DiagonalNormal((3,), 2))
    assert vae.latent_shape.numel() == 2


def test_a_users_parts():
    class Line(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2, 3))

        def forward(self, z):
            return dist.Normal(z @ self.weight, 1.0).to_event(1)

    class Squash(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, x):
            base = dist.Normal(self.linear(x), 1.0)
            squash = dist.transforms.ComposeTransform(
                [dist.transforms.SigmoidTransform(), dist.transforms.AffineTransform(-1.0, 2.0)]
            )
            return dist.TransformedDistribution(base, squash).to_event(1)

    vae = VAE(Uniform(2), Line(), Squash())
    assert vae.event_shape == (3,)
    svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-2}), loss=Trace_ELBO())
    assert math.isfinite(svi.step(torch.randn(5, 3)))
    assert vae.sample(4).shape == (4, 3)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda v, x: v.encode(x[:, 0]), "x has shape (6, 8, 8): expected (*batch, 1, 8, 8)"),
        (lambda v, x: v.decode(torch.zeros(3)), "z has shape (3,): expected (*batch, 2)"),
        (lambda v, x: v.sample(0), "n is 0"),
        (lambda v, x: v.interpolate(x, x, steps=1), "steps is 1"),
        (lambda v, x: v.interpolate(x, x[:2]), "x0 has shape (6, 1, 8, 8) and x1 (2, 1, 8, 8)"),
        (
            lambda v, x: VAE(priors.StandardNormal(3), v.likelihood, v.posterior),
            "likelihood(z) fails on the prior's z of shape (2, 3)",
        ),
        (
            lambda v, x: VAE(v.prior, v.likelihood, posteriors.DiagonalNormal((1, 8, 8), 3)),
            "over z of event shape (3,), the prior over z of event shape (2,)",
        ),
        (
            lambda v, x: VAE(v.prior, v.likelihood, posteriors.DiagonalNormal((1, 9, 8), 2)),
            "posterior(x) fails on x of shape (2, 1, 8, 8)",
        ),
    ],
)
def test_misfits(vae, x, call, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)) as raised:
        call(vae, x)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("likelihood", "x", "seen"),
    [
        (partial(pvae.likelihoods.Categorical, levels=17), [0.0, 16.0, 4.0], [0.0, 1.0, 0.25]),
        (pvae.likelihoods.Poisson, [0.0, 1.0, 99.0], [0.0, math.log(2), math.log(100)]),
        (pvae.likelihoods.Gaussian, [-5.0, 0.0, 1e3], [-5.0, 0.0, 1e3]),
    ],
)
def test_the_encoder_sees_numbers_of_the_order_of_one(likelihood, x, seen):
    vae = pvae.build((3,), 2, likelihood=likelihood).eval()
    x, seen = torch.tensor([x]), torch.tensor([seen])
    torch.testing.assert_close(vae.features(x), seen)
    torch.testing.assert_close(vae.encode(x).mean, vae.posterior(seen).mean)


@pytest.mark.parametrize(
    "likelihood",
    [
        pvae.likelihoods.Multinomial,
        partial(pvae.likelihoods.Poisson, exposure="observed"),
        partial(pvae.likelihoods.NegativeBinomial, exposure="observed"),
    ],
)
def test_totals_of_counts_are_observed(likelihood):
    """Reconstructions add up to what the data do, and samples to what the training data did."""
    data = pvae.data.load(torch.poisson(torch.full((60, 5), 7.0)).long())
    vae = pvae.build((5,), 2, likelihood=likelihood, network=partial(MLP, hidden=[8]))
    pvae.fit(vae, data, epochs=1, batch_size=20, progress=False)
    x = torch.tensor([[1.0, 0, 0, 0, 0], [10, 20, 30, 40, 50]])
    torch.testing.assert_close(vae.reconstruct(x).sum(-1), x.sum(-1))
    assert vae.sample(3).sum(-1).tolist() == pytest.approx([35.0] * 3, rel=0.1)


def test_arrays_and_lists_are_taken_as_tensors(vae, x):
    for given in (x.numpy(), x.double().numpy(), x.bool(), x.tolist(), x.to(torch.uint8)):
        assert torch.equal(vae.encode(given).mean, vae.encode(x).mean)
        assert torch.equal(vae.reconstruct(given), vae.reconstruct(x))
    assert torch.equal(vae.decode([0.5, -1.0]).mean, vae.decode(torch.tensor([0.5, -1.0])).mean)


@pytest.mark.parametrize(
    ("likelihood", "good", "bad"),
    [
        (likelihoods.Bernoulli, [0.0, 1.0], [0.5, 1.0]),
        (likelihoods.ContinuousBernoulli, [0.0, 0.5], [0.5, 16.0]),
        (likelihoods.Beta, [0.1, 0.5], [0.5, 1.0]),
        (partial(likelihoods.Categorical, levels=17), [0.0, 16.0], [0.0, 17.0]),
        (likelihoods.Poisson, [0.0, 99.0], [-1.0, 2.0]),
        (likelihoods.LogNormal, [0.1, 9.0], [0.0, 9.0]),
        (likelihoods.Gaussian, [-5.0, 1e3], [-5.0, math.inf]),
    ],
)
def test_values_outside_the_domain_are_refused_before_the_encoder_runs(likelihood, good, bad):
    vae = pvae.build((2,), 2, likelihood=likelihood)
    vae.encode([good])
    vae.posterior.forward = None
    with pytest.raises(ValueError, match=r"take a batch .* data\.batch\(vae, 'test'\)"):
        vae.encode([bad])


def test_values_are_not_looked_at_where_there_are_none(vae, x):
    with pyro.validation_enabled(False):
        traced = make_fx(lambda x: vae.encode(x).mean)(x / 2)
        mapped = torch.vmap(lambda x: vae.encode(x.unsqueeze(0)).mean.squeeze(0))(x)
    torch.testing.assert_close(traced(x), vae.encode(x).mean)
    torch.testing.assert_close(mapped, vae.encode(x).mean)


COPIES = {
    "pickle": lambda vae: pickle.loads(pickle.dumps(vae)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def test_a_vae_is_pickled_whose_arguments_hold_a_method_of_it():
    vae = pvae.build((1, 8, 8), 2, network=partial(MLP, hidden=[8]))
    vae.arguments = {**vae.arguments, "weights": vae.sample, "seed": lambda: 0}
    twin = pickle.loads(pickle.dumps(vae))
    assert twin.arguments["weights"].__self__ is twin
    assert "seed" not in twin.arguments
    assert torch.equal(twin.sample(2, seed=0), vae.sample(2, seed=0))


@pytest.mark.parametrize("kind", ["plain", "labelled", "VampPrior", "Nested", "by a lambda"])
@pytest.mark.parametrize("way", COPIES)
def test_copies_are_the_same_vae(way, kind):
    network = (lambda i, o: MLP(i, o, [8])) if kind == "by a lambda" else partial(MLP, hidden=[8])
    parts = {"prior": getattr(priors, kind)} if hasattr(priors, kind) else {}
    parts |= {"conditional": True, "classes": 10} if kind == "labelled" else {}
    data = pvae.data.load("digits")
    vae = pvae.build(data.event_shape, 2, network=network, **parts)
    y = (3,) if kind == "labelled" else ()
    graph = partial(CompiledSVI, compile=True, backend="graph")
    # A graph leaves on a VAE what it leaves on any, whatever the prior.
    for svi in (SVI, graph) if kind in ("plain", "labelled") else (SVI,):
        svi = svi(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO())
        batch = data.batch(vae, n=8)
        batch = batch if isinstance(batch, tuple) else (batch,)
        svi.step(*batch)
        twin = COPIES[way](vae)
        assert torch.equal(twin.sample(2, *y, seed=0), vae.sample(2, *y, seed=0))
        svi.step(*batch)
    before = vae.prior
    twin.prior = None
    assert vae.prior is before
