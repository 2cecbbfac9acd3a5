import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils import data as torch_data

from pvae.data.torch_dataset import read_items


class Listed(torch_data.Dataset):
    def __init__(self, items, **attributes):
        self.items = items
        self.__dict__.update(attributes)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def picture(value, mode="L", size=(4, 3)):
    return Image.new(mode, size, value)


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: (x,), lambda x: (x, None)])
def test_items_without_labels(wrap):
    dataset = read_items(Listed([wrap(torch.full((2,), i / 4)) for i in range(3)]))
    assert dataset.train.x.tolist() == [[0, 0], [0.25, 0.25], [0.5, 0.5]]
    assert dataset.train.y is None
    assert dataset.domain == "unit interval"
    assert dataset.name == "Listed"


@pytest.mark.parametrize("label", [int, np.int64, torch.tensor])
def test_labels_of_any_kind(label):
    items = [(np.full(2, i, np.int32), label(i + 5)) for i in range(3)]
    dataset = read_items(Listed(items, classes=["a", "b"]))
    assert dataset.train.y.tolist() == [5, 6, 7]
    assert dataset.classes == ("a", "b")


def test_labels_that_are_names():
    dataset = read_items(Listed([(torch.zeros(2), "b"), (torch.ones(2), "a")]))
    assert dataset.train.y.tolist() == [1, 0]
    assert dataset.classes == ("a", "b")


def test_pictures_are_bytes_whatever_their_pixels():
    dataset = read_items(Listed([picture(0), picture(1)]))
    assert (dataset.domain, dataset.value_range) == ("bytes", (0, 255))
    assert dataset.event_shape == (1, 3, 4)
    assert dataset.train.x.dtype == torch.uint8


def test_greys_among_colours_are_colours():
    dataset = read_items(Listed([picture(7), picture((1, 2, 3), "RGB")]))
    assert dataset.train.x[:, :, 0, 0].tolist() == [[7, 7, 7], [1, 2, 3]]
    grey = read_items(Listed([picture(7), picture((1, 2, 3), "RGB")]), channels=1)
    assert grey.event_shape == (1, 3, 4)


def test_pictures_that_differ_in_size_need_one(fails):
    pictures = Listed([picture(1), picture(2, size=(8, 9))])
    with fails(ValueError, "3 x 4 to 9 x 8"):
        read_items(pictures)
    assert read_items(pictures, size=(2, 2)).event_shape == (1, 2, 2)


def test_an_event_shape():
    assert read_items(Listed([picture(1)]), event_shape=(12,)).event_shape == (12,)


def test_arrays_that_cannot_be_written_are_copied():
    x = np.ones(3)
    x.flags.writeable = False
    assert read_items(Listed([x])).train.x.tolist() == [[1, 1, 1]]


def test_items_of_other_kinds(fails):
    for item, kind in ((3.5, "float"), ({"x": 1}, "dict"), ((1, 2, 3), "tuple of 3")):
        with fails(TypeError, "Item 1 of Listed", kind):
            read_items(Listed([torch.zeros(2), item]))


def test_items_that_differ_in_shape(fails):
    with fails(ValueError, "Item 1 of Listed has shape (3,) but item 0 (2,)"):
        read_items(Listed([torch.zeros(2), torch.zeros(3)]))


def test_some_labels_missing(fails):
    with fails(ValueError, "1 labels for 2"):
        read_items(Listed([torch.zeros(2), (torch.zeros(2), 1)]))


def test_options_for_pictures_alone(fails):
    with fails(ValueError, "not images"):
        read_items(Listed([torch.zeros(2)]), size=(2, 2))


def test_no_items(fails):
    with fails(ValueError, "empty"):
        read_items(Listed([]))


def test_streams_have_no_length(fails):
    class Stream(torch_data.IterableDataset):
        def __iter__(self):
            yield torch.zeros(2)

    with fails(TypeError, "no length"):
        read_items(Stream())
