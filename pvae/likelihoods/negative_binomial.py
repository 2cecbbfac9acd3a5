"""The negative binomial likelihood."""

from typing import Literal

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pvae.annotations import NetworkOrFactory, Shape
from pvae.likelihoods.counts import Counts
from pvae.messages import shown

SMALLEST_DISPERSION = 1e-3


class NegativeBinomial(Counts):
    r"""Independent counts that are overdispersed relative to a Poisson (Grønbech et al. 2020).

    .. math::
        P(x|z) = \prod_i \frac{\Gamma(x_i + r_i)}{\Gamma(r_i)\, x_i!}
            \left(\frac{r_i}{r_i + \mu_i}\right)^{r_i}
            \left(\frac{\mu_i}{r_i + \mu_i}\right)^{x_i},
        \qquad r_i = \frac{1}{\alpha_i}

    of mean mu(z), as of `Poisson`, and variance mu + alpha mu^2: a Poisson whose rate is
    gamma-distributed. The dispersion alpha is ``"learned"``, one number for each element, or
    ``"predicted"``, one for each element and each z; it is kept above 0.001, below which the mass
    is that of a Poisson and float32 is not precise enough.

    Args:
        latent_dim: the number of latents d.
        event_shape: event shape of x.
        network: maps (d,) to event_shape, or for a predicted dispersion to twice as many outputs
            along the first dimension: a module, or a factory that takes the two shapes; ``None``
            for an `MLP`.
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
        >>> from pvae.likelihoods import NegativeBinomial
        >>> p = NegativeBinomial(2, (7,))(torch.zeros(2))
        >>> bool((p.variance > p.mean).all())
        True
    """

    _outputs = 1  # network outputs per element, without a dispersion

    def __init__(
        self,
        latent_dim: int,
        event_shape: Shape,
        network: NetworkOrFactory | None = None,
        dispersion: Literal["learned", "predicted"] = "learned",
        exposure: float | Literal["observed"] | None = None,
    ) -> None:
        if dispersion not in ("learned", "predicted"):
            raise ValueError(
                f"dispersion is {shown(dispersion)}: it must be 'learned' or 'predicted'."
            )
        outputs = self._outputs + (dispersion == "predicted")
        super().__init__(latent_dim, event_shape, outputs, network, exposure)
        self.dispersion = dispersion
        if dispersion == "learned":
            self.log_dispersion = nn.Parameter(torch.zeros(self.event_shape))

    def forward(self, z: Tensor, total: Tensor | None = None) -> dist.TorchDistribution:
        """Return P(x|z), given totals if the exposure is observed."""
        raw, *raw_dispersion = self.raw(z)
        p = dist.NegativeBinomial(**self._count_and_logits(raw, raw_dispersion, total))
        return p.to_event(len(self.event_shape))

    def _count_and_logits(
        self, raw: Tensor, raw_dispersion: list[Tensor], total: Tensor | None
    ) -> dict[str, Tensor]:
        """Pyro's parameters: the number of failures, and the logits of success."""
        if self.dispersion == "learned":
            dispersion = self.log_dispersion.exp()
        else:
            dispersion = softplus(raw_dispersion[0])
        dispersion = SMALLEST_DISPERSION + dispersion
        logits = (dispersion * self.rate(raw, total)).log()
        return {"total_count": 1 / dispersion, "logits": logits}
