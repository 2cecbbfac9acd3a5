"""The Poisson likelihood."""

from typing import Literal

import pyro.distributions as dist
from torch import Tensor

from pvae.annotations import NetworkOrFactory, Shape
from pvae.likelihoods.counts import Counts


class Poisson(Counts):
    r"""Independent counts.

    .. math::
        P(x|z) = \prod_i \frac{\mu_i(z)^{x_i} e^{-\mu_i(z)}}{x_i!}

    The network returns r, and the rates mu are one of three (McCullagh and Nelder 1989; Lopez et
    al. 2018 for the last):

    - ``exposure=None``: exp(r_i);
    - a number: exposure times exp(r_i), the rate per unit of exposure, such as a time;
    - ``"observed"``: total * softmax(r)_i over all elements, with the total of the datum itself,
      such as the library size of a cell or the length of a document. p(x|z) is then given it.

    Args:
        latent_dim: the number of latents d.
        event_shape: event shape of x.
        network: maps (d,) to event_shape: a module, or a factory that takes the two shapes;
            ``None`` for an `MLP`.
        exposure: what rates are relative to: ``None`` for nothing; a positive number for a factor
            common to all data, such as a time; ``"observed"`` for the total of each datum itself,
            such as the library size of a cell, which the network then distributes.

    Shape:
        z of (\*batch, d) and totals of (\*batch,) to a distribution of batch shape batch and event
        shape event_shape.

    Raises:
        ValueError: if the exposure is not one of the three, a size is below 1, or the network does
            not fit.

    Example:
        >>> import torch
        >>> from pvae.likelihoods import Poisson
        >>> p = Poisson(2, (7,), exposure="observed")(torch.zeros(2), total=torch.tensor(30.0))
        >>> round(p.mean.sum().item(), 3)
        30.0
    """

    def __init__(
        self,
        latent_dim: int,
        event_shape: Shape,
        network: NetworkOrFactory | None = None,
        exposure: float | Literal["observed"] | None = None,
    ) -> None:
        super().__init__(latent_dim, event_shape, 1, network, exposure)

    def forward(self, z: Tensor, total: Tensor | None = None) -> dist.TorchDistribution:
        """Return P(x|z), given totals if the exposure is observed."""
        (raw,) = self.raw(z)
        return dist.Poisson(self.rate(raw, total)).to_event(len(self.event_shape))
