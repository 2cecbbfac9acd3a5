"""A conditional distribution whose parameters a network computes from its context."""

import math
from functools import partial

import torch
from torch import Tensor, nn

from pvae.annotations import NetworkOrFactory, Shape
from pvae.checks import check_shape
from pvae.interfaces import option
from pvae.networks.mlp import MLP
from pvae.networks.shapes import batched, channel_dim, make_network, more_channels
from pvae.rows import by_rows


class Conditional(nn.Module):
    """Base class of likelihoods p(x|z) and posteriors q(z|x): a module that owns a network.

    The network maps the context to ``outputs`` raw parameters for every element of the
    event, stacked along its channels (of a sequence (T, D) the last dimension, else the first); a
    subclass turns them into a distribution.

    Args:
        context_shape: event shape of the context, which the distribution is conditioned on.
        event_shape: event shape of the distribution.
        outputs: how many the network returns per element of the event.
        network: a module, or a factory that makes one from an input shape and an output shape;
            ``None`` for an `MLP`.

    Raises:
        ValueError: if the network's output is not ``outputs`` times the event.
    """

    def __init__(
        self,
        context_shape: Shape,
        event_shape: Shape,
        outputs: int,
        network: NetworkOrFactory | None,
    ) -> None:
        super().__init__()
        self.context_shape = check_shape("context_shape", context_shape)
        self.event_shape = check_shape("event_shape", event_shape)
        self.outputs = outputs
        self.channel_dim = channel_dim(self.event_shape)
        more = (outputs - 1) * self.event_shape[self.channel_dim]
        self.raw_shape = more_channels(self.event_shape, more)
        self.network = make_network(
            MLP if network is None else network, self.context_shape, self.raw_shape
        )

    def start_at(self, raw: Tensor) -> None:
        """Initialize the network's output bias, if it has one, to given raw parameters.

        The bias is the attribute ``output_bias``, with one value for each output or for
        each of its channels.

        Args:
            raw: the first raw parameter of each element, shape event_shape.
        """
        bias = option(self.network, "output_bias")
        if bias is None:
            return
        size = raw.shape[self.channel_dim]
        with torch.no_grad():
            if bias.numel() == self.outputs * raw.numel():
                bias.view(self.raw_shape).narrow(self.channel_dim, 0, size).copy_(raw)
            else:
                bias[:size] = raw.movedim(self.channel_dim, 0).flatten(1).mean(1)

    def raw(self, context: Tensor) -> tuple[Tensor, ...]:
        """Return the raw parameters, each of shape (\\*batch, \\*event_shape), for a context."""
        # In training a network may look at all rows together, as batch normalization does.
        size = max(math.prod(self.context_shape), math.prod(self.raw_shape))
        whole = self.network.training
        network = self.network if whole else partial(by_rows, self.network, size)
        out = batched(network, context, len(self.context_shape))
        return out.chunk(self.outputs, dim=self.channel_dim - len(self.event_shape))
