import torch
from torch.fx.experimental.proxy_tensor import make_fx

from pvae.inference.passes import keep_used, lift, simplify


def traced(function, *args):
    return make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(*args)


def names(module, op):
    return [node.name for node in module.graph.nodes if node.op == op]


def test_tensors_that_a_graph_holds_become_inputs():
    held = torch.ones(3)
    module = traced(lambda x: x * held + held, torch.zeros(3))
    (found,) = lift(module)
    assert found is held
    assert not names(module, "get_attr")
    assert torch.equal(module(torch.full((3,), 2.0), 2 * held), torch.full((3,), 6.0))


def test_inputs_that_nothing_uses_are_removed():
    module = traced(lambda x, y, z: x + z, *torch.ones(3, 1))
    assert keep_used(module, 1, 2) == [1]
    assert torch.equal(module(torch.ones(1), torch.ones(1)), torch.full((1,), 2.0))


def test_operators_that_change_nothing_are_left_out():
    module = traced(lambda x: x.view(3).expand(3).view(3, 1) + 1, torch.zeros(3))
    simplify(module)
    assert len(names(module, "call_function")) == 2
    assert module(torch.zeros(3)).shape == (3, 1)
