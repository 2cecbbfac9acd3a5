"""What the tests share: small VAEs, and a fresh parameter store and seed for each."""

import gc
import os
from functools import partial

import pytest

# torch, Pyro and pvae are imported in functions: the process of pytest-xdist that hands out the
# tests reads this file before it starts others, and needs none of them.

SHAPE = (1, 8, 8)

# What the tests train is so small that threads would mostly wait for each other. torch reads this
# when it is imported, here and in the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_finish():
    gc.freeze()  # what is imported stays, and need not be looked through by every collection


@pytest.fixture(autouse=True)
def _fresh():
    import pyro

    pyro.clear_param_store()
    pyro.set_rng_seed(0)


@pytest.fixture
def vae():
    """A small VAE of binary 8 × 8 images with 2 latents."""
    import pvae

    return pvae.build(SHAPE, latent_dim=2, network=partial(pvae.networks.MLP, hidden=[16]))


@pytest.fixture
def x():
    """Six binary 8 × 8 images."""
    import torch

    return torch.bernoulli(torch.full((6, *SHAPE), 0.5))


@pytest.fixture
def no_pictures(monkeypatch):
    """For tests that train by the command line for another reason: pictures take most time."""
    from pvae.cli import film, gallery
    from pvae.studies import pictures

    for module in (gallery, film):
        monkeypatch.setattr(module, "plot", lambda *args, **options: [])
    monkeypatch.setattr(pictures, "draw", lambda *args, **options: [])


@pytest.fixture
def in_process(monkeypatch):
    """For tests of studies that are not about workers."""
    from pvae.studies import jobs, study

    monkeypatch.setattr(study, "run_on_worker", jobs.run_job)


@pytest.fixture
def forked_workers(monkeypatch):
    """For tests of studies that are not about how workers start: these have imported all."""
    from pvae.studies import worker
    from tests.processes import FORKING

    monkeypatch.setattr(worker, "subprocess", FORKING)
