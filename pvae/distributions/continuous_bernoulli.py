"""The continuous Bernoulli distribution, exact at any logit."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints, register_kl

_NEAR = 0.05  # below it a series replaces 0 / 0; its next term is negligible in float64


class ContinuousBernoulli(dist.TorchDistribution):
    r"""A density on [0, 1] that is log-linear (Loaiza-Ganem and Cunningham 2019).

    .. math::
        p(x) = C(\ell)\, p^x (1 - p)^{1 - x}
             = \exp\left(\ell (x - \tfrac12) - \log \frac{\sinh(\ell/2)}{\ell/2}\right),
        \qquad \ell = \operatorname{logit} p

    torch's distribution of this name clamps p to within the precision of its dtype of 0 and 1, so
    that in float32, from logits of ±16 on, its density does not integrate to one and its mean
    stays above 1/16. This one has no such limit.

    Args:
        logits: the logit of p, of any shape.

    Example:
        >>> import torch
        >>> from pvae.distributions import ContinuousBernoulli
        >>> ContinuousBernoulli(torch.tensor([-100.0, 0.0])).mean
        tensor([0.0100, 0.5000])
    """

    arg_constraints = {"logits": constraints.real}  # noqa: RUF012  (torch's convention)
    support = constraints.unit_interval

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        self.logits = logits
        super().__init__(logits.shape, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "ContinuousBernoulli":
        """Return the distribution with another batch shape."""
        new = self._get_checked_instance(ContinuousBernoulli, _instance)
        new.logits = self.logits.expand(batch_shape)
        super(ContinuousBernoulli, new).__init__(new.logits.shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(value)."""
        if self._validate_args:
            self._validate_sample(value)
        return self.logits * (value - 0.5) - self._log_normalizer

    def sample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Draw by inversion, from the end where most of the mass lies."""
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            u = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
            steepness = self.logits.abs().clamp_min(1e-30)
            x = torch.log1p(u * torch.expm1(-steepness)) / -steepness
            return torch.where(self.logits > 0, 1 - x, x)

    @property
    def mean(self) -> Tensor:
        """The mean, the derivative of the log-normalizer."""
        far, h = self._halves()
        near = h / 3 - h**3 / 45 + 2 * h**5 / 945
        return (1 + torch.where(h.abs() < _NEAR, near, 1 / far.tanh() - 1 / far)) / 2

    @property
    def variance(self) -> Tensor:
        """The variance, the second derivative of the log-normalizer."""
        far, h = self._halves()
        near = 1 / 3 - h**2 / 15 + 2 * h**4 / 189
        # 1 / sinh(h)^2, written so as not to overflow
        decay = torch.exp(-2 * far.abs())
        sinh = 4 * decay / (1 - decay) ** 2
        return torch.where(h.abs() < _NEAR, near, 1 / far**2 - sinh) / 4

    def entropy(self) -> Tensor:
        """Return the differential entropy."""
        return self._log_normalizer - self.logits * (self.mean - 0.5)

    @property
    def _log_normalizer(self) -> Tensor:
        far, h = self._halves()
        far = far.abs()
        near = h**2 / 6 - h**4 / 180 + h**6 / 2835
        return torch.where(
            h.abs() < _NEAR, near, far + torch.log1p(-torch.exp(-2 * far)) - (2 * far).log()
        )

    def _halves(self) -> tuple[Tensor, Tensor]:
        """Half the logits, first clamped to where the closed forms have a gradient."""
        h = self.logits / 2
        return torch.where(h.abs() < _NEAR, torch.ones_like(h), h), h


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _kl(p: ContinuousBernoulli, q: ContinuousBernoulli) -> Tensor:
    return (p.logits - q.logits) * (p.mean - 0.5) - p._log_normalizer + q._log_normalizer
