"""Bernoulli draws as custom operators, which Inductor does not compile.

Inductor would draw them by comparing uniform numbers, and so use different random numbers than the
eager program.
"""

import torch
from torch import Tensor, fx

_LIBRARY = torch.library.Library("pvae", "DEF")
_TAGS = (torch.Tag.nondeterministic_seeded, torch.Tag.pt2_compliant_tag)
_LIBRARY.define("bernoulli(Tensor p) -> Tensor", tags=_TAGS)
_LIBRARY.define("bernoulli.like(Tensor x, float p) -> Tensor", tags=_TAGS)


def _draw(p: Tensor) -> Tensor:
    return torch.bernoulli(p)


def _draw_like(x: Tensor, p: float) -> Tensor:
    return torch.empty_like(x).bernoulli_(p)


_LIBRARY.impl("bernoulli", _draw, "CompositeExplicitAutograd")
_LIBRARY.impl("bernoulli.like", _draw_like, "CompositeExplicitAutograd")
torch.library.register_fake("pvae::bernoulli", torch.empty_like, lib=_LIBRARY)
torch.library.register_fake("pvae::bernoulli.like", lambda x, p: torch.empty_like(x), lib=_LIBRARY)


def draw_as_torch_does(module: fx.GraphModule) -> None:
    """Replace the Bernoulli draws of a graph of torch operators by these."""
    aten, own = torch.ops.aten, torch.ops.pvae.bernoulli
    for node in list(module.graph.nodes):
        if node.target is aten.bernoulli.default:
            operator, arguments = own.default, node.args[:1]
        elif node.target is aten.bernoulli_.float and len(node.args[0].users) == 1:
            operator, arguments = own.like, (*node.args, 0.5)[:2]  # the default is a half
        else:
            continue
        with module.graph.inserting_before(node):
            coins = module.graph.call_function(operator, arguments)
        coins.meta = dict(node.meta)
        node.replace_all_uses_with(coins)
        module.graph.erase_node(node)
