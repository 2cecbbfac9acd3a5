"""Base class of likelihoods of counts: rates and exposures."""

import math
from typing import Literal

import torch
from torch import Tensor

from pvae.annotations import NetworkOrFactory, Shape
from pvae.conditional import Conditional
from pvae.messages import shown

SMALLEST_MEAN = 1e-4
SMALLEST_RATE = 1e-8


class Counts(Conditional):
    r"""Base class of likelihoods of counts whose network returns the logarithm of a rate.

    With r_i the output for element i, the rate is exp(r_i); with an exposure e, e exp(r_i); and
    with the exposure ``"observed"``, total * softmax(r)_i over all elements, where the total is
    that of the datum itself.

    Args:
        latent_dim: the number of latents d.
        event_shape: event shape of x.
        outputs: network outputs per element; the first gives the rate.
        network: as of `Conditional`.
        exposure: what rates are relative to: ``None`` for nothing; a positive number for a factor
            common to all data, such as a time; ``"observed"`` for the total of each datum itself,
            such as the library size of a cell, which the network then distributes.

    Attributes:
        takes_total: whether `forward` takes totals; without them it uses the mean total of the
            training data, or before `initialize` one count per element.

    Raises:
        ValueError: if the exposure is not one of these, a size is below 1, or the network does not
            fit.
    """

    mean_total: Tensor
    domain = "counts"

    def __init__(
        self,
        latent_dim: int,
        event_shape: Shape,
        outputs: int,
        network: NetworkOrFactory | None,
        exposure: float | Literal["observed"] | None,
    ) -> None:
        if isinstance(exposure, int | float) and not isinstance(exposure, bool):
            good = 0 < exposure < float("inf")
        else:
            good = exposure in ("observed", None)
        if not good:
            raise ValueError(
                f"exposure is {shown(exposure)}: what rates are relative to must be a positive "
                "number (a factor common to all data, such as a time), 'observed' (the total of "
                "each datum itself, such as the library size of a cell) or None."
            )
        super().__init__((latent_dim,), event_shape, outputs=outputs, network=network)
        self.exposure = exposure
        self.takes_total = exposure == "observed"
        if self.takes_total:
            self.register_buffer("mean_total", torch.tensor(float(math.prod(self.event_shape))))

    def initialize(self, mean: Tensor) -> None:
        """Initialize the rates to the mean of the data, shape event_shape."""
        log_rate = mean.clamp_min(SMALLEST_MEAN).log()
        if self.takes_total:
            self.mean_total.copy_(mean.sum())
        elif isinstance(self.exposure, int | float):
            log_rate = log_rate - math.log(self.exposure)
        self.start_at(log_rate)

    def rate(self, raw: Tensor, total: Tensor | None) -> Tensor:
        r"""Return the rates, kept above 0, from the network's output.

        Args:
            raw: shape (\*batch, \*event_shape).
            total: shape (\*batch,), for an observed exposure; ``None`` for the mean total.
        """
        if self.takes_total:
            event_dim = len(self.event_shape)
            shares = raw.flatten(-event_dim).softmax(-1).reshape(raw.shape)
            total = self.mean_total if total is None else total
            rate = total.reshape(*total.shape, *(1 for _ in range(event_dim))) * shares
        else:
            rate = raw.exp()
            if isinstance(self.exposure, int | float):
                rate = self.exposure * rate
        return rate.clamp_min(SMALLEST_RATE)
