import numpy as np
import pytest
import torch

from pvae.inference.executed import Executed
from pvae.inference.guards import Watch
from pvae.inference.stand_in import StandIn, data_parts, replaceable, varying_parts
from pvae.inference.state import Elements


def test_a_tensor_follows_a_number_of_a_value_that_is_replaced():
    holder = [(1.0, "text")]
    watch = Watch({"it": holder}, Executed())
    one = StandIn(watch.place(holder, Elements), 0, {0}, ())
    holder[0] = (2.0, "text")
    assert one.take(watch)
    assert watch.same()
    assert one.with_tensors() == (torch.tensor(2.0), "text")
    for other in [(2.0, "other"), (2, "text"), [2.0, "text"], (torch.ones(()), "text")]:
        holder[0] = other
        assert not one.take(watch)


@pytest.mark.parametrize(
    ("before", "now", "parts"),
    [
        ([1.0, 2], [1.5, 2], {0}),
        ([1.0, 2], [1.0, 3], {1}),
        ([1.0, 2], (1.0, 3), None),
        (["a", 2.0], ["b", 3.0], None),
        ([True], [False], None),  # which chooses
    ],
)
def test_parts_that_vary_are_numbers(before, now, parts):
    assert varying_parts(before, now) == parts


def test_data_are_arrays_and_tensors():
    assert data_parts([1.0, np.ones(2), torch.ones(2), np.array(["a"])]) == {1, 2}
    assert not replaceable(2**53)
    assert not replaceable(torch.ones(2, requires_grad=True))
