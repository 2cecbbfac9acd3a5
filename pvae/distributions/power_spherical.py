"""The power spherical distribution."""

import math
from collections.abc import Sequence

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.distributions.kl import register_kl
from torch.nn.functional import normalize

from pvae.distributions.hyperspherical_uniform import HypersphericalUniform


class PowerSpherical(TorchDistribution):
    r"""A distribution on the unit sphere in d dimensions around a direction (De Cao and Aziz 2020).

    .. math::
        \log p(z) = \kappa \log(1 + \mu^T z) - \log N, \quad
        N = 2^{\alpha + \beta} \pi^\beta\, \frac{\Gamma(\alpha)}{\Gamma(\alpha + \beta)}, \quad
        \alpha = \beta + \kappa,\ \beta = \frac{d - 1}{2}

    The cosine mu^T z is 2 b - 1 with b of Beta(alpha, beta), so draws need no rejection, and the
    entropy and the KL to the uniform distribution are in closed form.

    Args:
        loc: mu, of length 1, shape (\*batch, d) with d at least 2.
        concentration: kappa, positive, shape batch.

    Shape:
        values of (\*batch, d), of length 1.

    Raises:
        ValueError: if d is below 2, mu is not of length 1, kappa is not positive, or values off
            the sphere are scored.

    Example:
        >>> import torch
        >>> from pvae.distributions import PowerSpherical
        >>> PowerSpherical(torch.tensor([0.0, 0.0, 1.0]), torch.tensor(2.0)).mean
        tensor([0.0000, 0.0000, 0.5000])
    """

    arg_constraints = {  # noqa: RUF012
        "loc": constraints.sphere,
        "concentration": constraints.positive,
    }
    support = constraints.sphere
    has_rsample = True

    def __init__(
        self, loc: Tensor, concentration: Tensor, validate_args: bool | None = None
    ) -> None:
        if loc.shape[-1:].numel() < 2:
            raise ValueError(
                f"loc has shape {tuple(loc.shape)}: expected (*batch, d) with d at least 2."
            )
        batch_shape = torch.broadcast_shapes(loc.shape[:-1], concentration.shape)
        self.loc = loc.expand(*batch_shape, -1)
        self.concentration = concentration.expand(batch_shape)
        super().__init__(batch_shape, loc.shape[-1:], validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        """The mean vector, inside the sphere: mu (alpha - beta) / (alpha + beta)."""
        alpha, beta = self._beta_parameters()
        return self.loc * ((alpha - beta) / (alpha + beta)).unsqueeze(-1)

    def entropy(self) -> Tensor:
        """The differential entropy with respect to the area of the sphere."""
        alpha, beta = self._beta_parameters()
        cosine = math.log(2) + torch.digamma(alpha) - torch.digamma(alpha + beta)
        return self._log_normalizer() - self.concentration * cosine

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density with respect to the area of the sphere."""
        if self._validate_args:
            self._validate_sample(value)
        cosine = (self.loc * value).sum(-1).clamp_min(torch.finfo(value.dtype).eps - 1)
        return self.concentration * cosine.log1p() - self._log_normalizer()

    def rsample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Draw around the first axis, and reflect that to mu."""
        mu, shape = self.loc, self._extended_shape(torch.Size(sample_shape))
        # A Dirichlet returns 1 - b as well, without rounding for b near 1.
        halves = dist.Dirichlet(torch.stack(self._beta_parameters(), -1)).rsample(
            torch.Size(sample_shape)
        )
        b, one_less_b = halves.unbind(-1)
        tiny = torch.finfo(mu.dtype).tiny
        sine = 2 * (b * one_less_b).clamp_min(tiny).sqrt()
        noise = torch.randn(*shape[:-1], shape[-1] - 1, dtype=mu.dtype, device=mu.device)
        y = torch.cat(
            ((b - one_less_b).unsqueeze(-1), sine.unsqueeze(-1) * normalize(noise, dim=-1)), -1
        )
        # Reflection along mu + s e_1 maps e_1 to -s mu. With s the sign of mu_1 nothing cancels,
        # and the reflection is defined for every mu.
        first = mu[..., :1]
        s = torch.where(first < 0, -torch.ones_like(first), torch.ones_like(first))
        along = torch.cat((first + s, mu[..., 1:]), -1)
        reflected = y - along * (along * y).sum(-1, keepdim=True) / (1 + first.abs())
        return normalize(-s * reflected, dim=-1)

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "PowerSpherical":
        """Return the distribution with a larger batch shape."""
        new = self._get_checked_instance(PowerSpherical, _instance)
        batch_shape = torch.Size(batch_shape)
        new.loc = self.loc.expand(batch_shape + self.event_shape)
        new.concentration = self.concentration.expand(batch_shape)
        super(PowerSpherical, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _beta_parameters(self) -> tuple[Tensor, Tensor]:
        beta = torch.full_like(self.concentration, (self.event_shape[0] - 1) / 2)
        return beta + self.concentration, beta

    def _log_normalizer(self) -> Tensor:
        alpha, beta = self._beta_parameters()
        powers = (alpha + beta) * math.log(2) + beta * math.log(math.pi)
        return powers + torch.lgamma(alpha) - torch.lgamma(alpha + beta)


@register_kl(PowerSpherical, HypersphericalUniform)
def _kl(p: PowerSpherical, q: HypersphericalUniform) -> Tensor:
    return q.entropy() - p.entropy()
