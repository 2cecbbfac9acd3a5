import numpy as np
import pytest
import torch

from pvae.data.labels import encode


@pytest.mark.parametrize(
    "labels",
    [
        [3, 1, 3],
        (3, 1, 3),
        np.array([3, 1, 3], np.uint8),
        np.array([3.0, 1.0, 3.0]),
        np.array([[3], [1], [3]]),
        torch.tensor([3, 1, 3]),
        torch.tensor([3.0, 1.0, 3.0], requires_grad=True),
    ],
)
def test_whole_numbers_stay_as_they_are(labels):
    (y,), classes = encode([labels])
    assert y.dtype == torch.int64
    assert y.tolist() == [3, 1, 3]
    assert classes is None


def test_truth_values_are_numbers():
    assert encode([[True, False]])[0][0].tolist() == [1, 0]


@pytest.mark.parametrize("dtype", [None, object])
def test_names_have_the_same_numbers_in_all_parts(dtype):
    (train, test), classes = encode([np.array(["b", "a", "b"], dtype), np.array(["c"], dtype)])
    assert classes == ("a", "b", "c")
    assert train.tolist() == [1, 0, 1]
    assert test.tolist() == [2]


@pytest.mark.parametrize("labels", [[0.5, 1.0], [[0.5], [1.0]], np.array([0.5, 1.0], np.float16)])
def test_continuous_labels_are_vectors(labels):
    (y,), classes = encode([labels])
    assert y.dtype == torch.float32
    assert torch.equal(y, torch.tensor([[0.5], [1.0]]))
    assert classes is None
    # What is continuous in one part is in the other.
    train, test = encode([labels, [1.0, 2.0]])[0]
    assert train.shape == test.shape == (2, 1)


def test_labels_may_hold_several_numbers():
    (y,), _ = encode([np.eye(3)[:2]])
    assert torch.equal(y, torch.eye(3)[:2])


@pytest.mark.parametrize("labels", [[0.5, float("nan")], [0.5, float("inf")], [None, 1], [1j]])
def test_other_labels_are_refused(labels, fails):
    with fails(ValueError, "expected finite numbers or strings"):
        encode([labels])


def test_minus_one_is_unknown_and_no_class(fails):
    nan = float("nan")
    for labels in ([1, -1, 0], [1.0, nan, 0.0]):
        assert encode([labels])[0][0].tolist() == [1, -1, 0]
    assert encode([[1, nan], [nan]])[0][0].tolist() == [1, -1]
    assert encode([[-1, 1], [0]])[0][0].tolist() == [-1, 1]
    for groups in ([[1, -1, -1]], [[1.0, -1.0]], [[1, 1], [-1]]):
        with fails(ValueError, "number two classes 0 and 1"):
            encode(groups)


@pytest.mark.parametrize("labels", [np.zeros((2, 3, 4)), np.array([["a", "b"]])])
def test_labels_are_one_per_item(labels, fails):
    with fails(ValueError, str(labels.shape), "one label per item"):
        encode([labels])


@pytest.mark.parametrize(
    "labels",
    [
        np.full(3, 2**64 - 1, np.uint64),
        [2**63, 0],
        [1e300, 0.0],
        [2.0**53, 0.0],
        [-1e300],
    ],
)
def test_labels_that_are_too_large_to_tell_apart(labels, fails):
    with fails(ValueError, "too large"):
        encode([labels])


@pytest.mark.parametrize("labels", [[[1], [1, 2]], torch.eye(2).to_sparse()])
def test_labels_that_are_not_an_array(labels, fails):
    with fails(ValueError, "The labels"):
        encode([labels])


def test_large_labels_of_parts_stay_as_they_are():
    (first, second), _ = encode([np.array([2**62], np.uint64), np.array([-1])])
    assert (first.tolist(), second.tolist()) == ([2**62], [-1])
