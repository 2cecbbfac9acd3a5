import numpy as np
import pytest
import torch

from pvae.data.arrays import Arrays, as_items, from_arrays


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 7), (5, 7)),
        ((5, 8, 9), (5, 1, 8, 9)),
        ((5, 3, 8, 9), (5, 3, 8, 9)),
        ((5, 2, 8, 9), (5, 2, 8, 9)),
        ((5, 8, 9, 1), (5, 1, 8, 9)),
        ((5, 8, 9, 3), (5, 3, 8, 9)),
        ((5, 8, 9, 4), (5, 4, 8, 9)),
        ((5, 1, 8, 3), (5, 1, 8, 3)),
        ((5, 2, 3, 4, 6), (5, 2, 3, 4, 6)),
    ],
)
def test_layouts(shape, expected):
    assert tuple(as_items(np.zeros(shape)).shape) == expected


def test_channels_move_with_their_values(rng):
    x = rng.random((5, 8, 9, 3))
    moved = torch.from_numpy(x.transpose(0, 3, 1, 2)).float()
    assert torch.equal(as_items(x), moved)
    assert torch.equal(as_items(x, (3, 8, 9)), moved)  # as a run folder loads them again


def test_an_event_shape_overrides_the_layout(fails):
    x = np.arange(60).reshape(5, 12)
    assert torch.equal(as_items(x, (1, 3, 4)), torch.arange(60).view(5, 1, 3, 4))
    with fails(ValueError, "(12,)", "(3, 5)"):
        as_items(x, (3, 5))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (np.uint8, torch.uint8),
        (np.int64, torch.int64),
        (np.int16, torch.int16),
        (np.uint16, torch.int64),
        (np.uint32, torch.int64),
        (np.bool_, torch.uint8),
        (np.float16, torch.float32),
        (np.float32, torch.float32),
        (np.float64, torch.float32),
        (np.longdouble, torch.float32),
        (">f4", torch.float32),
        (">i4", torch.int32),
    ],
)
def test_dtypes_of_arrays(given, kept):
    items = as_items(np.array([[0, 1], [1, 0]], given))
    assert items.dtype == kept
    assert items.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (torch.uint8, torch.uint8),
        (torch.uint16, torch.int64),
        (torch.bool, torch.uint8),
        (torch.bfloat16, torch.float32),
        (torch.float64, torch.float32),
    ],
)
def test_dtypes_of_tensors(given, kept):
    assert as_items(torch.ones(2, 3, dtype=given)).dtype == kept


def test_arrays_that_torch_cannot_share_are_copied():
    x = np.arange(12.0).reshape(3, 4)
    assert as_items(x[::-1, ::2]).tolist() == x[::-1, ::2].tolist()
    x.flags.writeable = False
    assert as_items(x).tolist() == x.tolist()
    assert not as_items(torch.ones(2, 2, requires_grad=True)).requires_grad


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((2, 2), complex),
        np.array([["a", "b"]]),
        np.array([[None, 1]]),
        np.zeros((2, 2), "datetime64[s]"),
        torch.zeros(2, 2, dtype=torch.complex64),
    ],
)
def test_dtypes_that_are_not_real_numbers(x, fails):
    with fails(ValueError, str(x.dtype), "expected real numbers"):
        as_items(x)


@pytest.mark.parametrize("shape", [(), (5,)])
def test_items_need_their_own_dimension(shape, fails):
    with fails(ValueError, str(shape), "(N, D)"):
        as_items(np.zeros(shape))


def test_no_items(fails):
    with fails(ValueError, "no values"):
        from_arrays("none", {"train": Arrays(np.zeros((0, 3)))})


def test_values_too_large_for_float32_are_named(fails):
    with fails(ValueError, "1 NaN or infinite", "(1, 0)"):
        from_arrays("large", {"train": Arrays(np.array([[1.0], [1e300]]))})


def test_parts_share_domain_and_classes():
    parts = {
        "train": Arrays(np.array([[0], [3]]), ["b", "a"]),
        "test": Arrays(np.array([[1], [9]]), ["b", "c"]),
    }
    dataset = from_arrays("pairs", parts)
    assert (dataset.domain, dataset.value_range) == ("counts", (0, 9))
    assert dataset.classes == ("a", "b", "c")
    assert dataset.test.y.tolist() == [1, 2]


def test_parts_must_be_alike(fails):
    for other in (np.zeros((2, 4)), np.zeros((2, 3), np.uint8)):
        with fails(ValueError, "The test items", "give all parts the same"):
            from_arrays("pairs", {"train": Arrays(np.ones((2, 3))), "test": Arrays(other)})


def test_labels_must_be_as_many_as_items(fails):
    with fails(ValueError, "3 labels for 2 train items"):
        from_arrays("pairs", {"train": Arrays(np.ones((2, 3)), [1, 2, 3])})


@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        (np.full((3, 2), 2**63, np.uint64), "too large"),
        (torch.zeros(3, 2, device="meta"), "meta tensor"),
        (torch.eye(3).to_sparse(), "dense one"),
        (torch.zeros(3, 2, dtype=torch.complex64), "expected real numbers"),
    ],
)
def test_values_that_are_not_arrays_of_numbers(x, sentence, fails):
    with fails(ValueError, sentence):
        as_items(x)


@pytest.mark.parametrize("part", ["validation", "test"])
def test_an_empty_part_is_refused(part, fails):
    x = np.zeros((5, 3))
    with fails(ValueError, f"The {part} data", "hold no values", "leave the part out"):
        from_arrays("x", {"train": Arrays(x), part: Arrays(x[:0])})


def test_labels_of_one_part_alone(fails):
    parts = {"train": Arrays(np.eye(3), [0, 1, 2]), "test": Arrays(np.eye(3))}
    dataset = from_arrays("x", parts)
    assert dataset.test.y is None
    with fails(ValueError, "The test part of x has no labels"):
        dataset.label_sizes()
    large = from_arrays("x", {"train": Arrays(np.eye(3), [0, 1, 10**12])})
    with fails(ValueError, "go up to 1,000,000,000,000"):
        large.label_sizes()
