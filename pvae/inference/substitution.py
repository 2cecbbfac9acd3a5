"""Substitution of a graph's elementary and special functions by forms that vectorize."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from pvae.inference import special_functions as special

_EXACT_FROM = 17.0  # log(1 + exp(x)) is x in float32 from here on


def _softplus(x: Tensor, beta: float = 1, threshold: float = 20) -> Tensor | None:
    if threshold < _EXACT_FROM:
        return None  # it is another function then
    return special.softplus(x) if beta == 1 else special.softplus(x * beta) / beta


def _softplus_backward(gradient: Tensor, x: Tensor, beta: float, threshold: float) -> Tensor | None:
    if threshold < _EXACT_FROM:
        return None
    return gradient * special.sigmoid(x if beta == 1 else x * beta)


def _log_sigmoid(x: Tensor) -> tuple[Tensor, Tensor]:
    return special.logsigmoid(x), (-x.abs()).exp()


def _log_sigmoid_backward(gradient: Tensor, x: Tensor, buffer: Tensor) -> Tensor:
    return gradient * special.sigmoid(-x)


def _binary_cross_entropy_with_logits(
    x: Tensor,
    y: Tensor,
    weight: Tensor | None = None,
    positive_weight: Tensor | None = None,
    reduction: int = 1,
) -> Tensor | None:
    if weight is not None or positive_weight is not None:
        return None
    value = special.binary_cross_entropy_with_logits(x, y)
    return value.sum() if reduction == 2 else value.mean() if reduction == 1 else value


def _polygamma(order: int, x: Tensor) -> Tensor | None:
    forms = {0: special.digamma, 1: special.trigamma}
    return forms[order](x) if order in forms else None


_aten = torch.ops.aten
FORMS: dict[Any, Callable[..., Any]] = {
    _aten.binary_cross_entropy_with_logits.default: _binary_cross_entropy_with_logits,
    _aten.digamma.default: special.digamma,
    _aten.expm1.default: special.expm1,
    _aten.lgamma.default: special.lgamma,
    _aten.log.default: special.log,
    _aten.log1p.default: special.log1p,
    _aten.log_sigmoid_forward.default: _log_sigmoid,
    _aten.log_sigmoid_backward.default: _log_sigmoid_backward,
    _aten.logaddexp.default: special.logaddexp,
    _aten.polygamma.default: _polygamma,
    _aten.sigmoid.default: special.sigmoid,
    _aten.softplus.default: _softplus,
    _aten.softplus_backward.default: _softplus_backward,
    _aten.special_erfc.default: special.erfc,
    _aten.erfc.default: special.erfc,
    _aten.special_erfcx.default: special.erfcx,
    _aten.special_log_ndtr.default: special.log_ndtr,
    _aten.tanh.default: special.tanh,
    _aten.xlogy.Tensor: special.xlogy,
}
"""The forms by operator. A form returns ``None`` for arguments that it is not for."""

LONG = {
    _aten.digamma.default,
    _aten.lgamma.default,
    _aten.polygamma.default,
    _aten.special_erfc.default,
    _aten.erfc.default,
    _aten.special_erfcx.default,
    _aten.special_log_ndtr.default,
}
"""The operators whose forms are long."""
CHAIN = 6
"""As many operators with short forms are as long where each takes the result of another."""


class _Substitution(fx.Transformer):
    node: fx.Node

    def run_node(self, n: fx.Node) -> Any:
        self.node = n
        return super().run_node(n)

    def call_function(self, target: Any, args: tuple, kwargs: dict) -> Any:
        if target is operator.getitem and isinstance(args[0], tuple):
            return args[0][args[1]]
        if target in FORMS and _vectorizes(self.node):
            value = FORMS[target](*args, **kwargs)
            if value is not None:
                return value
        return super().call_function(target, args, kwargs)


def substitute(module: fx.GraphModule) -> fx.GraphModule:
    """Return the graph with the functions that have a form for float32 on a CPU replaced by it."""
    replaced = _Substitution(module).transform()
    for node in replaced.graph.nodes:
        if node.op == "call_method":  # torch's cache takes graphs of functions only
            node.op, node.target = "call_function", getattr(_aten, node.target)
    replaced.recompile()
    return replaced


def has_long_forms(module: fx.GraphModule) -> bool:
    """Whether a graph has operators with long forms, or many with short ones."""
    found = [n.target for n in module.graph.nodes if n.target in FORMS and _vectorizes(n)]
    return len(found) >= CHAIN or not LONG.isdisjoint(found)


def _vectorizes(node: fx.Node) -> bool:
    """Whether the tensors that an operator reads and returns are float32, and on a CPU."""
    values = [n.meta.get("val") for n in (node, *node.all_input_nodes)]
    found = [v for value in values for v in (value if isinstance(value, tuple | list) else [value])]
    return all(torch.is_tensor(v) and v.dtype == torch.float32 and v.is_cpu for v in found)
