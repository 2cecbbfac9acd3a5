import contextlib

import numpy as np
import pytest


@pytest.fixture
def fails():
    """Expects an exact type of error, whose message is one sentence on one line."""

    @contextlib.contextmanager
    def expect(kind, *fragments):
        with pytest.raises(kind) as caught:
            yield
        message = str(caught.value)
        assert caught.type is kind
        assert "\n" not in message
        assert message.endswith(".")
        assert ". " not in message
        for fragment in fragments:
            assert fragment in message

    return expect


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def save_image(rng):
    """Writes a picture of noise and returns its pixels."""
    from PIL import Image

    def save(path, shape=(8, 8), **options):
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(path, **options)
        return pixels

    return save
