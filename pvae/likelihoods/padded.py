"""A likelihood of sequences of several lengths."""

from collections.abc import Callable

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pvae import distributions
from pvae.annotations import Likelihood, NetworkOrFactory, Shape
from pvae.data.domains import domain_of
from pvae.interfaces import Domain, option
from pvae.likelihoods.gaussian import Gaussian

MIDDLE = 0.5  # a value of the open unit interval; of all other domains 1 is one


class Padded(nn.Module):
    r"""Another likelihood, of sequences of several lengths that NaN pads to one.

    .. math::
        \log p(x|z) = \sum_{t \le T(x)} \log p(x_t|z)

    The padding of a sequence x, its last steps (along the first dimension) whose values are all
    NaN, counts for nothing. Encoders of sequences, `pvae.networks.GRU`, do not read it; others are
    given zeros there. Means and draws have all steps.

    z knows no length: the latents of padded steps are drawn and scored as all others, and what a
    posterior has learned of them badly it pays for in the KL. Only `pvae.posteriors.Smoothing` with
    a `pvae.priors.StateSpace` draws them from the prior, at no cost.

    Args:
        latent_dim: the number of latents d.
        event_shape: event shape of x, (T, D) for up to T steps of D values.
        network: as of the likelihood.
        likelihood: p(x|z) of all steps, called as ``likelihood(latent_dim, event_shape,
            network=...)``: one of independent elements; ``None`` for a `Gaussian`.

    Shape:
        z of (\*batch, d) to a distribution of batch shape batch and event shape event_shape.

    Raises:
        ValueError: if the likelihood scores all elements at once, or raises.

    Example:
        >>> import torch
        >>> from pvae.likelihoods import Padded
        >>> x = torch.zeros(24, 5)
        >>> x[10:] = torch.nan
        >>> bool(Padded(2, (24, 5))(torch.zeros(2)).log_prob(x).isfinite())
        True
    """

    padded = True

    def __init__(
        self,
        latent_dim: int,
        event_shape: Shape,
        network: NetworkOrFactory | None = None,
        likelihood: Callable[[int, Shape], Likelihood] | None = None,
    ) -> None:
        super().__init__()
        # It takes a network as well, which the type that the command line reads does not say.
        make: Callable[..., Likelihood] = likelihood or Gaussian
        self.likelihood = make(latent_dim, event_shape, network=network)
        if option(self.likelihood, "takes_total"):
            raise ValueError(
                f"{type(self.likelihood).__name__} takes the total of each sequence, which padding "
                "has no part in: choose a likelihood of independent elements."
            )
        self.valid = MIDDLE if self.domain == "open unit interval" else 1.0

    @property
    def network(self) -> nn.Module:
        """The decoder."""
        return option(self.likelihood, "network")

    @property
    def domain(self) -> Domain:
        """The domain of x."""
        return domain_of(self.likelihood)

    @property
    def levels(self) -> int | None:
        """The number of levels of a value, if the domain is bytes."""
        return option(self.likelihood, "levels")

    @property
    def relaxed(self) -> bool:
        """Whether it is a reconstruction loss rather than a density."""
        return option(self.likelihood, "relaxed")

    def initialize(self, mean: Tensor) -> None:
        """Initialize the mean to that of the data, NaN at steps that no sequence has."""
        if initialize := option(self.likelihood, "initialize"):
            over_steps = mean.nanmean(0, keepdim=True).expand_as(mean)
            initialize(torch.where(mean.isnan(), over_steps, mean))

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """Return p(x|z)."""
        return distributions.Padded(self.likelihood(z), self.valid)
