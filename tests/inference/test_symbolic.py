import pytest
import torch
from torch import Tensor

from pvae.inference.scalars import Scalar
from pvae.inference.symbolic import Symbolic, marked
from pvae.inference.untraceable import Untraceable


def with_number(value):
    tensor = torch.tensor(value)
    return tensor, Symbolic([], [], [tensor], [tensor], None, [(tensor, Scalar(tensor.clone))])


def test_decisions_by_a_number_that_varies_become_guards():
    number, mode = with_number(2.0)
    with mode:
        assert number * 3 > 5
    assert [guard.holds() for guard in mode.guards] == [True]
    number.fill_(1.0)
    assert not mode.guards[0].holds()


@pytest.mark.parametrize("read", [Tensor.item, Tensor.__int__, repr, "{:.1f}".format])
def test_other_readings_of_it_are_refused(read):
    number, mode = with_number(2.0)
    with mode, pytest.raises(Untraceable, match="used for more than computing"):
        read(number)


def test_the_origin_of_tensors_is_known():
    mode = Symbolic([], [], [], [], None)
    one = mode.derive(torch.ones(()), frozenset("z"))
    assert mode.origin([one, 1.0]) == {"z"}
    assert not mode.origin(torch.ones(()))


def test_programs_say_that_they_run():
    _, mode = with_number(1.0)
    assert marked(mode, lambda: mode.in_program)()
    assert not mode.in_program
