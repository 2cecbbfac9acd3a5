"""What the tests share: small VAEs, and a fresh parameter store and seed for each."""

from functools import partial

import pyro
import pytest
import torch

import pvae

SHAPE = (1, 8, 8)


@pytest.fixture(autouse=True)
def _fresh():
    pyro.clear_param_store()
    pyro.set_rng_seed(0)


@pytest.fixture
def vae():
    """A small VAE of binary 8 × 8 images with 2 latents."""
    return pvae.build(SHAPE, latent_dim=2, network=partial(pvae.networks.MLP, hidden=[16]))


@pytest.fixture
def x():
    """Six binary 8 × 8 images."""
    return torch.bernoulli(torch.full((6, *SHAPE), 0.5))
