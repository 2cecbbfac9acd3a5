import gzip
import importlib
import io
import math
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

import pvae
from pvae.evaluation import evaluate
from pvae.evaluation.code_length import _gzip, compression, png

room = importlib.import_module("pvae.evaluation.code_length")
MLP = partial(pvae.networks.MLP, hidden=[16])
LOGISTIC, GAUSSIAN = pvae.likelihoods.DiscretizedLogistic, pvae.likelihoods.Gaussian


def build(shape, likelihood=pvae.likelihoods.Bernoulli):
    return pvae.build(shape, 2, likelihood=likelihood, network=MLP)


@pytest.fixture(scope="module")
def digits():
    return pvae.data.load("digits")


@pytest.fixture(scope="module")
def colours():
    g = torch.Generator().manual_seed(0)
    x = torch.randint(256, (40, 3, 8, 8), dtype=torch.uint8, generator=g)
    x[:, :, ::2] = 7
    return pvae.data.load(x, validation=0, test=20)


@pytest.mark.parametrize(
    ("binary", "shape", "mode"),
    [
        (True, (5, 1, 7, 9), "1"),
        (True, (5, 3, 7, 9), "RGB"),
        (False, (5, 1, 7, 9), "L"),
        (False, (1, 3, 7, 9), "RGB"),
        (False, (5, 4, 7, 9), "RGBA"),
    ],
)
def test_codes_are_without_loss(binary, shape, mode):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2 if binary else 256, shape, dtype=np.uint8)
    image = Image.open(io.BytesIO(png(x, binary)))
    assert image.mode == mode
    n, channels, height, width = shape
    pixels = np.asarray(image).astype(np.uint8).reshape(n, height, width, channels)
    if mode == "RGB" and binary:
        pixels = pixels // 255
    assert np.array_equal(pixels.transpose(0, 3, 1, 2), x)

    unzipped = np.frombuffer(gzip.decompress(_gzip(x, binary)), np.uint8)
    unpacked = np.unpackbits(unzipped, count=x.size) if binary else unzipped
    assert np.array_equal(unpacked.reshape(shape), x)
    assert _gzip(x, binary) == _gzip(x, binary)


@pytest.mark.parametrize("likelihood", [None, partial(LOGISTIC, levels=17)])
def test_the_ideal_length_is_the_negative_elbo(digits, likelihood):
    vae = build((1, 8, 8), likelihood or pvae.likelihoods.Bernoulli)
    state = torch.get_rng_state()
    found = compression(vae, digits, batch_size=70, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert vae.training
    nats = evaluate(vae, digits, batch_size=70, seed=3)["neg_elbo"]
    assert found.neg_elbo.bits == pytest.approx(nats / math.log(2))
    for length in found:
        assert length.bits_per_dim == pytest.approx(length.bits / 64)


def test_fair_coins_take_a_bit_each(digits):
    vae = build((1, 8, 8))
    for p in vae.parameters():
        torch.nn.init.zeros_(p)
    found = compression(vae, digits)
    assert found.neg_elbo == pytest.approx((64, 1))


def test_what_is_coded_is_what_the_elbo_is_of(digits, monkeypatch):
    seen, elbo = [], room.elbo
    monkeypatch.setattr(room, "elbo", lambda vae, x, *y: seen.append(x) or elbo(vae, x, *y))
    found = compression(build((1, 8, 8)), digits, batch_size=70)
    x = torch.cat(seen).numpy().astype(np.uint8)
    assert x.shape == (180, 1, 8, 8)
    packed = np.packbits(x)
    assert found.gzip.bits == 8 * len(gzip.compress(packed.tobytes(), 9)) / 180
    each = [gzip.compress(np.packbits(one).tobytes(), 9) for one in x]
    assert found.gzip_files.bits == 8 * sum(map(len, each)) / 180
    sheet = io.BytesIO()
    Image.fromarray(x.reshape(-1, 8) == 1).save(sheet, "PNG", optimize=True)
    assert found.png.bits == 8 * len(sheet.getvalue()) / 180
    files = []
    for one in x:
        files.append(io.BytesIO())
        Image.fromarray(one[0] == 1).save(files[-1], "PNG", optimize=True)
    assert found.png_files.bits == 8 * sum(len(file.getvalue()) for file in files) / 180
    assert found.png.bits < found.png_files.bits


@pytest.mark.parametrize("likelihood", [LOGISTIC, GAUSSIAN])
def test_colours_are_coded_as_bytes(colours, likelihood):
    """Dequantized or not: those of the data themselves."""
    vae = build((3, 8, 8), likelihood)
    found = compression(vae, colours)
    bits_per_dim = evaluate(vae, colours)["bits_per_dim"]
    assert found.neg_elbo.bits_per_dim == pytest.approx(bits_per_dim)
    x = colours.test.x.numpy()
    assert found.gzip.bits == 8 * len(_gzip(x, binary=False)) / 20
    assert found.png.bits == 8 * len(png(x, binary=False)) / 20
    # Half of the rows are of one colour, and no code can do better on the others.
    assert 4 < found.png.bits_per_dim < 8


def test_levels_that_are_no_power_of_two_are_recovered(digits):
    found = compression(build((1, 8, 8), GAUSSIAN), digits)
    assert found.gzip.bits == 8 * len(_gzip(digits.test.x.numpy(), binary=False)) / 180


def test_only_images_have_a_png():
    data = pvae.data.load("digits", event_shape=(64,))
    found = compression(build((64,)), data)
    assert (found.png, found.png_files) == (None, None)
    assert found.gzip.bits < found.gzip_files.bits


def test_labels_are_given(digits):
    vae = pvae.build((1, 8, 8), 2, conditional=True, classes=10, network=MLP)
    nats = evaluate(vae, digits, "validation")["neg_elbo"]
    found = compression(vae, digits, "validation")
    assert found.neg_elbo.bits == pytest.approx(nats / math.log(2))


def test_unfit_arguments(digits):
    with pytest.raises(ValueError, match="no test part"):
        compression(build((1, 8, 8)), pvae.data.load("digits", test=0))
    relaxed = partial(pvae.likelihoods.Bernoulli, relaxed=True)
    for likelihood in (relaxed, pvae.likelihoods.ContinuousBernoulli):
        with pytest.raises(ValueError, match="is over unit interval and the data are bytes"):
            compression(build((1, 8, 8), likelihood), digits)
    reals = pvae.data.load(torch.randn(50, 3))
    with pytest.raises(ValueError, match="Gaussian is over reals and the data are reals"):
        compression(build((3,), GAUSSIAN), reals)
