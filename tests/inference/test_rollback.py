import pyro
import pytest
import torch

from pvae.inference.executed import Executed
from pvae.inference.guards import Watch
from pvae.inference.rollback import put_back, undone
from pvae.inference.untraceable import Untraceable


def test_tensors_gradients_and_random_states_are_put_back():
    x, p = torch.zeros(3), torch.zeros(2, requires_grad=True)
    p.grad = torch.ones(2)
    state = torch.get_rng_state()
    with undone([p]) as wrote:
        assert p.grad is None
        p.sum().backward()
        x[1:].normal_()
        y = torch.zeros(3).add_(1.0)
        assert wrote(x)
    assert torch.equal(x, torch.zeros(3))
    assert torch.equal(p.grad, torch.ones(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(y, torch.ones(3))  # was not there before


@pytest.mark.parametrize("what", ["a list", "the store"])
def test_changed_state_of_python_is_put_back_and_named(what):
    levels = [1.0]
    watch = Watch({"levels": levels}, Executed())

    def change():
        pyro.param("p", torch.ones(())) if what == "the store" else levels.append(2.0)

    with pytest.raises(Untraceable, match="is given another value at each run"), undone((), watch):
        change()
    found = []
    with put_back((), watch, found):
        change()
    assert found
    assert levels == [1.0]
    assert not pyro.get_param_store()
