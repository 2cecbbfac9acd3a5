from functools import partial

import pytest
import torch
from torch import nn

import pvae
from pvae.likelihoods import Bernoulli, Gaussian
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


def test_a_part_keeps_the_network_of_its_own():
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


def test_a_module_of_ones_own_is_a_network():
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
