"""Bernoulli variables, exact or relaxed."""

from collections.abc import Sequence

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.distributions.kl import register_kl
from torch.distributions.utils import clamp_probs
from torch.nn.functional import logsigmoid, softplus


class _Cube(constraints.Constraint):
    """Vectors of numbers in [0, 1].

    Distributions with this support have their mass at the vertices, where all numbers are 0 or 1.
    """

    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        """Return for which elements of the batch the value is inside."""
        return ((value >= 0) & (value <= 1)).all(-1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Cube)

    def __hash__(self) -> int:
        return hash(_Cube)


class RelaxedBernoulli(TorchDistribution):
    r"""Independent Bernoulli variables, with a relaxation.

    .. math::
        \log p(z) = \sum_i z_i \log p_i + (1 - z_i) \log(1 - p_i)

    This is the exact mass where every z is 0 or 1, and its linear extension between, **not a
    density** there: the masses of the vertices sum to 1.

    `sample` draws vertices. With a temperature t there is also `rsample`, the binary Concrete
    relaxation of Maddison et al. (2017),

    .. math::
        z_i = \mathrm{sigmoid}((\mathrm{logit}\, p_i + \text{logistic noise}) / t),

    which has gradients in p. They are biased; a lower t reduces the bias and increases the
    variance. With ``straight_through`` values are rounded to 0 or 1, and only the gradients are
    relaxed (Bengio et al. 2013; Jang et al. 2017).

    The KL of two is the exact one of the Bernoulli variables, for any temperatures.

    Args:
        logits: logit p for each variable, shape (\*batch, d).
        temperature: t, a positive number as a tensor of shape (); ``None`` for no relaxation.
        straight_through: whether `rsample` returns vertices.

    Shape:
        values of (\*batch, d).

    Raises:
        ValueError: if logits are of shape (), or values outside [0, 1] are scored.

    Example:
        >>> import torch
        >>> from pvae.distributions import RelaxedBernoulli
        >>> p = RelaxedBernoulli(torch.zeros(5, 3))
        >>> p.event_shape, p.log_prob(torch.ones(3))[0] / 3
        (torch.Size([3]), tensor(-0.6931))
    """

    arg_constraints = {"logits": constraints.real_vector}  # noqa: RUF012
    support = _Cube()

    def __init__(
        self,
        logits: Tensor,
        temperature: Tensor | None = None,
        straight_through: bool = False,
        validate_args: bool | None = None,
    ) -> None:
        if logits.dim() < 1:
            raise ValueError("logits have shape (): expected (*batch, d).")
        self.logits = logits
        self.temperature = temperature
        self.straight_through = straight_through
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=validate_args)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]  # as in torch's Independent
        """Whether there is a temperature to relax with."""
        return self.temperature is not None

    @property
    def mean(self) -> Tensor:
        """The probabilities p."""
        return self.logits.sigmoid()

    @property
    def variance(self) -> Tensor:
        """p (1 - p)."""
        return self.mean * (1 - self.mean)

    def entropy(self) -> Tensor:
        """The entropy of the Bernoulli variables, in nats."""
        return (softplus(self.logits) - self.mean * self.logits).sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-mass at vertices, and its linear extension between them."""
        if self._validate_args:
            self._validate_sample(value)
        return (value * self.logits - softplus(self.logits)).sum(-1)

    def sample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Draw vertices, exactly."""
        with torch.no_grad():
            return torch.bernoulli(self.mean.expand(self._extended_shape(torch.Size(sample_shape))))

    def rsample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Draw relaxed values, or vertices with relaxed gradients.

        Raises:
            NotImplementedError: if there is no temperature.
        """
        if self.temperature is None:
            raise NotImplementedError("RelaxedBernoulli has an rsample only with a temperature.")
        shape = self._extended_shape(torch.Size(sample_shape))
        u = clamp_probs(torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device))
        z = ((self.logits + u.logit()) / self.temperature).sigmoid()
        if self.straight_through:
            z = (z > 0.5).to(z.dtype) + (z - z.detach())
        return z

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "RelaxedBernoulli":
        """Return the distribution with a larger batch shape."""
        new = self._get_checked_instance(RelaxedBernoulli, _instance)
        batch_shape = torch.Size(batch_shape)
        new.logits = self.logits.expand(batch_shape + self.event_shape)
        new.temperature, new.straight_through = self.temperature, self.straight_through
        super(RelaxedBernoulli, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new


@register_kl(RelaxedBernoulli, RelaxedBernoulli)
def _kl(p: RelaxedBernoulli, q: RelaxedBernoulli) -> Tensor:
    heads = logsigmoid(p.logits) - logsigmoid(q.logits)
    tails = logsigmoid(-p.logits) - logsigmoid(-q.logits)
    return (p.mean * heads + (1 - p.mean) * tails).sum(-1)
