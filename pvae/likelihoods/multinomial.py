"""The multinomial likelihood."""

import pyro.distributions as dist
from torch import Tensor

from pvae import distributions
from pvae.annotations import NetworkOrFactory, Shape
from pvae.likelihoods.counts import Counts


class Multinomial(Counts):
    r"""Counts with a given total, such as words of a document or items of a user.

    .. math::
        P(x|z) = \frac{n!}{\prod_i x_i!} \prod_i \operatorname{softmax}(r(z))_i^{x_i},
        \qquad n = \sum_i x_i

    (Miao, Yu, Blunsom 2016; Liang et al. 2018, where binary x are clicks). The network returns r,
    with a softmax over all elements. P(x|z) is conditional on the total n of the datum, which is
    the exposure of `Counts`; samples have the given total.

    Args:
        latent_dim: the number of latents d.
        event_shape: event shape of x.
        network: maps (d,) to event_shape: a module, or a factory that takes the two shapes;
            ``None`` for an `MLP`.

    Shape:
        z of (\*batch, d) and totals of (\*batch,) to a distribution of batch shape batch and event
        shape event_shape.

    Raises:
        ValueError: if a size is below 1, or the network does not fit.

    Example:
        >>> import torch
        >>> from pvae.likelihoods import Multinomial
        >>> p = Multinomial(2, (7,))(torch.zeros(2, 2), total=torch.tensor([3.0, 50.0]))
        >>> p.sample().sum(-1)
        tensor([ 3., 50.])
    """

    def __init__(
        self,
        latent_dim: int,
        event_shape: Shape,
        network: NetworkOrFactory | None = None,
    ) -> None:
        super().__init__(latent_dim, event_shape, 1, network, exposure="observed")

    def forward(self, z: Tensor, total: Tensor | None = None) -> dist.TorchDistribution:
        """Return P(x|z) for given totals, or by default for the mean total."""
        (logits,) = self.raw(z)
        total = self.mean_total if total is None else total
        return distributions.Multinomial(total, logits, event_dim=len(self.event_shape))
