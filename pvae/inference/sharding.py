"""The graph of a loss split by the items of its minibatch, into shards that sum to it."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.utils.flop_counter import FlopCounterMode

from pvae.inference.operators import (
    ALONG,
    CREATE,
    LIKE,
    VIEWS,
    is_mutable,
    is_pointwise,
    is_random,
    is_view,
    shape_of,
    size,
)

# What a shard must be worth: multiplications and additions for each number of its results, of
# which gradients are most, since those of all shards are added. Measured for two on two cores: with
# 322 steps took 1% longer than by threads in each operator, with 348 16% less, with 813 18% less.
WORTH = 340
LEAST = 10e6  # operations of a shard: a tenth of a millisecond or two, as handing it to a thread
# What depends on no item is computed in every shard: at most this part of its operations.
REPEATED = 0.05

_aten = torch.ops.aten


class Split(NamedTuple):
    """Where the items of a minibatch lie in a tensor, of which a shard has some.

    Attributes:
        dim: the dimension that they lie in.
        blocks: how often they follow each other there: once, or as many times as there are samples
            of each where a tensor of shape (samples, items, ...) became (samples * items, ...).
    """

    dim: int
    blocks: int = 1


WHOLE = "whole"  # the same in every shard as without shards
PARTIAL = "partial"  # of each shard its own, with the sum that it is without shards
Place = Split | str | list[Split | str]  # a list for the parts of a tuple
Rules = Mapping[Any, Callable[["Splitter", fx.Node], Place]]


class NotSplit(Exception):  # no error: the graph is used as it is
    """A graph that cannot be split by items, or for which that would not pay."""


@dataclass
class Sharding:
    """A graph split into shards, which are alike.

    Attributes:
        shard: the graph of a shard.
        early: the graph of what is computed once for all, before them and from the same inputs as
            the whole graph: random draws, in its order, and counts of steps.
        feeds: the inputs of a shard. For each whether it is an input of the whole graph, else a
            result of the early one; its index there; and the dimension to divide, or ``None``.
        partial: for each result, whether those of the shards are to be added, else all are equal.
        shards: how many there are.
    """

    shard: fx.GraphModule
    early: fx.GraphModule
    feeds: list[tuple[bool, int, int | None]]
    partial: list[bool]
    shards: int

    def inputs(self, tensors: Sequence[Tensor]) -> list[list[Tensor]]:
        """The inputs of each shard, from those of the whole graph."""
        early = self.early.forward(*tensors)
        inputs: list[list[Tensor]] = [[] for _ in range(self.shards)]
        for given, index, dim in self.feeds:
            tensor = tensors[index] if given else early[index]
            parts = [tensor] * self.shards if dim is None else tensor.chunk(self.shards, dim)
            for one, part in zip(inputs, parts, strict=True):
                one.append(part)
        return inputs


class Splitter:
    """Splits a graph of loss and gradients by the items of a minibatch.

    A sum over items becomes one over those of a shard; what is computed for each item remains as
    it is. Each operator is copied once its arguments are, by the rule that says where its result
    has the items.

    Args:
        module: the graph, whose nodes know their values (``meta["val"]``).
        items: the indices of the inputs whose first dimension is that of the items.
        shards: into how many parts to split them.
        rules: by operator, what copies it and returns its place; pointwise operators and what
            depends on no item need none.

    Raises:
        NotSplit: if the inputs have no such dimension in common, or it cannot be divided.
    """

    def __init__(self, module: fx.GraphModule, items: range, shards: int, rules: Rules) -> None:
        graph, self.early = _without_changes(module.graph)
        self.nodes = list(graph.nodes)
        self.shards = shards
        self.rules = rules
        if not all(_is_static(node) for node in self.nodes):
            raise NotSplit("sizes are known only in a run")
        self.inputs = [node for node in self.nodes if node.op == "placeholder"]
        self.of_items = {self.inputs[i] for i in items if size(self.inputs[i])}
        sizes = {size(node)[0] for node in self.of_items}
        if len(sizes) != 1:
            raise NotSplit("the arguments have no size in common")
        (self.items,) = sizes
        if not self.items or self.items % shards or self.items == shards:
            raise NotSplit(f"{self.items} items are not divided by {shards}")
        self.graph = fx.Graph()
        self.places: dict[fx.Node, Place] = {}
        self.feeds: list[tuple[fx.Node, Split | None]] = []
        self._copies: dict[tuple[fx.Node, Split | None], fx.Node] = {}
        self._last: fx.Node | None = None  # of the inputs
        self._counter = FlopCounterMode(display=False)
        self._operations = {True: 0, False: 0}  # those of items, and others

    def split(self) -> Sharding:
        """Split the graph.

        Raises:
            NotSplit: if an operator mixes items other than by a sum, or is not known, or if it
                would not pay.
        """
        fakes = self.inputs[0].meta["val"].fake_mode
        results: list[fx.Node] = []
        with self._counter, fakes, torch.no_grad():
            for node in self.nodes:
                if node.op == "placeholder":
                    self.places[node] = Split(0) if node in self.of_items else WHOLE
                elif node.op == "output":
                    results = list(node.args[0])
                else:
                    self.places[node] = self._place(node)
            outputs = [self.copy(node) for node in results]
        partial = [self.places[node] == PARTIAL for node in results]
        if any(isinstance(self.places[node], Split) for node in results) or not any(partial):
            raise NotSplit("its results are not sums over items")
        numbers = sum(size(n).numel() for n, sums in zip(results, partial, strict=True) if sums)
        if self._operations[True] < max(LEAST, WORTH * numbers * (self.shards - 1)):
            raise NotSplit("handing out shards and adding gradients would take too long")
        if self._operations[False] > REPEATED * self._operations[True]:
            raise NotSplit("much depends on no item")
        self.graph.output(outputs)
        self.graph.eliminate_dead_code()
        early, nodes = self._early()
        feeds = []
        placeholders = [node for node in self.graph.nodes if node.op == "placeholder"]
        for (node, divided), placeholder in zip(self.feeds, placeholders, strict=True):
            if not placeholder.users:
                self.graph.erase_node(placeholder)
                continue
            given = node.op == "placeholder"
            index = (self.inputs if given else nodes).index(node)
            feeds.append((given, index, divided.dim if divided else None))
        return Sharding(fx.GraphModule({}, self.graph), early, feeds, partial, self.shards)

    def _early(self) -> tuple[fx.GraphModule, list[fx.Node]]:
        """The graph of what runs once, and its nodes in the whole graph."""
        early = [node for node in self.nodes if node in self.early]
        needed = set(early)
        for node in reversed(self.nodes):
            if node in needed:
                needed.update(n for n in node.all_input_nodes if n is not shape_of(node))
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}

        def argument(node: fx.Node) -> fx.Node:
            return copies[node] if node in copies else _empty(graph, node)

        for node in self.nodes:
            if node.op == "placeholder" or node in needed:
                copies[node] = graph.node_copy(node, argument)
        graph.output([copies[node] for node in early])
        return fx.GraphModule({}, graph), early

    def _place(self, node: fx.Node) -> Place:
        given = [self.places[n] for n in node.all_input_nodes]
        if node in self.early:
            others = [n for n in node.all_input_nodes if n is not shape_of(node)]
            whole = all(self.places[n] == WHOLE for n in others)
            if not whole or not torch.is_tensor(node.meta["val"]):
                raise NotSplit(f"{node.target} draws from items, or counts them")
            return WHOLE
        rule = self.rules.get(node.target)
        if node.op != "call_function":
            raise NotSplit(f"{node.op} is not known")
        if is_mutable(node) and rule is None:
            raise NotSplit(f"{node.target} changes a tensor in place")
        if all(place == WHOLE for place in given) and not is_mutable(node):
            return self.keep(node, WHOLE)
        if rule is None and not is_pointwise(node):
            raise NotSplit(f"{node.target} is not known")
        return rule(self, node) if rule else self.pointwise(node)

    def pointwise(self, node: fx.Node) -> Place:
        """Copy a pointwise operator."""
        places = {n: self.places[n] for n in node.all_input_nodes}
        if PARTIAL in places.values():
            raise NotSplit(f"{node.target} is not linear")
        rank = len(size(node))
        split = next(
            Split(place.dim + rank - len(size(n)), place.blocks)
            for n, place in places.items()
            if isinstance(place, Split)
        )
        return self.keep(node, split, each=lambda n: self._part(n, node, split))

    # Copies in the graph of a shard --------------------------------------------------------------

    def keep(
        self,
        node: fx.Node,
        place: Place,
        args: tuple | None = None,
        each: Callable[[fx.Node], fx.Node] | None = None,
    ) -> Place:
        """Copy a node whose result has that place, and return it.

        Args:
            node: the node.
            place: where its result has the items.
            args: its arguments in the shard, if they are others.
            each: what copies its arguments, by default as they are.
        """
        given = node.args if args is None else args
        made = self._emit(node, *fx.node.map_arg((given, node.kwargs), each or self.copy), place)
        self._copies[node, None] = made
        return place

    def divide(self, node: fx.Node, number: int) -> None:
        """Divide a copy that was made by a number."""
        copy = self.copy(node)
        made = self.graph.call_function(_aten.div.Scalar, (copy, number))
        made.meta["val"] = copy.meta["val"]
        self._copies[node, None] = made

    def copy(self, node: fx.Node, split: Split | None = None) -> fx.Node:
        """A node in the shard's graph: what became of it, or the shard's part of a whole one."""
        if (node, split) not in self._copies:
            fed = node.op == "placeholder" or node in self.early
            made = self._feed(node, split) if fed else self._slice(node, split)
            self._copies[node, split] = made
        return self._copies[node, split]

    def shared(self, node: fx.Node, split: Split) -> fx.Node:
        """An argument with its items in a place, whether it has items already or is whole.

        Raises:
            NotSplit: if it has another number of items.
        """
        shape = size(node)
        if len(shape) <= split.dim or shape[split.dim] != self.items * split.blocks:
            raise NotSplit("arguments have different numbers of items")
        return self.copy(node, split if self.places[node] == WHOLE else None)

    def together(self, nodes: Iterable[fx.Node]) -> Split:
        """Where the items lie in each of several arguments, some of which may be whole.

        Raises:
            NotSplit: if they lie in different places, or one is partial.
        """
        splits = {self.places[node] for node in nodes} - {WHOLE}
        if len(splits) != 1 or PARTIAL in splits:
            raise NotSplit("arguments have their items in different places")
        (split,) = splits
        assert isinstance(split, Split)
        return split

    def sizes(self, sizes: Any, split: Split) -> list[int]:
        """A shape of all items, as an argument, to that of a shard."""
        found = list(sizes)
        if found[split.dim] != -1:
            found[split.dim] //= self.shards
        return found

    def moved(self, split: Split, before: torch.Size, after: torch.Size) -> Split:
        """Where items lie once a tensor has another shape.

        Raises:
            NotSplit: if they are no longer apart there.
        """
        outer = math.prod(before[: split.dim]) * split.blocks
        for dim in range(len(after)):
            blocks, rest = divmod(outer, math.prod(after[:dim]) or outer + 1)
            if blocks and not rest and after[dim] % (blocks * self.items) == 0:
                return Split(dim, blocks)
        raise NotSplit("a shape mixes items with other dimensions")

    def _emit(self, node: fx.Node, args: Any, kwargs: Any, place: Place) -> fx.Node:
        target: Any = node.target
        made = self.graph.call_function(target, args, kwargs)
        args, kwargs = fx.node.map_arg((args, kwargs), lambda n: n.meta["val"])
        before = self._counter.get_total_flops()
        try:
            made.meta["val"] = target(*args, **kwargs)
        except RuntimeError as error:
            raise NotSplit(f"{target} does not take a shard") from error
        self._operations[place != WHOLE] += self._counter.get_total_flops() - before
        if not isinstance(place, list) and torch.is_tensor(made.meta["val"]):
            expected = list(size(node))
            if isinstance(place, Split):
                expected[place.dim] //= self.shards
            of_whole, of_shard = node.meta["val"], made.meta["val"]
            if list(of_shard.shape) != expected or of_shard.dtype != of_whole.dtype:
                raise NotSplit(f"{target} of a shard has another shape or type")
            if place == PARTIAL and not of_shard.dtype.is_floating_point:
                raise NotSplit(f"{target} rounds a sum")
        return made

    def _feed(self, node: fx.Node, split: Split | None) -> fx.Node:
        """An input of the shard: of an input of the whole graph, or of what ran before."""
        place = self.places[node]
        split = place if isinstance(place, Split) else split
        value = node.meta["val"]
        if split is not None:
            if split.blocks > 1:
                raise NotSplit("items lie apart in an input")
            if value.shape[split.dim] % self.items:
                raise NotSplit("an input has another number of items")
            value = value.chunk(self.shards, split.dim)[0]
        first = next(iter(self.graph.nodes), self.graph._root)  # of an empty graph
        before, after = self.graph.inserting_before, self.graph.inserting_after
        with after(self._last) if self._last else before(first):
            self._last = self.graph.placeholder(f"input_{len(self.feeds)}")
        self._last.meta["val"] = value
        self.feeds.append((node, split))
        return self._last

    def _slice(self, node: fx.Node, split: Split | None) -> fx.Node:
        """The shard's part of what depends on no item."""
        target, named = node.target, node.kwargs
        args: list[Any] = list(node.args)
        assert split is not None  # whole nodes are copied when they are met
        first: Any = args[0] if args else None
        rank = len(size(node))
        if target in CREATE:
            args[0] = self.sizes(first, split)
        elif target in LIKE:
            args[0] = self.copy(first, split)
        elif target is _aten.expand.default:
            args = [self._part(first, node, split), self.sizes(args[1], split)]
        elif target in VIEWS:
            moved = self.moved(split, size(node), size(first))
            args = [self.copy(first, moved), self.sizes(args[1], split)]
        elif target is _aten.unsqueeze.default:
            after = split.dim > args[1] % rank
            args[0] = self.copy(first, Split(split.dim - after, split.blocks))
        elif target in ALONG and len(args) > 1 and args[1] % rank != split.dim:
            args[0] = self.copy(first, split)
        elif is_pointwise(node) and torch.is_tensor(node.meta["val"]):
            args, named = fx.node.map_arg((args, named), lambda n: self._part(n, node, split))
        else:
            raise NotSplit(f"{target} is not computed in parts")
        return self._emit(node, tuple(args), named, split)

    def _part(self, argument: fx.Node, node: fx.Node, split: Split) -> fx.Node:
        """What a shard's part of a result needs of an argument that is broadcast to it."""
        place = self.places[argument]
        dim = split.dim - (len(size(node)) - len(size(argument)))
        if isinstance(place, Split):
            if place != Split(dim, split.blocks):
                raise NotSplit(f"{node.target} mixes items")
            return self.copy(argument)
        if dim < 0 or size(argument)[dim] != size(node)[split.dim]:
            return self.copy(argument)
        return self.copy(argument, Split(dim, split.blocks))


def _is_static(node: fx.Node) -> bool:
    if node.op == "output":
        return True
    value = node.meta.get("val")
    values = value if isinstance(value, tuple | list) else [value]
    tensors = [v for v in values if v is not None]
    return bool(tensors) and all(
        torch.is_tensor(v) and all(isinstance(n, int) for n in v.shape) for v in tensors
    )


def _empty(graph: fx.Graph, node: fx.Node) -> fx.Node:
    """A tensor with the layout of a node's value."""
    value = node.meta["val"]
    layout = {"dtype": value.dtype, "device": value.device}
    shape = list(value.shape), list(value.stride())
    return graph.call_function(_aten.empty_strided.default, shape, layout)


def _without_changes(graph: fx.Graph) -> tuple[fx.Graph, set[fx.Node]]:
    """A copy of a graph where operators return what they would write into results of others.

    These are pointwise operators, and the results no views of others. What they write into an
    input, such as a count of steps, is to be computed once for all shards, after a copy of what it
    was. What else is written into stays as it is, and is not split.

    Returns:
        The copy, and what is to be computed early: such counts, and random draws.
    """
    copy = fx.Graph()
    copy.output(copy.graph_copy(graph, {}))
    order = {node: number for number, node in enumerate(copy.nodes)}
    early = {node for node in order if is_random(node) and not is_mutable(node)}
    for node in order:
        written: Any = node.args[0] if node.args else None
        inplace = is_mutable(node) and node.target._schema.name.endswith("_")
        if not inplace or not isinstance(written, fx.Node):
            continue
        if is_random(node):
            alone = len(written.users) == 1 and not is_view(written)
            early |= {node} if alone and written.op == "call_function" else set()
            continue
        if not is_pointwise(node):
            continue
        users = [user for user in written.users if user is not node]
        if any(is_view(user) or order[user] > order[node] for user in users):
            continue  # they would see what was written
        if written.op == "placeholder":
            with copy.inserting_after(written):
                before = copy.call_function(_aten.clone.default, (written,))
            before.meta = dict(written.meta)
            for user in users:
                user.replace_input_with(written, before)
            early |= {before, node}
        elif not (is_view(written) or is_mutable(written)):
            target: Any = node.target
            name = target._schema.name.removeprefix("aten::").removesuffix("_")
            other = getattr(getattr(_aten, name, None), target._overloadname, None)
            node.target = other or target
    return copy, early
