from functools import partial

import pyro.distributions as dist
import pytest
import torch
from torch import nn

import pvae
from pvae.likelihoods import Bernoulli, Gaussian, NegativeBinomial, Poisson
from pvae.networks import MLP, Conv
from pvae.posteriors import DiagonalNormal
from pvae.priors import StandardNormal


def test_defaults():
    vae = pvae.build((1, 8, 8), latent_dim=3)
    assert type(vae.prior) is StandardNormal
    assert type(vae.likelihood) is Bernoulli
    assert type(vae.posterior) is DiagonalNormal
    assert vae.event_shape == (1, 8, 8)
    assert vae.prior().event_shape == (3,)


def test_a_part_keeps_its_own_network():
    vae = pvae.build(
        (1, 8, 8),
        2,
        likelihood=partial(Gaussian, network=partial(MLP, hidden=[5])),
        network=partial(Conv, channels=[3]),
    )
    assert isinstance(vae.likelihood.network, MLP)
    assert isinstance(vae.posterior.network, Conv)
    shared = partial(Gaussian, network=None)  # as a configuration writes it
    assert isinstance(
        pvae.build((1, 8, 8), 2, likelihood=shared, network=Conv).likelihood.network, Conv
    )


def test_a_users_module_is_a_network():
    decoder = nn.Sequential(nn.Linear(2, 64), nn.Unflatten(1, (1, 8, 8)))
    vae = pvae.build((1, 8, 8), 2, likelihood=partial(Bernoulli, network=decoder))
    assert vae.likelihood.network is decoder
    assert vae.sample(3).shape == (3, 1, 8, 8)


def test_a_part_without_a_network():
    def line(latent_dim, event_shape):
        return Gaussian(latent_dim, event_shape, network=partial(MLP, hidden=[]))

    assert torch.is_tensor(pvae.build((5,), 2, likelihood=line).sample(1))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"event_shape": ()}, r"event_shape is \(\)"),
        ({"event_shape": (1, 0, 8)}, r"event_shape is \(1, 0, 8\)"),
        ({"latent_dim": 0}, "latent_dim is 0"),
        ({"latent_dim": -2}, "latent_dim"),
        ({"latent_dim": 2.5}, "latent_dim"),
        ({"event_shape": (7,), "network": Conv}, "use MLP for data that are not images"),
    ],
)
def test_bad_sizes(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        pvae.build(**{"event_shape": (1, 8, 8), "latent_dim": 2} | arguments)


def weights(vae):
    return torch.cat([w.flatten() for w in vae.state_dict().values()])


def test_one_seed_makes_one_vae():
    """Whatever came before, and without a trace on what comes after."""
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = weights(pvae.build((1, 8, 8), 2))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert torch.equal(weights(pvae.build((1, 8, 8), 2)), first)
    other = pvae.build((1, 8, 8), 2, seed=1)
    assert not torch.equal(weights(other), first)
    assert other.arguments["seed"] == 1


def test_without_a_seed_torch_decides():
    torch.manual_seed(5)
    first, second = (weights(pvae.build((1, 8, 8), 2, seed=None)) for _ in range(2))
    torch.manual_seed(5)
    third = weights(pvae.build((1, 8, 8), 2, seed=None))
    assert not torch.equal(first, second)
    assert torch.equal(first, third)


def test_one_seed_makes_one_result():
    found = []
    for seed in (0, 0, 3):
        torch.rand(7)
        vae = pvae.build((1, 8, 8), 2, network=partial(MLP, hidden=[8]), seed=seed)
        pvae.fit(vae, "digits", epochs=1, seed=seed, progress=False)
        found.append(weights(vae))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def dropouts(vae):
    return [m.p for m in vae.modules() if isinstance(m, nn.Dropout)]


@pytest.mark.parametrize("likelihood", [NegativeBinomial, partial(Poisson)])
def test_counts_are_not_memorized(likelihood):
    assert dropouts(pvae.build((20,), 2, likelihood=likelihood)) == [0.3, 0.3]
    for network in (partial(MLP, dropout=0.0), partial(MLP, dropout=0.0, hidden=[5])):
        assert dropouts(pvae.build((20,), 2, likelihood=likelihood, network=network)) == []
    wide = pvae.build((20,), 2, likelihood=likelihood, network=partial(MLP, hidden=[5]))
    assert wide.arguments["network"].keywords == {"hidden": [5], "dropout": 0.3}
    assert dropouts(pvae.build((20,), 2, likelihood=Gaussian)) == []


def nothing():
    """Takes no sizes."""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"prior": StandardNormal(2)}, "prior is an object of type StandardNormal"),
        ({"prior": "StandardNormal"}, "prior is the string 'StandardNormal'"),
        ({"prior": None}, "prior is None"),
        ({"prior": dist.Normal(0.0, 1.0)}, "prior is an object of type Normal"),
        ({"prior": dist.Normal}, "prior is the class Normal, which is not a torch.nn.Module"),
        ({"prior": Bernoulli}, "The prior Bernoulli is called with"),
        ({"prior": nothing}, "The prior nothing is called with"),
        ({"prior": lambda d: dist.Normal(0.0, 1.0)}, "makes an object of type Normal"),
        ({"prior": torch.zeros(2)}, "prior is an object of type Tensor"),
        ({"likelihood": Bernoulli(2, (1, 8, 8))}, "likelihood is an object of type Bernoulli"),
        ({"likelihood": StandardNormal}, "The likelihood StandardNormal is called with"),
        ({"posterior": DiagonalNormal((1, 8, 8), 2)}, "posterior is an object of type"),
        ({"posterior": 3}, "posterior is an object of type int"),
        ({"network": MLP((2,), (4,))}, "network is an object of type MLP"),
        ({"network": "MLP"}, "network is the string 'MLP'"),
        ({"network": torch.optim.Adam}, "network is the class Adam"),
    ],
)
def test_factories_of_another_kind(arguments, sentence):
    with pytest.raises(TypeError, match=sentence) as raised:
        pvae.build(**{"event_shape": (1, 8, 8), "latent_dim": 2} | arguments)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    "parts",
    [
        (StandardNormal, Bernoulli, DiagonalNormal),
        (dist.Normal(0.0, 1.0), Bernoulli(2, (1, 8, 8)), DiagonalNormal((1, 8, 8), 2)),
        (StandardNormal(2), Bernoulli(2, (1, 8, 8)), "DiagonalNormal"),
    ],
)
def test_parts_of_another_kind(parts):
    with pytest.raises(TypeError, match=r"(prior|posterior) is .*: it must be a torch.nn.Module"):
        pvae.VAE(*parts)
