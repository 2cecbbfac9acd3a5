"""VAEs as priors: hierarchical VAEs by nesting."""

import itertools
from functools import partial

import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO

import pvae
from pvae.cli.main import main
from pvae.marginal import Marginal
from pvae.objectives import ImportanceWeighted
from pvae.priors import Nested

NETWORK = partial(pvae.networks.MLP, hidden=[16])


def two_levels(**arguments):
    pyro.set_rng_seed(0)
    return pvae.build((1, 8, 8), 4, prior=partial(Nested, **arguments), network=NETWORK).double()


def test_the_elbo_is_that_of_two_levels():
    vae = two_levels(upper_dim=3)
    x = torch.rand(6, 1, 8, 8).round().double()
    pyro.set_rng_seed(1)
    loss = Trace_ELBO().loss(vae.model, vae.guide, x)

    # By hand: q(z|x) q(u|z), p(u) p(z|u) p(x|z), drawn in the same order.
    pyro.set_rng_seed(1)
    q_z = vae.posterior(x)
    z = q_z.rsample()
    q_u = vae.prior.posterior(z)
    u = q_u.rsample()
    elbo = (
        vae.prior.prior().log_prob(u)
        + vae.prior.likelihood(u).log_prob(z)
        + vae.likelihood(z).log_prob(x)
        - q_z.log_prob(z)
        - q_u.log_prob(u)
    )
    assert -elbo.sum().item() == pytest.approx(loss, rel=1e-12)


def test_the_density_is_estimated_without_bias():
    """One linear-Gaussian level, whose marginal is known: N(0, 1 + s²)."""

    class Linear(torch.nn.Module):
        def forward(self, z):
            return pyro.distributions.Normal(z, 0.7).to_event(1)

    class Wide(torch.nn.Module):
        def forward(self, x):
            return pyro.distributions.Normal(0.5 * x, 0.9).to_event(1)

    inner = pvae.VAE(pvae.priors.StandardNormal(1), Linear(), Wide())
    p = inner()
    assert isinstance(p, Marginal)
    exact = pyro.distributions.Normal(0.0, (1 + 0.49) ** 0.5)
    x = torch.tensor([[-1.0], [0.3], [2.0]])
    estimate = p.log_prob(x.expand(200_000, 3, 1)).exp()
    error = estimate.std(0) / 200_000**0.5
    assert ((estimate.mean(0) - exact.log_prob(x).exp().squeeze(-1)).abs() < 5 * error).all()
    assert (p.log_prob(x.expand(2000, 3, 1)).mean(0) < exact.log_prob(x).squeeze(-1)).all()
    drawn = p.sample((50_000,))
    assert drawn.var().item() == pytest.approx(1.49, rel=0.03)
    assert p.expand((5,)).log_prob(torch.zeros(1)).shape == (5,)
    assert p.expand((5,)).sample((2,)).shape == (2, 5, 1)


def test_importance_weights_are_of_the_levels_together():
    vae = two_levels()
    x = torch.rand(4, 1, 8, 8).round().double()
    bounds = []
    for k in (1, 5, 50):
        objective = ImportanceWeighted(k)
        losses = torch.tensor([objective.loss(vae.model, vae.guide, x) for _ in range(40)])
        bounds.append((losses.mean(), losses.std() / 40**0.5))
    for (loose, error), (tight, other) in itertools.pairwise(bounds):
        assert tight < loose - 2 * (error**2 + other**2) ** 0.5


def test_three_levels_are_trained(tmp_path):
    data = pvae.data.load("digits")
    pyro.set_rng_seed(0)
    prior = partial(Nested, upper_dim=4, prior=Nested)
    vae = pvae.build(data.event_shape, 8, prior=prior, network=NETWORK)
    before = {name: p.clone() for name, p in vae.named_parameters()}
    assert any(name.startswith("prior.prior.likelihood") for name in before)
    pvae.fit(vae, data, epochs=3, compile=False, run=tmp_path / "run", progress=False)
    assert not any(torch.equal(p, before[name]) for name, p in vae.named_parameters())
    assert vae.sample(3).shape == (3, 1, 8, 8)
    loaded = pvae.load(tmp_path / "run")
    assert torch.equal(loaded.sample(3, seed=0), vae.sample(3, seed=0))


def test_bad_levels():
    with pytest.raises(ValueError, match=r"(upper_dim|latent_dim) is 0|whole numbers"):
        Nested(4, upper_dim=0)
    with pytest.raises(ValueError, match="only given its labels"):
        pvae.build((5,), 2, conditional=True, classes=3)()


def test_levels_are_named_on_the_command_line(tmp_path, capsys, no_pictures):
    run = str(tmp_path / "run")
    levels = ["--prior", "Nested", "--prior.upper_dim", "3", "--prior.prior", "Mixture"]
    main(["train", "--epochs", "1", *levels, "--prior.prior.components", "4", "--run", run])
    loaded = pvae.load(run)
    assert type(loaded.prior.prior) is pvae.priors.Mixture
    assert loaded.prior.latent_shape == (3,)
