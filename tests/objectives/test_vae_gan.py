from functools import partial

import pyro
import pytest
import torch
from torch.nn.functional import softplus

import pvae
from pvae.inference import CompiledSVI, Optimizer
from pvae.objectives import VAEGAN, Denoising, Warmup
from pvae.training import Run

NETWORK = partial(pvae.networks.MLP, hidden=[16])


@pytest.fixture
def vae():
    likelihood = partial(pvae.likelihoods.Gaussian, scale=1.0)
    return pvae.build((3,), 2, likelihood=likelihood, network=NETWORK).double()


@pytest.fixture
def x():
    return torch.randn(5, 3, dtype=torch.float64)


def make(**arguments):
    return VAEGAN((3,), **{"features": 4, "network": NETWORK} | arguments).to(torch.float64)


def terms(vae, objective, x):
    """The KL, the distance in features, and the losses of decoder and discriminator, by hand."""
    pyro.set_rng_seed(1)
    q = vae.encode(x)
    z = q.rsample()
    drawn = vae.p_z().expand((len(x),)).sample()
    kl = torch.distributions.kl_divergence(q, vae.p_z()).sum()
    (real, of_x), (made, of_made), (_, of_drawn) = (
        objective.discriminator(each) for each in (x, vae.decode(z).mean, vae.decode(drawn).mean)
    )
    distance = (real - made).square().sum() / 2
    fooled = softplus(-of_made).sum() + softplus(-of_drawn).sum()
    caught = softplus(-of_x).sum() + softplus(of_made).sum() + softplus(of_drawn).sum()
    return kl, distance, fooled, caught


def test_every_part_has_its_own_gradient(vae, x):
    objective = make(gamma=0.3, beta=0.7)
    objective.loss(vae.model, vae.guide, x)  # finds the plates, by a separate draw
    pyro.set_rng_seed(1)
    loss = objective.loss_and_grads(vae.model, vae.guide, x)
    kl, distance, fooled, caught = terms(vae, objective, x)
    assert loss == pytest.approx((0.7 * kl + distance + fooled).item())
    for part, by_hand in (
        (vae.posterior, 0.7 * kl + distance),
        (vae.likelihood, 0.3 * distance + fooled),
        (objective.discriminator, caught),
    ):
        learned = [p for p in part.parameters() if p.requires_grad]
        expected = torch.autograd.grad(by_hand, learned, retain_graph=True)
        torch.testing.assert_close([p.grad for p in learned], list(expected))


def test_features_keep_their_size(x):
    features, _ = make().discriminator(100 * x)
    expected = torch.full((5,), 4.0, dtype=torch.float64)
    torch.testing.assert_close(features.square().sum(-1), expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("likelihood", "x", "seen"),
    [
        (partial(pvae.likelihoods.Binomial, levels=17), [[0.0, 4.0, 16.0]], [[0.0, 0.25, 1.0]]),
        (pvae.likelihoods.Poisson, [[0.0, 1.0, 5.0]], [[0.0, 0.6931, 1.7918]]),
        (pvae.likelihoods.Gaussian, [[0.0, -4.0, 16.0]], [[0.0, -4.0, 16.0]]),
    ],
)
def test_the_discriminator_sees_values_of_order_one(likelihood, x, seen):
    vae = pvae.build((3,), 2, likelihood=likelihood, network=NETWORK)
    objective, found = VAEGAN((3,), features=4, network=NETWORK), []
    objective.discriminator.register_forward_pre_hook(lambda _, given: found.append(given[0]))
    objective.loss(vae.model, vae.guide, torch.tensor(x))
    torch.testing.assert_close(found[0][:1], torch.tensor(seen), rtol=1e-3, atol=1e-3)


def test_around_it_a_warm_up_and_noise(vae, x):
    objective = make()
    around = Warmup(Denoising(0.0, objective=objective), 10)
    for wrapped in (objective, around):
        wrapped.loss(vae.model, vae.guide, x)
    around.step = 5
    pyro.set_rng_seed(1)
    loss = around.loss(vae.model, vae.guide, x)
    kl, distance, fooled, _ = terms(vae, objective, x)
    assert loss == pytest.approx((0.5 * kl + distance + fooled).item())


CONV = partial(pvae.networks.Conv, channels=[4], hidden=8)


@pytest.mark.parametrize(("event", "network"), [((3,), NETWORK), ((1, 8, 8), CONV)])
def test_compiled_with_its_discriminator(event, network):
    x, found = torch.randn(5, *event, dtype=torch.float64), []
    for inference in (pyro.infer.SVI, partial(CompiledSVI, compile=True, backend="graph")):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        vae = pvae.build(event, 2, likelihood=pvae.likelihoods.Gaussian, network=network).double()
        objective = VAEGAN(event, features=4, network=network, seed=1).to(torch.float64)
        objective.loss(vae.model, vae.guide, x)
        learned = [*vae.parameters(), *objective.parameters()]
        optim = Optimizer(learned, partial(torch.optim.Adam, lr=1e-2))
        svi = inference(vae.model, vae.guide, optim, objective)
        for seed in range(3):
            pyro.set_rng_seed(seed)
            svi.step(x)
        found.append([p.detach().clone() for p in learned])
    torch.testing.assert_close(*found)


def test_maps_as_features_by_a_residual_network():
    network = partial(pvae.networks.ResNet, channels=[4], blocks=1)
    objective = VAEGAN((1, 8, 8), features=(4, 8, 8), network=network)
    features, logit = objective.discriminator(torch.zeros(2, 1, 8, 8))
    assert (features.shape, logit.shape) == ((2, 4, 8, 8), (2, 1))


def fit(vae, data, **arguments):
    planned = {"epochs": 2, "compile": False, "progress": False}
    objective = VAEGAN((1, 8, 8), features=4, network=NETWORK)
    return objective, pvae.fit(vae, data, objective=objective, **planned | arguments)


def test_the_last_epoch_is_kept_and_a_run_resumed_bit_for_bit(tmp_path):
    data = pvae.data.load("digits")
    vae, whole, parts = (pvae.build((1, 8, 8), 2, network=NETWORK) for _ in range(3))
    first, history = fit(whole, data, warmup=20)
    assert (history.kept_epoch, "validation/objective" in history) == (2, False)
    said = " ".join(history.notes)
    assert "the last, since the losses of epochs with different discriminators" in said
    assert "VAEGAN is no bound of log p(x)" in said
    assert "stops early" not in said
    run = tmp_path / "run"
    fit(parts, data, epochs=1, run=run, warmup=20)
    second, _ = fit(parts, data, run=run, resume=True)
    assert Run(run).history.kept_epoch == 2
    assert Run(run).history.monitor == history.monitor == "validation/objective"
    assert all(map(torch.equal, first.parameters(), second.parameters()))
    assert all(map(torch.equal, whole.state_dict().values(), parts.state_dict().values()))
    _, chosen = fit(vae, data, monitor="neg_elbo", patience=1)
    assert chosen.monitor == "validation/neg_elbo"
    with pytest.raises(ValueError, match="changes with its discriminator: set monitor"):
        fit(vae, data, patience=5)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"event_shape": (0,)}, "event_shape is"),
        ({"gamma": -1.0}, "gamma is -1.0"),
        ({"beta": float("nan")}, "beta is nan"),
        ({"features": 1}, "features is 1: it must be at least 2 numbers"),
        ({"features": (4, 2, 2)}, "Conv joins an image"),
    ],
)
def test_bad_arguments(arguments, match):
    network = pvae.networks.Conv if "features" in arguments else None
    with pytest.raises(ValueError, match=match):
        VAEGAN(**{"event_shape": (1, 8, 8), "network": network} | arguments)


def test_data_and_likelihoods_that_it_cannot_see(vae, x):
    with pytest.raises(ValueError, match=r"event_shape is \(4,\): the data of the VAE have \(3,\)"):
        VAEGAN((4,)).loss(vae.model, vae.guide, x)
    vae = pvae.build((3,), 2, likelihood=pvae.likelihoods.LogitNormal, network=NETWORK)
    with pytest.raises(ValueError, match=r"The mean of p\(x\|z\) has no closed form, which VAEGAN"):
        VAEGAN((3,)).loss(vae.model, vae.guide, torch.rand(5, 3))
