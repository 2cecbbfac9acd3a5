import io

import numpy as np
import pytest
import torch
from PIL import Image

from pvae.data.images import common_shape, is_grey, resize, shape_of, to_bytes


def reopen(image, kind="png", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Image.open(file)


GREY = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10


@pytest.mark.parametrize("kind", ["png", "bmp", "gif", "tiff", "ppm"])
def test_grey_pictures_keep_their_values(kind):
    image = reopen(Image.fromarray(GREY), kind)
    assert is_grey(image)
    assert shape_of(image) == (4, 6)
    assert np.array_equal(to_bytes(image), GREY[None])
    assert np.array_equal(to_bytes(image, channels=3), np.stack([GREY] * 3))


def test_colours_are_channels_first(rng):
    pixels = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    image = reopen(Image.fromarray(pixels))
    assert not is_grey(image)
    assert np.array_equal(to_bytes(image), pixels.transpose(2, 0, 1))
    assert to_bytes(image, channels=1).shape == (1, 4, 6)


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sixteen_bits_are_scaled(kind):
    pixels = np.array([[0, 128, 129, 257, 32896, 65535]], dtype=np.uint16)
    image = reopen(Image.fromarray(pixels), kind)
    assert is_grey(image)
    assert to_bytes(image).tolist() == [[[0, 0, 1, 1, 128, 255]]]


def test_numbers_of_no_fixed_range_are_refused(fails):
    for pixels in (np.ones((2, 2), np.float32), np.full((2, 2), 70_000, np.int32)):
        with fails(ValueError, "without a fixed range"):
            to_bytes(reopen(Image.fromarray(pixels), "tiff"))


def test_transparency_is_black():
    image = Image.fromarray(np.full((2, 2, 4), 255, np.uint8))
    image.putpixel((0, 0), (255, 255, 255, 0))
    image.putpixel((1, 0), (255, 0, 0, 51))
    expected = np.full((3, 2, 2), 255)
    expected[:, 0, 0] = 0
    expected[:, 0, 1] = [51, 0, 0]
    assert np.array_equal(to_bytes(reopen(image)), expected)
    assert np.array_equal(to_bytes(reopen(image.convert("LA")))[0, 0, 0], 0)


def test_transparency_of_a_palette_is_black():
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0])
    opened = reopen(image, transparency=0)
    assert not is_grey(opened)
    assert to_bytes(opened).tolist() == [[[0, 0]], [[0, 255]], [[0, 0]]]


@pytest.mark.parametrize("mode", ["1", "CMYK", "YCbCr", "HSV", "LAB"])
def test_every_mode_is_read(mode):
    grey = Image.fromarray(np.array([[0, 255]], np.uint8))
    image = grey.convert("RGB").convert(mode) if mode != "LAB" else Image.new("LAB", (2, 1))
    assert is_grey(image) == (mode == "1")
    assert to_bytes(image).shape == (1 if mode == "1" else 3, 1, 2)


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_the_exif_orientation_is_respected(kind):
    exif = Image.Exif()
    exif[0x0112] = 6  # lying on its left side
    image = Image.fromarray(np.repeat([[0], [255]], 6, axis=1).astype(np.uint8))
    turned = reopen(image, kind, exif=exif)
    assert shape_of(turned) == (6, 2)
    assert to_bytes(turned).squeeze().mean(0).round().tolist() == [255, 0]


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("L", (2, 2), value) for value in (0, 255)]
    image = reopen(frames[0], "gif", save_all=True, append_images=frames[1:])
    assert to_bytes(image).max() == 0


def test_stretching_shows_all_and_cropping_the_centre():
    pixels = np.zeros((4, 12), np.uint8)
    pixels[:, 4:8] = 200
    image = Image.fromarray(pixels)
    assert to_bytes(image, (4, 4), crop=True).tolist() == [[[200] * 4] * 4]
    stretched = to_bytes(image, (4, 3))
    assert stretched.shape == (1, 4, 3)
    assert stretched[0, 0, 0] < stretched[0, 0, 1] > stretched[0, 0, 2]


def test_resizing_stays_within_the_range_of_the_values(rng):
    x = torch.from_numpy(rng.choice([0, 16], (3, 1, 8, 8)).astype(np.uint8))
    for size in ((5, 7), (16, 16)):
        resized = resize(x, size)
        assert resized.shape == (3, 1, *size)
        assert resized.max() <= 16
    assert torch.equal(resize(x, None, channels=3), x.expand(-1, 3, -1, -1))


def test_a_large_photograph_keeps_its_picture():
    ramp = Image.fromarray(np.tile(np.linspace(0, 255, 800).astype(np.uint8), (600, 1)))
    small, expected = (to_bytes(i, (6, 8)) for i in (reopen(ramp, "jpeg", quality=95), ramp))
    assert np.abs(small.astype(int) - expected).max() <= 2


def test_images_must_share_their_size(fails):
    assert common_shape([(3, 4), (3, 4)]) == (3, 4)
    with fails(ValueError, "from 2 x 3 to 9 x 8 pixels", "size=64"):
        common_shape([(4, 4), (9, 8), (2, 3)])
