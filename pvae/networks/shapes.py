"""Checks that the shapes of the parts of a VAE and of their networks agree."""

import math
from collections.abc import Callable, Iterable
from numbers import Integral, Real

import torch
from torch import Tensor, nn

from pvae.messages import shown

Shape = tuple[int, ...]


def check_size(name: str, size: int) -> int:
    """Return a size that is a whole number of at least 1.

    Raises:
        ValueError: if it is not.
    """
    if not _is_size(size):
        raise ValueError(f"{name} is {shown(size)}: it must be a whole number of at least 1.")
    return size


def check_number(name: str, value: float) -> float:
    """Return a real number, whose range is for the caller to check.

    Raises:
        TypeError: if it is none.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} is {shown(value)}: it must be a number.")
    return value


def check_flag(name: str, value: bool) -> bool:
    """Return True or False.

    Raises:
        TypeError: if it is neither.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {shown(value)}: it must be True or False.")
    return value


def check_shape(name: str, shape: Shape) -> Shape:
    """Return a shape as a tuple of sizes, each a whole number of at least 1.

    Raises:
        ValueError: if it is empty, or a size is not such a number.
    """
    sizes = tuple(shape) if isinstance(shape, Iterable) else (shape,)
    if not sizes or not all(map(_is_size, sizes)):
        raise ValueError(f"{name} is {shown(sizes)}: it must be whole numbers, each at least 1.")
    return tuple(map(int, sizes))


def _is_size(n: object) -> bool:
    return isinstance(n, Integral) and not isinstance(n, bool) and 1 <= n < 2**31


def batched(network: Callable[[Tensor], Tensor], x: Tensor, event_dim: int) -> Tensor:
    """Call a network that knows one batch dimension on a tensor with any number of them.

    Args:
        network: maps (n, *in_shape) to (n, *out_shape).
        x: shape (*batch, *in_shape).
        event_dim: the length of in_shape.

    Returns:
        A tensor of shape (*batch, *out_shape).
    """
    batch = x.shape[: x.dim() - event_dim]
    out = network(x.reshape(math.prod(batch), *x.shape[x.dim() - event_dim :]))
    return out.reshape(*batch, *out.shape[1:])


def connect(
    network: nn.Module | Callable[[Shape, Shape], nn.Module], in_shape: Shape, out_shape: Shape
) -> nn.Module:
    """Make the network that a part asks for, and check that it fits.

    Args:
        network: a module that maps (n, \\*in_shape) to (n, \\*out_shape), or what makes one from
            the two shapes: a class such as `pvae.networks.MLP`, or a `functools.partial` of one.
        in_shape: the event shape that the network is given.
        out_shape: the event shape that it must return.

    Raises:
        TypeError: if it is neither a module nor makes one.
        ValueError: if a forward pass of zeros fails or does not return ``out_shape``.

    Example:
        >>> from torch import nn
        >>> from pvae.networks import connect
        >>> connect(nn.Linear(3, 4), (3,), (4,))
        Linear(in_features=3, out_features=4, bias=True)
    """
    is_made = not isinstance(network, nn.Module) and callable(network)
    module = network(in_shape, out_shape) if is_made else network
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"The network is of type {type(module).__name__}: it must be a torch.nn.Module, or a "
            "class or function that makes one from an input shape and an output shape."
        )
    needed = f"must map (n, *{in_shape}) to (n, *{out_shape})"
    like = next(module.parameters(), torch.empty(0))
    modes = {m: m.training for m in module.modules()}
    module.eval()  # a probe must not move batch statistics nor draw dropout masks
    try:
        with torch.no_grad():
            out = module(torch.zeros(2, *in_shape, dtype=like.dtype, device=like.device))
    except RuntimeError as error:
        raise ValueError(
            f"The network {type(module).__name__} {needed}, but fails on zeros of shape "
            f"{(2, *in_shape)}: {' '.join(str(error).split())}"
        ) from error
    finally:
        for m, mode in modes.items():
            m.training = mode
    if not isinstance(out, Tensor) or tuple(out.shape) != (2, *out_shape):
        found = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        raise ValueError(
            f"The network {type(module).__name__} {needed}, but on zeros of shape "
            f"{(2, *in_shape)} it returned {found}."
        )
    return module
