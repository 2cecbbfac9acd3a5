"""The zero-inflated Poisson likelihood."""

from typing import Literal

import pyro.distributions as dist
from torch import Tensor

from pvae.annotations import NetworkOrFactory, Shape
from pvae.likelihoods.counts import Counts


class ZeroInflatedPoisson(Counts):
    r"""Independent counts, either zero with some probability or Poisson (Lambert 1992).

    .. math::
        P(x|z) = \prod_i g_i(z)\, [x_i = 0] + (1 - g_i(z)) \operatorname{Poisson}(x_i; \mu_i(z))

    The network returns the number that gives the rate mu, as of `Poisson`, and the logit of the
    gate g for each element. The mean is (1 - g) mu: with an observed exposure it is the rates that
    sum to the total.

    Args:
        latent_dim: the number of latents d.
        event_shape: event shape of x.
        network: maps (d,) to twice event_shape along the first dimension: a module, or a factory
            that takes the two shapes; ``None`` for an `MLP`.
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
        >>> from pvae.likelihoods import ZeroInflatedPoisson
        >>> ZeroInflatedPoisson(2, (7,))(torch.zeros(5, 2)).sample().shape
        torch.Size([5, 7])
    """

    def __init__(
        self,
        latent_dim: int,
        event_shape: Shape,
        network: NetworkOrFactory | None = None,
        exposure: float | Literal["observed"] | None = None,
    ) -> None:
        super().__init__(latent_dim, event_shape, 2, network, exposure)

    def forward(self, z: Tensor, total: Tensor | None = None) -> dist.TorchDistribution:
        """Return P(x|z), given totals if the exposure is observed."""
        raw, gate_logits = self.raw(z)
        p = dist.ZeroInflatedPoisson(self.rate(raw, total), gate_logits=gate_logits)
        return p.to_event(len(self.event_shape))
