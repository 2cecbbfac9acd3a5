import pytest
import torch

from pvae.data import Dataset, Part


def make(**options):
    x = torch.arange(24, dtype=torch.uint8).view(6, 1, 2, 2)
    return Dataset(
        **{
            "name": "squares",
            "train": Part(x, torch.arange(6)),
            "domain": "bytes",
            "value_range": (0, 16),
            **options,
        }
    )


def test_levels_are_those_of_bytes():
    assert make().levels == 17
    assert make(domain="counts").levels is None


def test_event_shape_is_that_of_the_items():
    assert make().event_shape == (1, 2, 2)


def test_says_what_it_is():
    part = Part(torch.zeros(2, 1, 2, 2))
    assert repr(make()) == (
        "squares: 6 training items of shape (1, 2, 2), bytes from 0 to 16, dynamic binarization "
        "for binary likelihoods."
    )
    assert str(make(validation=part, test=part, classes=("a", "b"), skipped=("c.png",))) == (
        "squares: 6 training, 2 validation and 2 test items of shape (1, 2, 2), bytes from 0 to "
        "16, dynamic binarization for binary likelihoods, in 2 classes; 1 broken image left out."
    )
    assert "binarization" not in repr(make(domain="reals", value_range=(-1, 2.5)))


def test_a_subset_keeps_items_and_labels_together():
    part = make().train.subset([4, 1])
    assert part.y.tolist() == [4, 1]
    assert torch.equal(part.x, make().train.x[[4, 1]])
    assert Part(torch.zeros(3, 2)).subset([0]).y is None


def test_labels_are_renumbered_by_their_names():
    part = Part(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 1]))
    data = make(train=part, test=part.subset([0]), classes=("b", "a"))
    same = data.with_classes(["a", "b", "c"])
    assert (same.train.y.tolist(), same.test.y.tolist()) == ([1, 0, 0], [1])
    assert same.classes == ("a", "b", "c")
    assert data.train.y.tolist() == [0, 1, 1]
    assert make().with_classes(["a"]).train.y.tolist() == list(range(6))  # they have no names
    # A class that no item has needs no number.
    assert make(train=part, classes=("b", "a", "z")).with_classes(["a", "b"]).train.y[0] == 1
    with pytest.raises(ValueError, match="squares have a class 'b', which is none of those"):
        data.with_classes(["a", "c"])
