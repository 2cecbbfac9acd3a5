"""Networks of a part: making them, checking their shapes, and calling them on any batch shape."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pvae.annotations import Shape
from pvae.module import evaluation_mode


def batched(network: Callable[[Tensor], Tensor], x: Tensor, event_dim: int) -> Tensor:
    """Call a network that takes one batch dimension on a tensor with any number of them.

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


def channel_dim(event_shape: Shape) -> int:
    """The dimension of the channels of an event: the last of a sequence (T, D), else the first.

    Parameters of several kinds are stacked along it, and labels appended to it.

    Example:
        >>> from pvae.networks.shapes import channel_dim
        >>> channel_dim((3, 28, 28)), channel_dim((24, 5))
        (0, 1)
    """
    return 1 if len(event_shape) == 2 else 0


def more_channels(event_shape: Shape, size: int) -> Shape:
    """The event shape with the channels that many more."""
    dim = channel_dim(event_shape)
    return (*event_shape[:dim], event_shape[dim] + size, *event_shape[dim + 1 :])


def make_network(
    network: nn.Module | Callable[[Shape, Shape], nn.Module], in_shape: Shape, out_shape: Shape
) -> nn.Module:
    """Make the network of a part, and check its input and output shapes.

    Args:
        network: a module that maps (n, \\*in_shape) to (n, \\*out_shape), or a factory that takes
            the two shapes: a class such as `pvae.networks.MLP`, or a `functools.partial` of one.
        in_shape: the event shape of its input.
        out_shape: the event shape of its output.

    Raises:
        TypeError: if it is neither a module nor makes one.
        ValueError: if a forward pass of zeros fails or does not return ``out_shape``.

    Example:
        >>> from torch import nn
        >>> from pvae.networks import make_network
        >>> make_network(nn.Linear(3, 4), (3,), (4,))
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
    try:
        with evaluation_mode(module):  # no updates of batch statistics, no dropout masks
            out = module(torch.zeros(2, *in_shape, dtype=like.dtype, device=like.device))
    except RuntimeError as error:
        raise ValueError(
            f"The network {type(module).__name__} {needed}, but fails on zeros of shape "
            f"{(2, *in_shape)}: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(out, Tensor) or tuple(out.shape) != (2, *out_shape):
        found = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        raise ValueError(
            f"The network {type(module).__name__} {needed}, but on zeros of shape "
            f"{(2, *in_shape)} it returned {found}."
        )
    return module
