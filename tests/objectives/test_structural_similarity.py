from functools import partial

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.distributions import kl_divergence

import pvae
from pvae.objectives import StructuralSimilarity
from pvae.objectives.ms_ssim import WEIGHTS, ms_ssim, scales

NETWORK = partial(pvae.networks.MLP, hidden=[6], activation="tanh")


def smooth(n, side, seed=0, channels=1):
    """Smooth images, as those of which structure is compared."""
    noise = np.random.default_rng(seed).random((n, channels, side, side))
    return torch.from_numpy(gaussian_filter(noise, (0, 0, 2, 2)) * 3 - 1).clamp(0, 1)


def similarity_by_scipy(x, y):
    """The five-scale similarity of two grey images, by filters of SciPy."""
    blur = partial(gaussian_filter, sigma=1.5, radius=5)
    result = 1.0
    for weight in WEIGHTS:
        mean_x, mean_y = blur(x), blur(y)
        var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
        structure = (2 * (blur(x * y) - mean_x * mean_y) + 9e-4) / (var_x + var_y + 9e-4)
        brightness = (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)
        inside = (slice(5, -5), slice(5, -5))
        last = weight == WEIGHTS[-1]
        result *= (brightness * structure if last else structure)[inside].mean() ** (
            weight / sum(WEIGHTS)
        )
        x, y = (v.reshape(len(v) // 2, 2, -1, 2).mean((1, 3)) for v in (x, y))
    return result


def test_five_scales_by_scipy():
    x, other = smooth(1, 192), smooth(1, 192, seed=1)
    y = (0.6 * x + 0.4 * other) ** 1.2
    expected = similarity_by_scipy(x[0, 0].numpy(), y[0, 0].numpy())
    assert 0.3 < expected < 0.95
    assert float(ms_ssim(x, y)) == pytest.approx(expected, rel=1e-10)


def test_what_is_known_of_it():
    x, y = smooth(4, 28, channels=3), smooth(4, 28, seed=1, channels=3)
    torch.testing.assert_close(ms_ssim(x, x), torch.ones(4).double())
    torch.testing.assert_close(ms_ssim(x, y), ms_ssim(y, x))
    each = torch.stack([ms_ssim(x[:, [c]], y[:, [c]]) for c in range(3)])
    torch.testing.assert_close(ms_ssim(x, y), each.mean(0))
    # It falls as noise is added, and keeps a gradient for images that are each other's negative.
    found = [ms_ssim(x, (1 - w) * x + w * y).mean() for w in (0.1, 0.3, 0.6)]
    assert 1 > found[0] > found[1] > found[2]
    negative = (1 - x).requires_grad_()
    ms_ssim(x, negative).sum().backward()
    assert negative.grad.isfinite().all()


def test_one_scale_as_published_for_a_constant_difference():
    # Without structure only brightness counts (Wang et al. 2004, eq. 6).
    x, y = torch.full((1, 1, 11, 15), 0.5), torch.full((1, 1, 11, 15), 0.2)
    expected = (2 * 0.5 * 0.2 + 1e-4) / (0.25 + 0.04 + 1e-4)
    assert float(ms_ssim(x, y)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("side", "number"), [(11, 1), (21, 1), (22, 2), (28, 2), (64, 3), (175, 4), (176, 5), (500, 5)]
)
def test_as_many_scales_as_fit(side, number):
    assert scales(side, side + 3, 11) == number


@pytest.mark.parametrize("likelihood", [0.0, 0.4])
@pytest.mark.parametrize(
    ("family", "size", "highest"),
    [
        (pvae.likelihoods.Bernoulli, {}, 1),
        (partial(pvae.likelihoods.Binomial, levels=17), {}, 16),
        (pvae.likelihoods.Gaussian, {"data_range": 4.0}, 4),
    ],
)
def test_by_hand(family, size, highest, likelihood):
    vae = pvae.build((1, 12, 12), 2, likelihood=family, network=NETWORK).double()
    x = (smooth(5, 12) * highest).round()
    torch.manual_seed(1)
    q = vae.encode(x)
    p = vae.decode(q.rsample())
    similarity = ms_ssim(x / highest, p.mean / highest, window=5)
    expected = 0.7 * kl_divergence(q, vae.p_z()).sum() + 30 * (1 - similarity).sum()
    expected = expected - likelihood * p.log_prob(x).sum()
    objective = StructuralSimilarity(30.0, likelihood, 0.7, window=5, **size)
    objective.loss(vae.model, vae.guide, x)  # finds the plates, by a separate draw
    torch.manual_seed(1)
    assert objective.loss(vae.model, vae.guide, x) == pytest.approx(expected.item())


def test_trained_by_it_reconstructions_are_more_similar():
    data = pvae.data.load("digits")
    found = []
    for objective in (None, StructuralSimilarity(300.0, window=5)):
        vae = pvae.build(data.event_shape, 2, network=NETWORK)
        fast = partial(torch.optim.Adam, lr=1e-2)
        arguments = {"epochs": 4, "optimizer": fast, "progress": False, "warmup": 0}
        history = pvae.fit(vae, data, objective=objective, compile=False, **arguments)
        x = data.batch(vae, "test")
        found.append(float(ms_ssim(x, vae.reconstruct(x), window=5).mean()))
    assert found[1] > found[0] + 0.02
    assert "StructuralSimilarity is no bound of log p(x)" in " ".join(history.notes)
    assert history.monitor in history


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"weight": -1.0}, "weight is -1.0"),
        ({"likelihood": float("inf")}, "likelihood is inf"),
        ({"beta": -1.0}, "beta is -1.0"),
        ({"window": 4}, "window is 4: it must be an odd number"),
        ({"window": 1}, "window is 1: it must be an odd number"),
        ({"data_range": 0.0}, "data_range is 0.0"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        StructuralSimilarity(**arguments)


@pytest.mark.parametrize(
    ("shape", "likelihood", "match"),
    [
        ((1, 8, 20), "Bernoulli", "have 8 × 20 pixels: each side must have at least the 11"),
        ((6,), "Bernoulli", r"images \(C, H, W\).* and these are data of shape \(6,\)"),
        ((1, 12, 12), "Poisson", "and these are counts"),
        ((1, 12, 12), "LogitNormal", "has no closed form, which StructuralSimilarity needs"),
    ],
)
def test_data_that_it_cannot_compare(shape, likelihood, match):
    family = getattr(pvae.likelihoods, likelihood)
    vae = pvae.build(shape, 2, likelihood=family, network=NETWORK)
    x = torch.full((2, *shape), 0.5) if likelihood == "LogitNormal" else torch.ones(2, *shape)
    with pytest.raises(ValueError, match=match) as refusal:
        StructuralSimilarity().loss(vae.model, vae.guide, x)
    assert len(str(refusal.value)) <= 300


def test_what_it_refuses_is_said_by_fit():
    data, vae = pvae.data.load("digits"), pvae.build((1, 8, 8), 2, network=NETWORK)
    with pytest.raises(ValueError, match="have 8 × 8 pixels"):
        pvae.fit(vae, data, objective=StructuralSimilarity(), epochs=1, progress=False)
