from functools import partial

import pytest
import torch
from pyro.infer import Trace_ELBO

import pvae
from pvae import objectives, posteriors, priors
from pvae.data import Batches
from pvae.training.unused_latents import unused_latents

NETWORK = partial(pvae.networks.MLP, hidden=[32])


@pytest.fixture(scope="module")
def digits():
    return pvae.data.load("digits")


def said(vae, data, objective=None):
    batches = Batches(
        data, data.validation, vae.likelihood.domain, 180, labels=vae.labels is not None
    )
    return unused_latents(vae, batches, objective or Trace_ELBO())


def collapsed(latents, **parts):
    """A VAE whose posterior is the same for all data."""
    vae = pvae.build((1, 8, 8), latents, network=NETWORK, **parts)
    layer = vae.posterior.network.layers[-2]
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    return vae


def test_a_vae_that_uses_none_says_so_and_why(digits):
    vae = collapsed(10)
    with torch.no_grad():  # a KL that says nothing of x
        vae.posterior.network.layers[-2].bias[0] = 0.8
    sentence = said(vae, digits)
    assert sentence.startswith("No latent is used (KL by latent: 0.32, 0.")
    assert (
        ": each has a posterior mean of variance below 0.01 or a KL below 0.01 nats; " in sentence
    )
    for remedy in ("warmup", "FreeBits", "BetaELBO with a beta below 1"):
        assert remedy in sentence
    assert len(sentence) <= 300


@pytest.mark.parametrize(
    ("objective", "remedies"),
    [
        (objectives.BetaELBO(2.0), "more epochs, a longer warmup, FreeBits, a beta below 2 or"),
        (
            objectives.Denoising(objective=objectives.BetaELBO(0.5)),
            "more epochs, a longer warmup, FreeBits, a beta below 0.5 or",
        ),
        (objectives.BetaELBO(0.0), "more epochs or fewer"),
        (objectives.FreeBits(0.1), "more epochs, a longer warmup, more free_nats or"),
        (objectives.WAE(), "more epochs or fewer"),
    ],
)
def test_remedies_are_those_of_the_objective(digits, objective, remedies):
    assert f"try {remedies}" in said(collapsed(3), digits, objective)


@pytest.mark.parametrize(
    ("latents", "parts", "remedies"),
    [
        (3, {"posterior": posteriors.Delta}, "more epochs or fewer latents."),
        (4, {"posterior": posteriors.VQ, "prior": priors.UniformCodes}, "more epochs or fewer"),
        (
            3,
            {"conditional": True, "classes": 10, "classifier": pvae.classifiers.Softmax},
            "more epochs, a longer warmup, BetaELBO with a beta below 1 or fewer latents.",
        ),
    ],
)
def test_only_remedies_that_apply(digits, latents, parts, remedies):
    assert f"try {remedies}" in said(collapsed(latents, **parts), digits)


@pytest.mark.parametrize(
    ("latents", "zeros", "rest"), [(12, 9, "the others have"), (2, 1, "the other has")]
)
def test_some_are_not_used(latents, zeros, rest, digits):
    vae = pvae.build((1, 8, 8), latents, network=NETWORK)
    with torch.no_grad():
        layer = vae.posterior.network.layers[-2]
        layer.bias.zero_()
        layer.weight[1:] = 0.0
        layer.weight[0] *= 20
    sentence = said(vae, digits)
    assert sentence.startswith(f"Only 1 of {latents} latents is used (KL by latent: ")
    assert sentence.count("0.00") == zeros
    assert f": {rest} a posterior mean of variance below 0.01 or a KL below" in sentence
    assert len(sentence) <= 300


def test_a_vae_that_uses_all_says_nothing(digits):
    vae = pvae.build((1, 8, 8), 2, network=NETWORK)
    rate = partial(torch.optim.Adam, lr=2e-2)
    pvae.fit(vae, digits, epochs=10, optimizer=rate, progress=False)
    assert said(vae, digits) is None


def test_a_prior_that_sees_the_labels(digits):
    """Its posterior means vary with the label though z holds nothing of x beyond it."""
    vae = pvae.build((1, 8, 8), 2, network=NETWORK, conditional=["prior", "posterior"], classes=10)
    vae.posterior = _OfLabels(vae.prior)
    assert said(vae, digits).startswith("No latent is used")


class _OfLabels(torch.nn.Module):
    def __init__(self, prior):
        super().__init__()
        self.prior = prior

    def forward(self, x):
        return self.prior(x[..., 1:, 0, 0])


@pytest.mark.parametrize(
    "parts",
    [
        {"prior": pvae.priors.OneHot, "posterior": pvae.posteriors.RelaxedOneHot},
        {"posterior": pvae.posteriors.PlanarFlow},
        {"posterior": pvae.posteriors.FullNormal},
        {"posterior": pvae.posteriors.Delta},
        {"prior": pvae.priors.Hyperspherical, "posterior": pvae.posteriors.PowerSpherical},
    ],
)
def test_any_part_is_looked_at(digits, parts):
    sentence = said(pvae.build((1, 8, 8), 3, network=NETWORK, **parts), digits)
    assert sentence is None or "used" in sentence


def test_it_is_said_at_the_end_of_a_run(digits, capsys):
    vae = pvae.build((1, 8, 8), 2, network=NETWORK)
    objective = pvae.objectives.BetaELBO(1000.0)
    history = pvae.fit(vae, digits, epochs=3, objective=objective, warmup=0)
    assert history.notes[-1].startswith("No latent is used")
    assert history.notes[-1] in capsys.readouterr().err
