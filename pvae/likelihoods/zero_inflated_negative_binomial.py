"""The zero-inflated negative binomial likelihood."""

import pyro.distributions as dist
from torch import Tensor

from pvae.likelihoods.negative_binomial import NegativeBinomial


class ZeroInflatedNegativeBinomial(NegativeBinomial):
    r"""Independent counts, either zero with some probability or negative binomial.

    .. math::
        P(x|z) = \prod_i g_i(z)\, [x_i = 0]
            + (1 - g_i(z)) \operatorname{NB}(x_i; \mu_i(z), \alpha_i)

    This is the likelihood of scVI for the expression of genes in single cells, with
    ``exposure="observed"`` (Lopez et al. 2018). The network returns the number that gives mu, as of
    `Poisson`, the logit of the gate g and, if predicted, the dispersion, as of `NegativeBinomial`.
    The mean is (1 - g) mu: with an observed exposure it is the rates that sum to the total.

    Args:
        latent_dim: the number of latents d.
        event_shape: event shape of x.
        network: maps (d,) to twice event_shape along the first dimension, or three times for a
            predicted dispersion: a module, or a factory that takes the two shapes; ``None`` for an
            `MLP`.
        dispersion: ``"learned"`` or ``"predicted"``.
        exposure: what rates are relative to: ``None`` for nothing; a positive number for a factor
            common to all data, such as a time; ``"observed"`` for the total of each datum itself,
            such as the library size of a cell, which the network then distributes.

    Shape:
        z of (\*batch, d) and totals of (\*batch,) to a distribution of batch shape batch and event
        shape event_shape.

    Raises:
        ValueError: if dispersion or exposure is not one of these, a size is below 1, or the
            network does not fit.

    Example:
        >>> import torch
        >>> from pvae.likelihoods import ZeroInflatedNegativeBinomial
        >>> likelihood = ZeroInflatedNegativeBinomial(2, (7,), exposure="observed")
        >>> likelihood(torch.zeros(5, 2), total=torch.full((5,), 30.0)).sample().shape
        torch.Size([5, 7])
    """

    _outputs = 2

    def forward(self, z: Tensor, total: Tensor | None = None) -> dist.TorchDistribution:
        """Return P(x|z), given totals if the exposure is observed."""
        raw, gate_logits, *raw_dispersion = self.raw(z)
        # Pyro's class of this name raises for a probability that rounds to one.
        counts = dist.NegativeBinomial(**self._count_and_logits(raw, raw_dispersion, total))
        p = dist.ZeroInflatedDistribution(counts, gate_logits=gate_logits)
        return p.to_event(len(self.event_shape))
