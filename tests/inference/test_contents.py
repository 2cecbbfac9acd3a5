import array
import contextvars
import random

import numpy as np
import pytest

from pvae.inference import contents

VARIABLE = contextvars.ContextVar("level", default=0.0)
CASES = {
    "array": (contents.of_array, np.zeros(2), lambda x: x.fill(1.0)),
    "array of the standard library": (
        contents.of_array,
        array.array("d", [0.0]),
        lambda x: x.__setitem__(0, 1.0),
    ),
    "bytes": (contents.of_array, bytearray(1), lambda x: x.__setitem__(0, 1)),
    "generator of Python": (contents.of_generator, random.Random(0), lambda x: x.random()),
    "generator of NumPy": (contents.of_generator, np.random.default_rng(0), lambda x: x.random()),
    "older one": (contents.of_generator, np.random.RandomState(0), lambda x: x.rand()),
    "context variable": (contents.of_variable, VARIABLE, lambda x: x.set(1.0)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_state_is_compared_and_put_back(name):
    make, thing, change = CASES[name]
    place = make(thing, "it")
    assert place.same()
    change(thing)
    assert not place.same()
    place.restore()
    assert place.same()
