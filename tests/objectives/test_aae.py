import math
from functools import partial

import pyro
import pytest
import torch
from pyro.infer import SVI
from torch.nn.functional import softplus

import pvae
from pvae.inference import Optimizer
from pvae.objectives import AAE
from tests.objectives_linear import seeded_loss, weighted_programs

NETWORK = partial(pvae.networks.MLP, hidden=[16])


def build():
    likelihood = partial(pvae.likelihoods.Gaussian, scale=1.0)
    parts = {"likelihood": likelihood, "posterior": pvae.posteriors.Delta, "network": NETWORK}
    return pvae.build((3,), 2, **parts)


def test_by_hand():
    vae, objective, x = build(), AAE(2, weight=3.0), torch.randn(5, 3)
    with torch.no_grad():
        z = vae.encode(x).mean
        adversary = softplus(-objective.discriminator(z)).sum()
        expected = 3 * adversary - vae.decode(z).log_prob(x).sum()
    assert objective.loss(vae.model, vae.guide, x) == pytest.approx(float(expected), rel=1e-5)


def test_scale_and_mask_are_those_of_all_terms():
    vae, x = build(), torch.randn(5, 3)
    objective = AAE(2, weight=3.0)
    programs, scaled, kept = weighted_programs(vae)
    loss = partial(seeded_loss, objective)
    assert loss(scaled, x) == pytest.approx(0.5 * loss(programs, x), rel=1e-5)
    assert loss(kept, x) == pytest.approx(loss(programs, x[:3]), rel=1e-5)


def test_gradients_are_those_of_two_players():
    vae, objective, x = build(), AAE(2, weight=3.0), torch.randn(5, 3)
    pyro.set_rng_seed(1)
    objective.loss_and_grads(vae.model, vae.guide, x)
    found = [p.grad.clone() for p in objective.parameters()]
    z = vae.encode(x).mean
    pyro.set_rng_seed(1)
    vae.guide(x)
    drawn = vae.p_z().expand((5,)).sample()
    d = objective.discriminator
    loss = (softplus(d(z.detach())) + softplus(-d(drawn))).sum()
    expected = torch.autograd.grad(loss, list(objective.parameters()))
    torch.testing.assert_close(found, list(expected))
    encoder = 3 * softplus(-d(z)).sum() - vae.decode(z).log_prob(x).sum()
    wanted = list(vae.posterior.parameters())
    torch.testing.assert_close([p.grad for p in wanted], list(torch.autograd.grad(encoder, wanted)))


def test_codes_come_to_be_like_the_prior():
    torch.manual_seed(0)
    # Data on a line, and a decoder that does not care: only the adversary moves the codes.
    x = torch.randn(400, 3)
    vae, objective = build(), AAE(2, weight=1000.0, hidden=[32])
    parameters = [*vae.posterior.parameters(), *objective.parameters()]
    svi = SVI(
        vae.model,
        vae.guide,
        Optimizer(
            [*parameters, *vae.likelihood.parameters()],
            partial(torch.optim.Adam, lr=2e-3, betas=(0.5, 0.9)),
        ),
        objective,
    )
    with torch.no_grad():
        before = vae.encode(x).mean.std(0)
        for _ in range(300):
            with torch.enable_grad():
                svi.step(x)
        z = vae.encode(x).mean
        fooled = softplus(-objective.discriminator(z)).mean()
    assert before.max() < 0.6
    assert (z.mean(0).abs() < 0.6).all()
    assert (z.std(0).log().abs() < 0.6).all()
    assert float(fooled) == pytest.approx(math.log(2), abs=0.3)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [({"weight": -1}, "weight is -1"), ({"latent_dim": 0}, "latent_dim is 0")],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        AAE(**{"latent_dim": 2} | arguments)


def test_another_number_of_latents():
    vae = build()
    with pytest.raises(ValueError, match="the VAE has 2 latents"):
        AAE(3).loss(vae.model, vae.guide, torch.randn(5, 3))
