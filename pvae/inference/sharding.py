"""The graph of a loss split by the items of its minibatch, into shards that sum to it."""

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.utils.flop_counter import FlopCounterMode

_aten = torch.ops.aten


class Split(NamedTuple):
    """How the items of a minibatch lie in a tensor, of which a shard has some.

    Attributes:
        dim: the dimension that they lie in.
        blocks: how often they follow each other there, as they do where samples of each item were
            joined with the items, in a shape of (samples times items, ...).
    """

    dim: int
    blocks: int = 1


WHOLE = "whole"  # the same in every shard, and without shards
PARTIAL = "partial"  # a number of each shard, whose sum is that without shards


class Feed(NamedTuple):
    """An input of a shard.

    Attributes:
        node: the input of the whole graph, or the random draw in it.
        split: how to take the shard's part of it; ``None`` for all of it.
    """

    node: fx.Node
    split: Split | None


class NotSplit(Exception):
    """A graph cannot be split by items, or it would not pay."""


@dataclass
class Sharding:
    """A graph split into shards.

    Attributes:
        shard: the graph of one shard, whichever.
        draws: the graph that draws the random numbers of all shards, in the order in which the
            whole graph does, from its inputs.
        feeds: the inputs of a shard: whether each is an input of the whole graph (else a draw), its
            index there, and the dimension that is divided, if it is.
        partial: for each output, whether it is the sum of those of the shards, or in each the same.
        shards: how many there are.
    """

    shard: fx.GraphModule
    draws: fx.GraphModule
    feeds: list[tuple[bool, int, int | None]]
    partial: list[bool]
    shards: int

    def parts(self, tensors: Sequence[Tensor], drawn: Sequence[Tensor]) -> list[list[Tensor]]:
        """The inputs of each shard, from those of the whole graph and its random draws."""
        inputs: list[list[Tensor]] = [[] for _ in range(self.shards)]
        for given, index, dim in self.feeds:
            tensor = tensors[index] if given else drawn[index]
            parts = [tensor] * self.shards if dim is None else tensor.chunk(self.shards, dim)
            for one, part in zip(inputs, parts, strict=True):
                one.append(part)
        return inputs


# A shard must be worth its gradients, which are added to those of the others: this many
# multiplications and additions for each number of each other shard.
WORTH = 100
# What depends on no item is computed in every shard: at most this part of its operations.
REPEATED = 0.05


def split(module: fx.GraphModule, items: range, shards: int) -> Sharding:
    """Split a graph of loss and gradients by the items of the minibatch.

    A sum over items becomes a sum in each shard; what is computed for each item of the others
    remains as it is. Random numbers are drawn for all items at once, as without shards.

    Args:
        module: the graph, whose nodes know their values (``meta["val"]``).
        items: the indices of the inputs whose first dimension is that of the items.
        shards: into how many parts to split them.

    Raises:
        NotSplit: if an operator mixes items other than by a sum, if it is not known here, if the
            items cannot be divided by the number, or if the shards would repeat much of the work.
    """
    return _Splitter(module, items, shards).split()


_CREATE = {
    _aten.empty.memory_format,
    _aten.full.default,
    _aten.ones.default,
    _aten.zeros.default,
}
_LIKE = {
    _aten.empty_like.default,
    _aten.full_like.default,
    _aten.ones_like.default,
    _aten.zeros_like.default,
}
_POINTWISE = {  # those that are not tagged so
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
_LINEAR = {  # of one argument
    _aten._to_copy.default,
    _aten.alias.default,
    _aten.clone.default,
    _aten.detach.default,
    _aten.neg.default,
}
_VIEWS = {_aten.view.default, _aten._unsafe_view.default, _aten.reshape.default}
_ALONG = {  # those that mix what lies along dimensions, and the place of these in the arguments
    _aten._log_softmax.default: 1,
    _aten._softmax.default: 1,
    _aten._log_softmax_backward_data.default: 2,
    _aten._softmax_backward_data.default: 2,
    _aten.cumsum.default: 1,
    _aten.flip.default: 1,
    _aten.gather.default: 1,
    _aten.scatter_add.default: 1,
}
_REDUCE = {_aten.amax.default, _aten.amin.default, _aten.logsumexp.default}


def _is_pointwise(node: fx.Node) -> bool:
    if node.target is _aten.binary_cross_entropy_with_logits.default:
        reduction = node.args[4] if len(node.args) > 4 else node.kwargs.get("reduction", 1)
        return reduction == 0
    tags = getattr(node.target, "tags", ())
    return torch.Tag.pointwise in tags or node.target in _POINTWISE


def _is_random(node: fx.Node) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def _size(node: fx.Node) -> torch.Size:
    value = node.meta["val"]
    return (value[0] if isinstance(value, tuple | list) else value).shape


class _Splitter:
    def __init__(self, module: fx.GraphModule, items: range, shards: int) -> None:
        self.graph = module.graph
        self.shards = shards
        inputs = [node for node in self.graph.nodes if node.op == "placeholder"]
        self.inputs = inputs
        self.of_items = {inputs[i] for i in items if _size(inputs[i])}
        sizes = {_size(node)[0] for node in self.of_items}
        if len(sizes) != 1:
            raise NotSplit("its arguments have no size in common")
        (self.items,) = sizes
        if self.items % shards or self.items == shards:
            raise NotSplit(f"{self.items} items are not divided by {shards}")
        self.shard = fx.Graph()
        self.places: dict[fx.Node, Any] = {}
        self.copies: dict[tuple[fx.Node, Split | None], fx.Node] = {}
        self.feeds: list[Feed] = []
        self.operations: dict[bool, int] = {True: 0, False: 0}  # those of items, and others
        value = inputs[0].meta["val"]
        self.mode = value.fake_mode

    def split(self) -> Sharding:
        last = None
        with self.mode, torch.no_grad():
            for node in self.graph.nodes:
                if node.op == "placeholder":
                    self.places[node] = Split(0) if node in self.of_items else WHOLE
                elif node.op == "call_function":
                    self.places[node] = self._place(node)
                elif node.op == "output":
                    last = node
                else:
                    raise NotSplit(f"{node.op} is not known")
            assert last is not None
            (results,) = last.args
            outputs = [self._copy(node) for node in results]  # type: ignore[union-attr]
        return self._finish(results, outputs)

    def _finish(self, results: Any, outputs: list[fx.Node]) -> Sharding:
        places = [self.places[node] for node in results]
        if any(isinstance(place, Split) for place in places) or PARTIAL not in places:
            raise NotSplit("its results are not sums over items")
        numbers = sum(
            _size(n).numel() for n, p in zip(results, places, strict=True) if p == PARTIAL
        )
        if self.operations[True] < WORTH * numbers * (self.shards - 1):
            raise NotSplit("adding gradients would take as long as the rest")
        if self.operations[False] > REPEATED * self.operations[True]:
            raise NotSplit("much is computed for no item")
        self.shard.output(outputs)
        self.shard.eliminate_dead_code()
        drawn = [node for node in self.graph.nodes if _is_random(node)]
        copies: dict[fx.Node, fx.Node] = {}
        draws = fx.Graph()
        needed = set(drawn)
        for node in reversed(self.graph.nodes):
            if node in needed:
                needed.update(node.all_input_nodes)
        for node in self.graph.nodes:
            if node.op == "placeholder" or node in needed:
                copies[node] = draws.node_copy(node, copies.__getitem__)
        draws.output([copies[node] for node in drawn])
        draws.eliminate_dead_code()
        feeds = []
        for feed, placeholder in zip(
            self.feeds, [n for n in self.shard.nodes if n.op == "placeholder"], strict=True
        ):
            if not placeholder.users:
                self.shard.erase_node(placeholder)
                continue
            given = feed.node.op == "placeholder"
            index = (self.inputs if given else drawn).index(feed.node)
            feeds.append((given, index, None if feed.split is None else feed.split.dim))
        return Sharding(
            fx.GraphModule({}, self.shard),
            fx.GraphModule({}, draws),
            feeds,
            [place == PARTIAL for place in places],
            self.shards,
        )

    # Copies in the graph of a shard -----------------------------------------------------------

    def _copy(self, node: fx.Node, split: Split | None = None) -> fx.Node:
        """The node of the shard's graph for all of a node, or for the shard's part of a whole."""
        key = node, split
        if key not in self.copies:
            if node.op == "placeholder" or _is_random(node):
                self.copies[key] = self._feed(node, split)
            elif split is None:
                raise NotSplit(f"{node} is not computed")
            else:
                self.copies[key] = self._slice(node, split)
        return self.copies[key]

    def _feed(self, node: fx.Node, split: Split | None) -> fx.Node:
        place = self.places[node]
        if isinstance(place, Split):
            split = place
        value = node.meta["val"]
        if split is not None:
            if split.blocks > 1:
                raise NotSplit("samples and items are drawn together")
            value = value.chunk(self.shards, split.dim)[0]
        last = [n for n in self.shard.nodes if n.op == "placeholder"][-1:]
        first = next(iter(self.shard.nodes), None)
        before = (
            self.shard.inserting_after(last[0])
            if last
            else (
                self.shard.inserting_before(first)
                if first is not None
                else self.shard.inserting_before()
            )
        )
        with before:
            made = self.shard.placeholder(f"input_{len(self.feeds)}")
        made.meta["val"] = value
        self.feeds.append(Feed(node, split))
        return made

    def _emit(self, node: fx.Node, args: Any, kwargs: Any, of_items: bool) -> fx.Node:
        made = self.shard.call_function(node.target, args, kwargs)  # type: ignore[arg-type]
        values = fx.node.map_arg((args, kwargs), lambda n: n.meta["val"])
        with FlopCounterMode(display=False) as counter:
            made.meta["val"] = node.target(*values[0], **values[1])  # type: ignore[operator]
        self.operations[of_items] += counter.get_total_flops()
        return made

    def _keep(self, node: fx.Node, place: Any, args: Any = None) -> Any:
        """Copy a node with other arguments, and return its place."""
        given = node.args if args is None else args
        given, named = fx.node.map_arg((given, node.kwargs), self._copy)
        made = self._emit(node, given, named, place != WHOLE)
        self._expect(node, made, place)
        self.copies[node, None] = made
        return place

    def _expect(self, node: fx.Node, made: fx.Node, place: Any) -> None:
        before, after = node.meta["val"], made.meta["val"]
        if not torch.is_tensor(before):
            return  # a tuple, whose parts are looked at
        size = list(before.shape)
        if isinstance(place, Split):
            size[place.dim] //= self.shards
        if list(after.shape) != size:
            raise NotSplit(f"{node.target} of a shard has the shape {tuple(after.shape)}")

    def _slice(self, node: fx.Node, split: Split) -> fx.Node:
        """The shard's part of a tensor that depends on no item."""
        target, args = node.target, list(node.args)
        named: Any = node.kwargs
        if target in _CREATE:
            args[0] = self._sizes(args[0], split)
        elif target in _LIKE:
            args[0] = self._copy(args[0], split)
        elif target is _aten.expand.default:
            args[0] = self._part(args[0], node, split)
            args[1] = self._sizes(args[1], split)
        elif target in _VIEWS:
            before, after = _size(args[0]), _size(node)
            args[0] = self._copy(args[0], self._moved(split, after, before))
            args[1] = self._sizes(args[1], split)
        elif target is _aten.unsqueeze.default:
            dim = args[1] % len(_size(node))
            args[0] = self._copy(args[0], Split(split.dim - (split.dim > dim), split.blocks))
        elif _is_pointwise(node) and torch.is_tensor(node.meta["val"]):
            args, named = fx.node.map_arg(
                (tuple(args), named), lambda n: self._part(n, node, split)
            )
        else:
            raise NotSplit(f"{target} is not taken in parts")
        made = self._emit(node, tuple(args), named, of_items=True)
        self._expect(node, made, split)
        return made

    def _sizes(self, sizes: Any, split: Split) -> list[int]:
        found = list(sizes)
        if found[split.dim] != -1:
            found[split.dim] //= self.shards
        return found

    def _part(self, argument: fx.Node, node: fx.Node, split: Split) -> fx.Node:
        """What the shard's part of a result needs of an argument that is broadcast to it."""
        place = self.places[argument]
        size, full = _size(argument), _size(node)
        dim = split.dim - (len(full) - len(size))
        if isinstance(place, Split):
            if place != Split(dim, split.blocks):
                raise NotSplit(f"{node.target} mixes items")
            return self._copy(argument)
        if place == PARTIAL:
            raise NotSplit(f"{node.target} is not linear")
        if dim < 0 or size[dim] != full[split.dim]:
            return self._copy(argument)
        return self._copy(argument, Split(dim, split.blocks))

    def _moved(self, split: Split, before: torch.Size, after: torch.Size) -> Split:
        """Where items lie once a tensor has another shape."""
        outer = math.prod(before[: split.dim]) * split.blocks
        for dim in range(len(after)):
            here = math.prod(after[:dim])
            blocks, rest = divmod(outer, here) if here else (0, 1)
            if not rest and blocks and after[dim] % (blocks * self.items) == 0:
                return Split(dim, blocks)
        raise NotSplit("a shape mixes items with other dimensions")

    # Where the results of operators lie -------------------------------------------------------

    def _place(self, node: fx.Node) -> Any:
        given = [self.places[n] for n in node.all_input_nodes]
        if _is_random(node):
            if any(place != WHOLE for place in given):
                raise NotSplit(f"{node.target} draws from items")
            return WHOLE  # drawn beforehand
        schema = getattr(node.target, "_schema", None)
        if schema is not None and schema.is_mutable and node.target is not _aten.copy_.default:
            raise NotSplit(f"{node.target} changes a tensor in place")
        if all(place == WHOLE for place in given) and node.target is not _aten.copy_.default:
            return self._keep(node, WHOLE)
        if node.target is operator.getitem:
            return self._keep(node, self._of_tuple(node))
        rule = _RULES.get(node.target)
        if rule is not None:
            return rule(self, node)
        if _is_pointwise(node):
            return self._pointwise(node)
        raise NotSplit(f"{node.target} is not known")

    def _of_tuple(self, node: fx.Node) -> Any:
        place = self.places[node.args[0]]  # type: ignore[index]
        return place[node.args[1]] if isinstance(place, list) else place

    def _pointwise(self, node: fx.Node) -> Any:
        tensors = node.all_input_nodes
        places = [self.places[n] for n in tensors]
        if PARTIAL in places:
            return self._linear(node)
        rank = len(_size(node))
        split = next(
            Split(place.dim + rank - len(_size(n)), place.blocks)
            for n, place in zip(tensors, places, strict=True)
            if isinstance(place, Split)
        )
        args, named = fx.node.map_arg(
            (node.args, node.kwargs), lambda n: self._part(n, node, split)
        )
        made = self._emit(node, args, named, of_items=True)
        self._expect(node, made, split)
        self.copies[node, None] = made
        return split

    def _linear(self, node: fx.Node) -> Any:
        """Operators that are linear in their partial arguments."""
        target = node.target
        places = [self.places[a] if isinstance(a, fx.Node) else a for a in node.args]
        first, second = [*places, None, None][:2]
        name = getattr(target, "overloadpacket", None)
        if target in _LINEAR:
            fits = True
        elif name in (_aten.add, _aten.sub):
            fits = first == second == PARTIAL or (first == PARTIAL and second == 0)
        elif name is _aten.mul:
            fits = (first == PARTIAL) != (second == PARTIAL)
        elif name is _aten.div:
            fits = first == PARTIAL and second != PARTIAL and not node.kwargs
        else:
            fits = False
        if not fits or any(isinstance(place, Split) for place in places):
            raise NotSplit(f"{target} is not linear")
        return self._keep(node, PARTIAL)

    def _like(self, node: fx.Node) -> Any:
        place = self.places[node.args[0]]  # type: ignore[index]
        return self._keep(node, WHOLE if place == PARTIAL else place)

    def _written(self, node: fx.Node) -> Any:
        """A copy into a new tensor of another layout."""
        into, value = node.args[:2]
        if not (isinstance(into, fx.Node) and into.target is _aten.empty_like.default):
            raise NotSplit("it changes a tensor in place")
        place = self.places[value]  # type: ignore[index]
        if isinstance(place, Split):
            raise NotSplit("it copies items")
        return self._keep(node, place)

    def _view(self, node: fx.Node) -> Any:
        argument, sizes = node.args
        place = self.places[argument]  # type: ignore[index]
        if place == PARTIAL:
            return self._keep(node, PARTIAL)
        moved = self._moved(place, _size(argument), _size(node))  # type: ignore[arg-type]
        return self._keep(node, moved, (argument, self._sizes(sizes, moved)))

    def _expand(self, node: fx.Node) -> Any:
        argument, sizes = node.args[:2]
        place = self.places[argument]  # type: ignore[index]
        if place == PARTIAL:
            return self._keep(node, PARTIAL)
        more = len(_size(node)) - len(_size(argument))  # type: ignore[arg-type]
        moved = Split(place.dim + more, place.blocks)
        return self._keep(node, moved, (argument, self._sizes(sizes, moved)))

    def _permute(self, node: fx.Node) -> Any:
        """Operators that change the order of dimensions."""
        place = self.places[node.args[0]]  # type: ignore[index]
        if place == PARTIAL:
            return self._keep(node, PARTIAL)
        rank = len(_size(node))
        order = list(range(rank))
        if node.target is _aten.permute.default:
            order = [d % rank for d in node.args[1]]  # type: ignore[union-attr]
        elif rank > 1:
            one, other = (0, 1) if node.target is _aten.t.default else node.args[1:3]
            one, other = one % rank, other % rank  # type: ignore[operator]
            order[one], order[other] = order[other], order[one]
        return self._keep(node, Split(order.index(place.dim), place.blocks))

    def _shift(self, node: fx.Node) -> Any:
        """Operators that insert, remove, divide or shorten a dimension other than that of items."""
        argument = node.args[0]
        place = self.places[argument]  # type: ignore[index]
        if place == PARTIAL:
            return self._keep(node, PARTIAL)
        before = len(_size(argument))  # type: ignore[arg-type]
        inserts, removes = node.target is _aten.unsqueeze.default, node.target in _REMOVE
        dims = node.args[1] if len(node.args) > 1 else 0
        if node.target in (_aten.split.Tensor, _aten.split_with_sizes.default):
            dims = node.args[2] if len(node.args) > 2 else 0
        dim = dims[0] if isinstance(dims, list | tuple) else dims
        if isinstance(dims, list | tuple) and len(dims) != 1:
            raise NotSplit(f"{node.target} is not known")
        dim = dim % (before + inserts)  # type: ignore[operator]
        if inserts:
            return self._keep(node, Split(place.dim + (place.dim >= dim), place.blocks))
        if dim == place.dim:
            raise NotSplit(f"{node.target} divides items")
        return self._keep(node, Split(place.dim - (removes and place.dim > dim), place.blocks))

    def _join(self, node: fx.Node) -> Any:
        """Operators that join tensors along a dimension other than that of items."""
        parts: Any = node.args[0]
        dim: Any = node.args[1] if len(node.args) > 1 else 0
        dim %= len(_size(node))
        places = {self.places[n] for n in parts}
        if places == {PARTIAL}:
            return self._keep(node, PARTIAL)
        split = next((p for p in places if isinstance(p, Split)), None)
        inserts = node.target is _aten.stack.default
        if split is None or places - {split, WHOLE} or (dim == split.dim and not inserts):
            raise NotSplit("it joins items with others")
        copies = [self._copy(n, split if self.places[n] == WHOLE else None) for n in parts]
        moved = Split(split.dim + (inserts and split.dim >= dim), split.blocks)
        made = self._emit(node, (copies, *node.args[1:]), node.kwargs, of_items=True)
        self._expect(node, made, moved)
        self.copies[node, None] = made
        return moved

    def _pad(self, node: fx.Node) -> Any:
        place = self.places[node.args[0]]  # type: ignore[index]
        padded = len(node.args[1]) // 2  # type: ignore[arg-type]
        if place == PARTIAL or place.dim >= len(_size(node)) - padded:
            raise NotSplit("it pads items")
        return self._keep(node, place)

    def _slice_backward(self, node: fx.Node) -> Any:
        gradient, sizes, dim, *rest = node.args
        place = self.places[gradient]  # type: ignore[index]
        if place == PARTIAL or dim % len(_size(node)) == place.dim:  # type: ignore[operator]
            raise NotSplit("it divides items")
        return self._keep(node, place, (gradient, self._sizes(sizes, place), dim, *rest))

    def _sum(self, node: fx.Node) -> Any:
        place = self.places[node.args[0]]  # type: ignore[index]
        if place == PARTIAL:
            return self._keep(node, PARTIAL)
        kept = self._after_reduction(node, place)
        if kept is not None:
            return self._keep(node, kept)
        self._keep(node, PARTIAL)
        if getattr(node.target, "overloadpacket", None) is _aten.mean:
            mean = self.copies[node, None]
            with self.shard.inserting_after(mean):
                made = self.shard.call_function(_aten.div.Scalar, (mean, self.shards))
            made.meta["val"] = mean.meta["val"]
            self.copies[node, None] = made
        return PARTIAL

    def _reduce(self, node: fx.Node) -> Any:
        place = self.places[node.args[0]]  # type: ignore[index]
        kept = None if place == PARTIAL else self._after_reduction(node, place)
        if kept is None:
            raise NotSplit(f"{node.target} mixes items")
        return self._keep(node, kept)

    def _after_reduction(self, node: fx.Node, place: Split) -> Split | None:
        """Where items lie after a reduction; ``None`` if it is one of them, too."""
        rank = len(_size(node.args[0]))  # type: ignore[arg-type]
        dims = node.args[1] if len(node.args) > 1 else None
        dims = [dims] if isinstance(dims, int) else dims
        reduced = {d % rank for d in dims or range(rank)}  # type: ignore[operator, union-attr]
        keeps = len(node.args) > 2 and node.args[2]
        if place.dim in reduced:
            return None
        return Split(
            place.dim - (0 if keeps else sum(d < place.dim for d in reduced)), place.blocks
        )

    def _along(self, node: fx.Node) -> Any:
        places = {self.places[n] for n in node.all_input_nodes}
        split = next((p for p in places if isinstance(p, Split)), None)
        along: Any = node.args[_ALONG[node.target]]
        rank = len(_size(node))
        mixed = {d % rank for d in ([along] if isinstance(along, int) else along)}
        if split is None or places - {split, WHOLE} or split.dim in mixed:
            raise NotSplit(f"{node.target} mixes items")
        args, named = fx.node.map_arg(
            (node.args, node.kwargs),
            lambda n: self._copy(n, split if self.places[n] == WHOLE else None),
        )
        made = self._emit(node, args, named, of_items=True)
        self._expect(node, made, split)
        self.copies[node, None] = made
        return split

    def _product(self, node: fx.Node) -> Any:
        """Products of matrices, or of several."""
        one, other = node.args[-2:]
        places = self.places[one], self.places[other]  # type: ignore[index]
        rank = len(_size(one))  # type: ignore[arg-type]
        added = node.target is _aten.addmm.default
        place: Any
        if added and self.places[node.args[0]] != WHOLE:  # type: ignore[index]
            raise NotSplit("it adds items to a product")
        match places:
            case (Split() as first, Split() as second) if first == second and first.dim < rank - 2:
                place = first
            case (Split() as first, Split() as second) if (
                not added
                and (first.dim, second.dim) == (rank - 1, rank - 2)
                and first.blocks == second.blocks
            ):
                place = PARTIAL
            case (Split() as first, "whole") if first.dim == rank - 2:
                place = first
            case ("whole", Split() as second) if second.dim == rank - 1 and not added:
                place = second
            case ("partial", "whole") | ("whole", "partial") if not added:
                place = PARTIAL
            case _:
                raise NotSplit("a product mixes items")
        if added and len(_size(node.args[0])) > 1:  # type: ignore[arg-type]
            raise NotSplit("it adds a matrix to a product")
        return self._keep(node, place)

    def _convolution(self, node: fx.Node) -> Any:
        places = [self.places[n] for n in node.all_input_nodes]
        if places[0] != Split(0) or any(place != WHOLE for place in places[1:]):
            raise NotSplit("a convolution mixes items")
        return self._keep(node, places[0])

    def _convolution_backward(self, node: fx.Node) -> Any:
        places = [self.places[n] for n in node.args[:3]]  # type: ignore[index]
        if places != [Split(0), Split(0), WHOLE]:
            raise NotSplit("a convolution mixes items")
        self._keep(node, PARTIAL)
        return [Split(0), PARTIAL, PARTIAL]


_REMOVE = {_aten.select.int, _aten.squeeze.dim, _aten.squeeze.dims}
_RULES: dict[Any, Callable[[_Splitter, fx.Node], Any]] = {
    **dict.fromkeys(_LIKE, _Splitter._like),
    **dict.fromkeys(_VIEWS, _Splitter._view),
    **dict.fromkeys(_ALONG, _Splitter._along),
    **dict.fromkeys(_REDUCE, _Splitter._reduce),
    **dict.fromkeys(_REMOVE, _Splitter._shift),
    _aten.addmm.default: _Splitter._product,
    _aten.bmm.default: _Splitter._product,
    _aten.mm.default: _Splitter._product,
    _aten.cat.default: _Splitter._join,
    _aten.stack.default: _Splitter._join,
    _aten.constant_pad_nd.default: _Splitter._pad,
    _aten.slice_backward.default: _Splitter._slice_backward,
    _aten.convolution.default: _Splitter._convolution,
    _aten.convolution_backward.default: _Splitter._convolution_backward,
    _aten.copy_.default: _Splitter._written,
    _aten.expand.default: _Splitter._expand,
    _aten.mean.default: _Splitter._sum,
    _aten.mean.dim: _Splitter._sum,
    _aten.sum.default: _Splitter._sum,
    _aten.sum.dim_IntList: _Splitter._sum,
    _aten.permute.default: _Splitter._permute,
    _aten.t.default: _Splitter._permute,
    _aten.transpose.int: _Splitter._permute,
    _aten.slice.Tensor: _Splitter._shift,
    _aten.split.Tensor: _Splitter._shift,
    _aten.split_with_sizes.default: _Splitter._shift,
    _aten.unsqueeze.default: _Splitter._shift,
}
