import operator

import pytest
import torch

from pvae.inference.scalars import Guard, Scalar, is_random


def test_a_decision_is_made_again_when_its_number_changes():
    number = torch.tensor(1.0)
    half = Scalar(torch.mul, (Scalar(number.clone), 0.5))
    guard = Guard(Scalar(operator.gt, (half, 1.0)), answer=False)
    assert guard.holds()
    number.fill_(3.0)
    assert half.value() == 1.5
    assert not guard.holds()


@pytest.mark.parametrize(("function", "random"), [(torch.rand_like, True), (torch.exp, False)])
def test_random_functions_are_known(function, random):
    assert is_random(function) is random
