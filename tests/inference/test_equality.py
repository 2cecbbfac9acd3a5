from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pvae.inference.equality import MOST_COMPARED, equal


def nested(depth):
    return [nested(depth - 1)] if depth else []


def floats(count):
    return [float(i) for i in range(count)]


@pytest.mark.parametrize(
    ("now", "before", "same"),
    [
        (0.0, -0.0, False),
        (1, 1.0, False),
        (float("nan"), float("nan"), True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, False),  # a program may read their order
        (SimpleNamespace(x=[1, (2,)]), SimpleNamespace(x=[1, (2,)]), True),
        (SimpleNamespace(x=1), SimpleNamespace(x=2), False),
        (np.array([np.nan]), np.array([np.nan]), True),
        (partial(max, 1), partial(max, 1), True),
        (torch.ones(1), torch.ones(1), False),  # which are watched by identity
        (nested(9), nested(9), True),
        (floats(MOST_COMPARED + 1), floats(MOST_COMPARED + 1), False),  # too many to compare
    ],
)
def test_values_mean_the_same(now, before, same):
    assert equal(now, before) is same


def test_a_value_may_hold_itself():
    one, other = [1], [1]
    one.append(one), other.append(other)
    assert equal(one, other)
