"""Likelihoods and the data they are of."""

import math
from functools import partial

import numpy as np
import pytest
import torch

import pvae
from pvae import likelihoods
from pvae.data.domains import picture_range
from pvae.networks import MLP

ARRAYS = {
    "counts": np.random.default_rng(0).poisson(3.0, (60, 8)),
    "positive reals": np.random.default_rng(0).gamma(2.0, 2.0, (60, 8)),
    "unit interval": np.random.default_rng(0).uniform(0.01, 0.99, (60, 8)),
    "open unit interval": np.random.default_rng(0).uniform(0.01, 0.99, (60, 8)),
    "reals": np.random.default_rng(0).normal(size=(60, 8)),
}
BITS = {  # what is added to the bound, in nats per element of digits
    "DiscretizedLogistic": 0.0,
    "Categorical": 0.0,
    "Gaussian": math.log(17),
    "Beta": math.log(17),
    "LogNormal": math.log(17),
    "ContinuousBernoulli": None,
    "Poisson": None,
}


def vae_for(data, name, **arguments):
    return pvae.build(
        data.event_shape,
        latent_dim=2,
        likelihood=partial(getattr(likelihoods, name), **arguments),
        network=partial(MLP, hidden=[8]),
    )


@pytest.mark.parametrize("name", BITS)
def test_bits_per_dimension(name):
    data = pvae.data.load("digits")
    levels = {"levels": 17} if name in ("DiscretizedLogistic", "Categorical") else {}
    figures = pvae.evaluation.evaluate(vae_for(data, name, **levels), data)
    nats = BITS[name]
    if nats is None:
        assert "bits_per_dim" not in figures
    else:
        expected = (figures["neg_elbo"] / 64 + nats) / math.log(2)
        assert math.isclose(figures["bits_per_dim"], expected, rel_tol=1e-9)


def test_uniform_levels_and_a_uniform_density_have_the_same_bits():
    data = pvae.data.load("digits")
    bits = []
    for name, arguments in (("Categorical", {"levels": 17}), ("Beta", {"scale": 0.5**0.5})):
        vae = vae_for(data, name, **arguments)  # alpha = beta = 1 is uniform
        for weight in vae.likelihood.parameters():
            torch.nn.init.zeros_(weight)
        figures = pvae.evaluation.evaluate(vae, data)
        bits.append(figures["bits_per_dim"] - figures["kl"] / 64 / math.log(2))
    assert bits == pytest.approx([math.log2(17)] * 2, rel=1e-4)


@pytest.mark.parametrize("name", ["Beta", "LogNormal", "DiscretizedGaussian", "Gamma", "Poisson"])
def test_pictures_span_the_range_of_the_means(name):
    data = pvae.data.load("digits")
    levels = {"levels": 17} if name == "DiscretizedGaussian" else {}
    vae = vae_for(data, name, **levels)
    expected = (0, 16) if name in ("DiscretizedGaussian", "Poisson") else (0, 1)
    assert picture_range(vae.likelihood, data.domain, data.value_range) == expected


@pytest.mark.parametrize("name", sorted(set(likelihoods.__all__)))
def test_data_arrive_in_the_support(name):
    part = getattr(likelihoods, name)(2, (8,))
    if part.domain in ARRAYS:
        data = pvae.data.load(ARRAYS[part.domain])
        name = part.domain
    else:
        data = pvae.data.load("digits", event_shape=(64,))
        part = getattr(likelihoods, name)(2, (64,))
    x = pvae.data.Batches(data, data.train, part.domain, batch_size=20).head(20)
    p = part(torch.zeros(20, 2))
    assert p.log_prob(x).isfinite().all()
