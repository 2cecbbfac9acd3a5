"""The softmax classifier."""

import pyro.distributions as dist
from torch import Tensor

from pvae.annotations import NetworkOrFactory, Shape
from pvae.conditional import Conditional


class Softmax(Conditional):
    r"""Probabilities of classes by a softmax over the outputs of a network.

    .. math::
        q(y = k|x) = \frac{\exp f_k(x)}{\sum_j \exp f_j(x)}

    Args:
        event_shape: event shape of x.
        classes: the number of classes.
        network: maps event_shape to (classes,): a module, or a factory that takes the two shapes;
            ``None`` for an `MLP`.

    Shape:
        x of (\*batch, \*event_shape) to a distribution of batch shape batch over 0 to classes - 1.

    Raises:
        ValueError: if a size is below 1, or the network does not fit.

    Example:
        >>> import torch
        >>> from pvae.classifiers import Softmax
        >>> Softmax((1, 8, 8), 10)(torch.zeros(5, 1, 8, 8)).probs.shape
        torch.Size([5, 10])
    """

    def __init__(
        self,
        event_shape: Shape,
        classes: int,
        network: NetworkOrFactory | None = None,
    ) -> None:
        super().__init__(event_shape, (classes,), outputs=1, network=network)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(y|x)."""
        (logits,) = self.raw(x)
        return dist.Categorical(logits=logits)
