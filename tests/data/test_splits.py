from itertools import chain

import numpy as np
import pytest
import torch

from pvae.data import Dataset, Part
from pvae.data.splits import split


def numbered(n, **parts):
    x = torch.arange(n).view(n, 1)
    return Dataset("numbers", Part(x, torch.arange(n)), "counts", (0, n), **parts)


def rows(part):
    return [] if part is None else part.x.flatten().tolist()


@pytest.mark.parametrize(
    ("validation", "test", "sizes"),
    [
        (None, None, (80, 10, 10)),
        (0, 0.0, (100, 0, 0)),
        (0, None, (90, 0, 10)),
        (0.25, 5, (70, 25, 5)),
        (np.float64(0.25), np.int64(5), (70, 25, 5)),
        (1, 98, (1, 1, 98)),
    ],
)
def test_parts_are_disjoint_and_complete(validation, test, sizes):
    dataset = split(numbered(100), validation, test)
    parts = [rows(part) for part in (dataset.train, dataset.validation, dataset.test)]
    assert tuple(len(part) for part in parts) == sizes
    assert sorted(chain(*parts)) == list(range(100))
    assert torch.equal(dataset.train.y, dataset.train.x.flatten())
    assert (dataset.test is None) == (sizes[2] == 0)


def test_the_split_is_the_same_after_any_seed():
    torch.manual_seed(1)
    np.random.seed(1)
    first = split(numbered(100))
    torch.manual_seed(2)
    np.random.seed(2)
    state = torch.get_rng_state()
    again = split(numbered(100))
    assert torch.equal(torch.get_rng_state(), state)
    assert rows(first.validation) == rows(again.validation)
    assert rows(first.train) == rows(again.train)


def test_the_split_is_the_same_in_every_version():
    assert rows(split(numbered(20)).validation) == [15, 5]
    assert rows(split(numbered(20)).test) == [17, 1]


def test_parts_that_the_data_come_with_are_kept(fails):
    own = Part(torch.zeros(7, 1))
    dataset = split(numbered(100, test=own))
    assert dataset.test is own
    assert (len(dataset.train), len(dataset.validation)) == (90, 10)
    with fails(ValueError, "come with a test part", "test=0.2"):
        split(numbered(100, test=own), test=0.2)


@pytest.mark.parametrize("number", [-1, -0.1, 1.0, 1.5, True, "ten", float("nan")])
def test_impossible_numbers(number, fails):
    with fails(ValueError, f"validation={number!r}"):
        split(numbered(100), validation=number)


def test_something_must_be_left_to_train_on(fails):
    with fails(ValueError, "60", "40", "leave none of 100 items"):
        split(numbered(100), validation=60, test=0.4)


def test_a_fraction_of_no_item(fails):
    with fails(ValueError, "less than one item"):
        split(numbered(10), validation=0.01)


def test_few_items_are_all_for_training():
    assert len(split(numbered(3)).train) == 3
