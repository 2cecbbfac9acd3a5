"""Kinds of torch's operators, and what the nodes of a graph are."""

import operator
from typing import Any

import torch
from torch import fx

from pvae.inference import bernoulli  # noqa: F401  # it registers operators

_aten = torch.ops.aten

CREATE = {
    _aten.empty.memory_format,
    _aten.full.default,
    _aten.ones.default,
    _aten.zeros.default,
}
LIKE = {
    _aten.empty_like.default,
    _aten.full_like.default,
    _aten.ones_like.default,
    _aten.zeros_like.default,
}
ALONG = {_aten._log_softmax.default, _aten._softmax.default, _aten.slice.Tensor}
_EMPTY = {_aten.empty.memory_format, _aten.empty_like.default}
_DRAW_LIKE = {
    _aten.rand_like.default,
    _aten.randn_like.default,
    torch.ops.pvae.bernoulli.like,
}
VIEWS = {_aten.view.default, _aten._unsafe_view.default, _aten.reshape.default}
_POINTWISE = {  # torch does not say so
    _aten._to_copy.default,
    _aten.alias.default,
    _aten.detach.default,
    _aten.elu_backward.default,
    _aten.hardtanh_backward.default,
    _aten.leaky_relu_backward.default,
    _aten.log_sigmoid_backward.default,
    _aten.log_sigmoid_forward.default,
    _aten.softplus.default,
    _aten.softplus_backward.default,
}


def is_pointwise(node: fx.Node) -> bool:
    """Whether each number of a result depends on one of each argument."""
    if node.target is _aten.binary_cross_entropy_with_logits.default:
        args: Any = node.args
        reduction: Any = args[4] if len(args) > 4 else node.kwargs.get("reduction", 1)
        return bool(reduction == 0)
    tags = getattr(node.target, "tags", ())
    return torch.Tag.pointwise in tags or node.target in _POINTWISE


def size(node: fx.Node) -> torch.Size:
    """The shape of a node's value, or of the first of several."""
    value = node.meta["val"]
    return (value[0] if isinstance(value, tuple | list) else value).shape


def is_random(node: fx.Node) -> bool:
    """Whether an operator draws random numbers."""
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def shape_of(node: fx.Node) -> fx.Node | None:
    """The argument of a random draw of which only the shape matters, if there is one."""
    first: Any = node.args[0] if node.args else None
    filled = is_mutable(node) and isinstance(first, fx.Node) and first.target in _EMPTY
    return first if filled or node.target in _DRAW_LIKE else None


def is_view(node: fx.Node) -> bool:
    """Whether an operator returns one of its arguments, or another view of it."""
    schema = getattr(node.target, "_schema", None)
    aliases = schema is not None and any(one.alias_info is not None for one in schema.returns)
    return aliases or node.target is operator.getitem


def is_mutable(node: fx.Node) -> bool:
    """Whether an operator writes into an argument."""
    return bool(getattr(getattr(node.target, "_schema", None), "is_mutable", False))
