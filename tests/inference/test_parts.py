from argparse import Namespace
from collections import OrderedDict, namedtuple

import pytest
import torch

from pvae.inference.parts import LEAF, MOST_PARTS, put_together, take_apart

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
def test_what_is_taken_apart_is_put_together(value):
    parts, structure = take_apart(value)
    made = put_together(structure, parts)
    assert type(made) is type(value)
    assert take_apart(made) == (parts, structure)
    doubled = take_apart(put_together(structure, [2 * part for part in parts]))[0]
    assert doubled == [2 * part for part in parts]


@pytest.mark.parametrize("value", [1.0, torch.ones(2), {1}, list(range(MOST_PARTS + 1))])
def test_others_are_one_part(value):
    parts, structure = take_apart(value)
    assert parts[0] is value
    assert structure is LEAF
