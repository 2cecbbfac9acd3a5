"""Passes over a graph of torch operators."""

import torch
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensor

from pvae.inference.operators import is_mutable, is_view

_SAME = {  # operators that return their first argument when the shape stays as it was
    torch.ops.aten.view.default,
    torch.ops.aten._unsafe_view.default,
    torch.ops.aten.reshape.default,
    torch.ops.aten.expand.default,
    torch.ops.aten.alias.default,
}


def lift(module: fx.GraphModule) -> list[Tensor]:
    """Turn the tensors that a graph holds into inputs, and return them."""
    lifted: dict[str, fx.Node] = {}
    held: list[Tensor] = []
    last = [node for node in module.graph.nodes if node.op == "placeholder"][-1:]
    # No operator runs on a literal until it is copied, and many copies are not used.
    module.graph.eliminate_dead_code()
    for node in list(module.graph.nodes):
        if node.op != "get_attr":
            continue
        if node.target not in lifted:
            with module.graph.inserting_after(*last):
                lifted[node.target] = module.graph.placeholder(node.target)
            lifted[node.target].meta = dict(node.meta)
            if "val" not in node.meta:  # as with torch 2.6
                lifted[node.target].meta["val"] = _fake(module, node.target)
            last = [lifted[node.target]]
            held.append(getattr(module, node.target))
        node.replace_all_uses_with(lifted[node.target])
        module.graph.erase_node(node)
    module.recompile()
    return held


def _fake(module: fx.GraphModule, name: str) -> Tensor:
    """The value of a tensor that a graph holds, as those of other nodes are."""
    values = (node.meta.get("val") for node in module.graph.nodes)
    modes = [value.fake_mode for value in values if isinstance(value, FakeTensor)]
    held = getattr(module, name)
    return modes[0].from_tensor(held, static_shapes=True) if modes else held


def keep_used(module: fx.GraphModule, first: int, count: int) -> list[int]:
    """Remove unused inputs, and return the indices of the others."""
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
    used = []
    for number, node in enumerate(inputs[first : first + count]):
        if node.users:
            used.append(number)
        else:
            module.graph.erase_node(node)
    module.recompile()
    return used


def simplify(module: fx.GraphModule) -> None:
    """Remove operators without effect, which the plain graph would run."""
    for node in module.graph.nodes:
        if node.target in _SAME:
            before, after = (n.meta.get("val") for n in (node.args[0], node))
            if torch.is_tensor(before) and _same_layout(before, after):
                node.replace_all_uses_with(node.args[0])
        elif node.target is torch.ops.aten._linalg_check_errors.default:
            module.graph.erase_node(node)  # it waits for the device; eager steps have looked
    module.graph.eliminate_dead_code()
    module.recompile()


def _same_layout(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype:
        return False
    pairs = ((*one.shape, *one.stride()), (*other.shape, *other.stride()))
    # Sizes that are known only in a run cannot be compared.
    return all(isinstance(n, int) for sizes in pairs for n in sizes) and pairs[0] == pairs[1]


def erase_unused(module: fx.GraphModule) -> None:
    """Remove unused operators, also those that draw random numbers, which torch keeps."""
    for node in reversed(module.graph.nodes):
        if node.op == "call_function" and not node.users and not is_mutable(node):
            module.graph.erase_node(node)
    module.recompile()


def hoist(module: fx.GraphModule, moving: range) -> fx.GraphModule:
    """Move what depends on no moving input out of a graph that is called many times.

    Args:
        module: the graph; the results of the other graph become its last inputs.
        moving: the indices of the inputs that differ from call to call.

    Returns:
        The other graph. It takes the inputs that the graph took; its moving ones are not used.
    """
    nodes = list(module.graph.nodes)
    inputs = [node for node in nodes if node.op == "placeholder"]
    fixed = {node for index, node in enumerate(inputs) if index not in moving}
    for node in nodes:
        given = node.all_input_nodes
        if node.op == "call_function" and given and fixed.issuperset(given):
            fixed.add(node)  # constants, which have no inputs, are best known to the graph itself
    kept = {node for node in nodes if node not in fixed}
    for node in reversed(nodes):
        if node in fixed and is_view(node) and not kept.isdisjoint(node.users):
            kept.add(node)
    found = [
        node
        for node in nodes
        if node.op == "call_function" and node not in kept and not kept.isdisjoint(node.users)
    ]
    before = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in nodes:
        if node.op == "placeholder" or (node in fixed and node.op == "call_function"):
            copies[node] = before.node_copy(node, copies.__getitem__)
    before.output(tuple(copies[node] for node in found))
    before.eliminate_dead_code()
    last = inputs[-1]
    for node in found:
        with module.graph.inserting_after(last):
            last = module.graph.placeholder(f"fixed_{node.name}")
        last.meta = dict(node.meta)
        node.replace_all_uses_with(last)
    erase_unused(module)
    return fx.GraphModule({}, before)
