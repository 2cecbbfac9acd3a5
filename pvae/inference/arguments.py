"""The arguments of a step: flattening, kinds, and checks that a graph can take them."""

from collections.abc import Callable, Hashable
from functools import cache
from typing import Any

import torch
from pyro.infer import (
    ELBO,
    JitTrace_ELBO,
    JitTraceEnum_ELBO,
    JitTraceGraph_ELBO,
    JitTraceMeanField_ELBO,
)
from torch import Tensor
from torch.utils import _pytree as pytree

from pvae.inference.rollback import is_plain
from pvae.inference.untraceable import Untraceable

WITH_GRAPHS = (JitTrace_ELBO, JitTraceEnum_ELBO, JitTraceGraph_ELBO, JitTraceMeanField_ELBO)


def _has_hash(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


_HASHED = _has_hash(pytree.tree_structure([0]))  # not so in earlier versions of torch


class _Identity:
    """Wraps an object to be hashed and compared by identity."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __hash__(self) -> int:
        return id(self.thing)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.thing is other.thing


@cache
def _structure_of_tensors(n: int) -> Any:
    """The structure of n tensors as positional arguments."""
    return pytree.tree_structure(((0,) * n, {}))


def flatten_arguments(args: tuple, kwargs: dict) -> tuple[list, Any]:
    """Flatten arguments to a list and a structure; dense tensors are made contiguous."""
    if not kwargs and all(type(x) is Tensor for x in args):
        leaves, structure = list(args), _structure_of_tensors(len(args))
    else:
        leaves, structure = pytree.tree_flatten((args, kwargs))
    plain = (torch.is_tensor(leaf) and is_plain(leaf) for leaf in leaves)
    leaves = [x.contiguous() if p else x for x, p in zip(leaves, plain, strict=True)]
    return leaves, structure


def layout_of(args: tuple, kwargs: dict) -> Hashable:
    """A key of arguments that are contiguous tensors, and ``None`` for all others."""
    if kwargs or not all(type(x) is Tensor and x.layout is torch.strided for x in args):
        return None
    if not all(x.is_contiguous() and not x.requires_grad for x in args):
        return None
    return tuple((x.shape, x.dtype, x.device) for x in args)


def check_kept(args: tuple, kwargs: dict, given: list) -> None:
    """Raise if programs have replaced given arguments by others."""
    left = pytree.tree_leaves((args, kwargs))
    if len(left) != len(given) or any(a is not b for a, b in zip(left, given, strict=True)):
        raise Untraceable("it writes into an argument")


def check_arguments(leaves: list, objective: ELBO | Callable) -> None:
    """Raise if no graph can be made for these arguments or this objective."""
    if isinstance(objective, WITH_GRAPHS):
        raise Untraceable(f"{type(objective).__name__} makes its own graph")
    if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
        raise Untraceable("autocast is on, which changes the types of numbers")
    for leaf in leaves:
        if torch.is_tensor(leaf) and leaf.requires_grad:
            raise Untraceable("an argument requires a gradient, which only an eager step gives")
        if torch.is_tensor(leaf) and not is_plain(leaf):
            raise Untraceable(f"an argument is a {leaf.layout} tensor")


def kind_of(leaves: list, structure: Any, settings: tuple, calls: tuple) -> Hashable:
    """The key of a graph: the kinds of arguments, settings of a step, and called functions."""
    kinds = tuple(
        (leaf.shape, leaf.dtype, leaf.device, leaf.requires_grad)
        if torch.is_tensor(leaf)
        else type(leaf)
        for leaf in leaves
    )
    autocast = torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")
    defaults = torch.get_default_dtype(), torch._C._len_torch_function_stack(), *autocast
    hashed = structure if _HASHED else str(structure)
    return (kinds, hashed, *settings, *defaults, *map(_Identity, calls))
