from argparse import Namespace
from collections import OrderedDict, namedtuple

import pytest
import torch

from pvae.inference.flattening import LEAF, MOST_LEAVES, flatten, unflatten

Pair = namedtuple("Pair", "x scale")


class Own:
    __slots__ = ("x",)


def own(x):
    made = Own()
    made.x = x
    return made


@pytest.mark.parametrize(
    "value",
    [[1, (2, 3)], {"a": 1, 2: [3]}, OrderedDict(b=1, a=2), Pair(1, 2), Namespace(x=1), own(1)],
)
def test_what_is_flattened_is_rebuilt(value):
    leaves, structure = flatten(value)
    made = unflatten(structure, leaves)
    assert type(made) is type(value)
    assert flatten(made) == (leaves, structure)
    doubled = flatten(unflatten(structure, [2 * leaf for leaf in leaves]))[0]
    assert doubled == [2 * leaf for leaf in leaves]


@pytest.mark.parametrize("value", [1.0, torch.ones(2), {1}, list(range(MOST_LEAVES + 1))])
def test_others_are_one_leaf(value):
    leaves, structure = flatten(value)
    assert leaves[0] is value
    assert structure is LEAF
