"""What the nodes of a graph are."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from pvae.inference import operators


def nodes(function):
    """The operators of a function of a tensor of shape (4, 3), by name."""
    graph = make_fx(function, tracing_mode="fake")(torch.rand(4, 3)).graph
    return {
        node.target._overloadpacket.__name__: node for node in graph.nodes if callable(node.target)
    }


KINDS = {
    "exp": (lambda x: x.exp(), {"is_pointwise"}),
    "add_": (lambda x: x.clone().add_(1), {"is_pointwise", "is_mutable", "is_view"}),
    "softplus": (torch.nn.functional.softplus, {"is_pointwise"}),
    "sum": (lambda x: x.sum(), set()),
    "mm": (lambda x: x @ x.t(), set()),
    "t": (lambda x: x.t(), {"is_view"}),
    "randn_like": (torch.randn_like, {"is_random"}),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds(name):
    function, kinds = KINDS[name]
    node = nodes(function)[name]
    questions = ("is_pointwise", "is_mutable", "is_random", "is_view")
    assert {q for q in questions if getattr(operators, q)(node)} == kinds
    result = function(torch.rand(4, 3))
    assert operators.size(node) == result.shape


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_a_reduced_loss_is_not_pointwise(reduction):
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    node = nodes(lambda x: loss(x, x, reduction=reduction))["binary_cross_entropy_with_logits"]
    assert operators.is_pointwise(node) is (reduction == "none")


def test_only_the_shape_of_what_draws_fill_matters():
    drawn = nodes(lambda x: torch.empty_like(x).normal_())
    assert operators.shape_of(drawn["normal_"]) is drawn["empty_like"]
    drawn = nodes(lambda x: x.exp().bernoulli())
    assert operators.shape_of(drawn["bernoulli"]) is None
