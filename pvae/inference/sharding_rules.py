"""Where the results of operators have the items of a minibatch that is split into shards."""

import operator
from typing import Any

import torch
from torch import fx

from pvae.inference.operators import LIKE, VIEWS, size
from pvae.inference.sharding import PARTIAL, WHOLE, NotSplit, Place, Rules, Split, Splitter

_aten = torch.ops.aten


def _args(node: fx.Node) -> Any:
    return node.args


def _item(s: Splitter, node: fx.Node) -> Place:
    """A part of a tuple."""
    of, index = _args(node)
    place = s.places[of]
    return s.keep(node, place[index] if isinstance(place, list) else place)


def _linear(s: Splitter, node: fx.Node) -> Place:
    """Operators that are linear in one of their arguments, or in both together."""
    places: list[Any] = [s.places[a] if isinstance(a, fx.Node) else a for a in node.args]
    if PARTIAL not in places:
        return s.pointwise(node)
    first, second = [*places, None][:2]
    kind = getattr(node.target, "overloadpacket", None)
    if kind in (_aten.add, _aten.sub):
        fits = first == PARTIAL and (second == PARTIAL or second == 0)
    elif kind is _aten.rsub:
        fits = first == PARTIAL and second == 0
    elif kind is _aten.mul:
        fits = not isinstance(first, Split) and not isinstance(second, Split) and first != second
    elif kind is _aten.div:
        fits = first == PARTIAL and second != PARTIAL and not isinstance(second, Split)
        fits = fits and not node.kwargs  # it may round
    else:
        fits = True  # it has one argument
    if not fits:
        raise NotSplit(f"{node.target} is not linear")
    return s.keep(node, PARTIAL)


def _like(s: Splitter, node: fx.Node) -> Place:
    """New tensors of the shape of another."""
    place = s.places[_args(node)[0]]
    return s.keep(node, WHOLE if place == PARTIAL else place)


def _written(s: Splitter, node: fx.Node) -> Place:
    """A copy into a new tensor of another layout."""
    into, value = _args(node)[:2]
    place = s.places[value]
    new = isinstance(into, fx.Node) and into.target is _aten.empty_like.default
    if not new or s.places[into] != WHOLE or isinstance(place, Split):
        raise NotSplit("it writes items into a tensor")
    return s.keep(node, place)


def _view(s: Splitter, node: fx.Node) -> Place:
    """Operators that give a tensor another shape."""
    argument: Any = node.args[0]
    place = s.places[argument]
    if not isinstance(place, Split):
        return s.keep(node, place)
    moved = s.moved(place, size(argument), size(node))
    return s.keep(node, moved, (argument, s.sizes(node.args[1], moved)))


def _expand(s: Splitter, node: fx.Node) -> Place:
    argument: Any = node.args[0]
    place = s.places[argument]
    if not isinstance(place, Split):
        return s.keep(node, place)
    moved = Split(place.dim + len(size(node)) - len(size(argument)), place.blocks)
    return s.keep(node, moved, (argument, s.sizes(node.args[1], moved)))


def _permute(s: Splitter, node: fx.Node) -> Place:
    """Operators that change the order of dimensions."""
    place = s.places[_args(node)[0]]
    if not isinstance(place, Split):
        return s.keep(node, place)
    rank = len(size(node))
    order = list(range(rank))
    if node.target is _aten.permute.default:
        order = [d % rank for d in _args(node)[1]]
    elif rank > 1:
        pair: Any = (0, 1) if node.target is _aten.t.default else node.args[1:3]
        one, other = (d % rank for d in pair)
        order[one], order[other] = order[other], order[one]
    return s.keep(node, Split(order.index(place.dim), place.blocks))


_REMOVE = {_aten.select.int, _aten.squeeze.dim, _aten.squeeze.dims}
_DIVIDE = {_aten.split.Tensor, _aten.split_with_sizes.default}


def _shift(s: Splitter, node: fx.Node) -> Place:
    """Operators that insert, remove, divide or shorten a dimension other than that of items."""
    argument: Any = node.args[0]
    place = s.places[argument]
    if not isinstance(place, Split):
        return s.keep(node, place)
    at = 2 if node.target in _DIVIDE else 1
    dims: Any = node.args[at] if len(node.args) > at else 0
    dims = [dims] if isinstance(dims, int) else dims
    inserts, removes = node.target is _aten.unsqueeze.default, node.target in _REMOVE
    if len(dims) != 1:
        raise NotSplit(f"{node.target} of several dimensions is not known")
    dim = dims[0] % (len(size(argument)) + inserts)
    if inserts:
        return s.keep(node, Split(place.dim + (place.dim >= dim), place.blocks))
    all_of_them = node.target is _aten.slice.Tensor and size(node) == size(argument)
    if dim == place.dim and not all_of_them:
        raise NotSplit(f"{node.target} divides items")
    return s.keep(node, Split(place.dim - (removes and place.dim > dim), place.blocks))


def _slice_backward(s: Splitter, node: fx.Node) -> Place:
    gradient, sizes, dim, *rest = _args(node)
    place = s.places[gradient]
    if not isinstance(place, Split):
        return s.keep(node, place)
    if dim % len(size(node)) == place.dim:
        raise NotSplit("it divides items")
    return s.keep(node, place, (gradient, s.sizes(sizes, place), dim, *rest))


def _pad(s: Splitter, node: fx.Node) -> Place:
    place = s.places[_args(node)[0]]
    first = len(size(node)) - len(_args(node)[1]) // 2
    if not isinstance(place, Split) or place.dim >= first:
        raise NotSplit("it pads items")
    return s.keep(node, place)


def _join(s: Splitter, node: fx.Node) -> Place:
    """Operators that join tensors along a dimension other than that of items."""
    parts: Any = node.args[0]
    dim: Any = node.args[1] if len(node.args) > 1 else 0
    dim %= len(size(node))
    if all(s.places[n] == PARTIAL for n in parts):
        return s.keep(node, PARTIAL)
    split = s.together(parts)
    inserts = node.target is _aten.stack.default
    if dim == split.dim and not inserts:
        raise NotSplit("it joins items with others")
    moved = Split(split.dim + (inserts and split.dim >= dim), split.blocks)
    return s.keep(node, moved, each=lambda n: s.shared(n, split))


def _after_reduction(node: fx.Node, place: Split) -> Split | None:
    """Where a reduction leaves the items; ``None`` if it is over them, too."""
    rank = len(size(_args(node)[0]))
    dims: Any = node.args[1] if len(node.args) > 1 else None
    dims = [dims] if isinstance(dims, int) else dims
    reduced = {d % rank for d in dims or range(rank)}
    if place.dim in reduced:
        return None
    keeps = len(node.args) > 2 and node.args[2]
    fewer = 0 if keeps else sum(d < place.dim for d in reduced)
    return Split(place.dim - fewer, place.blocks)


def _sum(s: Splitter, node: fx.Node) -> Place:
    """Sums and means."""
    place = s.places[_args(node)[0]]
    if not isinstance(place, Split):
        return s.keep(node, place)
    kept = _after_reduction(node, place)
    if kept is not None:
        return s.keep(node, kept)
    s.keep(node, PARTIAL)
    if node.target in (_aten.mean.default, _aten.mean.dim):
        s.divide(node, s.shards)
    return PARTIAL


def _reduce(s: Splitter, node: fx.Node) -> Place:
    """Other reductions."""
    place = s.places[_args(node)[0]]
    kept = _after_reduction(node, place) if isinstance(place, Split) else None
    if kept is None:
        raise NotSplit(f"{node.target} mixes items")
    return s.keep(node, kept)


# Operators that mix what lies along dimensions, and which argument these are.
_ALONG: dict[Any, int] = {
    _aten._log_softmax.default: 1,
    _aten._softmax.default: 1,
    _aten._log_softmax_backward_data.default: 2,
    _aten._softmax_backward_data.default: 2,
    _aten.cumsum.default: 1,
    _aten.flip.default: 1,
    _aten.gather.default: 1,
    _aten.scatter_add.default: 1,
}


def _along(s: Splitter, node: fx.Node) -> Place:
    split = s.together(node.all_input_nodes)
    along: Any = node.args[_ALONG[node.target]]
    rank = len(size(node)) or 1
    mixed = {d % rank for d in ([along] if isinstance(along, int) else along)}
    if split.dim in mixed:
        raise NotSplit(f"{node.target} mixes items")
    return s.keep(node, split, each=lambda n: s.shared(n, split))


def _product(s: Splitter, node: fx.Node) -> Place:
    """Products of matrices, and of several at once."""
    one, other = _args(node)[-2:]
    first, second = s.places[one], s.places[other]
    rows = len(size(one)) - 2
    columns = rows + 1
    bias = _args(node)[0] if node.target is _aten.addmm.default else None
    if bias is not None and (s.places[bias] != WHOLE or len(size(bias)) > 1):
        raise NotSplit("it adds items to a product")
    place: Place | None = None
    if isinstance(first, Split) and isinstance(second, Split):
        if first == second and first.dim < rows:
            place = first  # a product for each item
        elif first == Split(columns, second.blocks) and second.dim == rows and bias is None:
            place = PARTIAL  # a sum over items
    elif isinstance(first, Split) and second == WHOLE and first.dim == rows:
        place = first
    elif isinstance(second, Split) and first == WHOLE and second.dim == columns and bias is None:
        place = second
    elif {first, second} == {PARTIAL, WHOLE} and bias is None:
        place = PARTIAL
    if place is None:
        raise NotSplit("a product mixes items")
    return s.keep(node, place)


def _convolution(s: Splitter, node: fx.Node) -> Place:
    places = [s.places[n] for n in node.all_input_nodes]
    if places[0] != Split(0) or any(place != WHOLE for place in places[1:]):
        raise NotSplit("a convolution mixes items")
    return s.keep(node, Split(0))


_ENLARGE = {
    _aten.upsample_bilinear2d.default,
    _aten.upsample_nearest2d.default,
}
_ENLARGED = {  # their gradients
    _aten.upsample_bilinear2d_backward.default,
    _aten.upsample_nearest2d_backward.default,
}


def _upsample(s: Splitter, node: fx.Node) -> Place:
    """Operators that enlarge images, and their gradients."""
    argument, sizes, *rest = _args(node)
    if s.places[argument] != Split(0):
        raise NotSplit(f"{node.target} mixes items")
    if node.target not in _ENLARGED:
        return s.keep(node, Split(0))
    return s.keep(node, Split(0), (argument, sizes, s.sizes(rest[0], Split(0)), *rest[1:]))


def _index(s: Splitter, node: fx.Node) -> Place:
    """Looking up along other dimensions, as torch 2.6 enlarges images."""
    argument, indices = _args(node)
    given = [index is not None for index in indices]
    together = given == sorted(given)  # else what is looked up comes first
    whole = all(s.places[index] == WHOLE for index in indices if index is not None)
    if s.places[argument] != Split(0) or given[0] or not together or not whole:
        raise NotSplit(f"{node.target} mixes items")
    return s.keep(node, Split(0))


def _convolution_backward(s: Splitter, node: fx.Node) -> Place:
    if [s.places[n] for n in _args(node)[:3]] != [Split(0), Split(0), WHOLE]:
        raise NotSplit("a convolution mixes items")
    return s.keep(node, [Split(0), PARTIAL, PARTIAL])


RULES: Rules = {
    **dict.fromkeys(LIKE, _like),
    **dict.fromkeys(VIEWS, _view),
    **dict.fromkeys(_ALONG, _along),
    **dict.fromkeys((*_REMOVE, *_DIVIDE, _aten.slice.Tensor, _aten.unsqueeze.default), _shift),
    **dict.fromkeys((_aten.amax.default, _aten.amin.default, _aten.logsumexp.default), _reduce),
    **dict.fromkeys((_aten.addmm.default, _aten.bmm.default, _aten.mm.default), _product),
    **dict.fromkeys((_aten.cat.default, _aten.stack.default), _join),
    **dict.fromkeys((_aten.permute.default, _aten.t.default, _aten.transpose.int), _permute),
    **dict.fromkeys(
        (
            _aten.add.Tensor,
            _aten.sub.Tensor,
            _aten.rsub.Scalar,
            _aten.mul.Tensor,
            _aten.mul.Scalar,
            _aten.div.Tensor,
            _aten.div.Scalar,
            _aten.neg.default,
            _aten.clone.default,
            _aten.alias.default,
            _aten.detach.default,
            _aten._to_copy.default,
        ),
        _linear,
    ),
    **dict.fromkeys(
        (_aten.mean.default, _aten.mean.dim, _aten.sum.default, _aten.sum.dim_IntList), _sum
    ),
    _aten.constant_pad_nd.default: _pad,
    _aten.convolution.default: _convolution,
    _aten.convolution_backward.default: _convolution_backward,
    _aten.copy_.default: _written,
    _aten.expand.default: _expand,
    _aten.index.Tensor: _index,
    _aten._unsafe_index.Tensor: _index,
    _aten.slice_backward.default: _slice_backward,
    **dict.fromkeys((*_ENLARGE, *_ENLARGED), _upsample),
    operator.getitem: _item,
}
"""By operator, what copies it to a shard. Other pointwise operators need none."""
