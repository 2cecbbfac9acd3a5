"""Groups of one-hot variables, exact or relaxed."""

import math
from collections.abc import Sequence

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.distributions.kl import register_kl
from torch.distributions.utils import clamp_probs


class _Simplices(constraints.Constraint):
    """Groups of probabilities, flattened: each group is at least 0 and sums to 1.

    Distributions with this support have their mass at the vertices: one number of a group is 1.

    Args:
        groups: the number of simplices.
    """

    event_dim = 1

    def __init__(self, groups: int) -> None:
        self.groups = groups

    def check(self, value: Tensor) -> Tensor:
        """Return for which elements of the batch the value is inside."""
        value = value.unflatten(-1, (self.groups, -1))
        rounding = 4 * math.sqrt(value.shape[-1]) * torch.finfo(value.dtype).eps
        inside = (value >= 0).all(-1) & ((value.sum(-1) - 1).abs() <= rounding)
        return inside.all(-1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Simplices) and self.groups == other.groups

    def __hash__(self) -> int:
        return hash((_Simplices, self.groups))


class RelaxedOneHot(TorchDistribution):
    r"""Independent one-hot variables of K categories each, flattened to one vector.

    .. math::
        \log p(z) = \sum_g \sum_k z_{gk} \log p_{gk}

    This is the exact mass at the vertices, where every z_g is one-hot, and its linear extension
    between them (Jang et al. 2017), **not a density** there: the masses of the vertices sum to 1.

    `sample` draws vertices. With a temperature t there is also `rsample`, the relaxation of Jang
    et al. (2017) and Maddison et al. (2017),

    .. math::
        z_g = \mathrm{softmax}((\log p_g + \text{Gumbel noise}) / t),

    which has gradients in p. They are biased; a lower t reduces the bias and increases the
    variance. With ``straight_through`` values are the nearest vertices, and only the gradients are
    relaxed.

    The KL of two is the exact one of the one-hot variables, for any temperatures.

    Args:
        logits: log p up to a constant for each group, shape (\*batch, groups, K).
        temperature: t, a positive number as a tensor of shape (); ``None`` for no relaxation.
        straight_through: whether `rsample` returns vertices.

    Shape:
        values of (\*batch, groups * K).

    Raises:
        ValueError: if logits have no groups, or values outside the simplices are scored.

    Example:
        >>> import torch
        >>> from pvae.distributions import RelaxedOneHot
        >>> p = RelaxedOneHot(torch.zeros(5, 3, 4))  # 3 variables of 4 categories each
        >>> p.event_shape, p.entropy()[0] / 3
        (torch.Size([12]), tensor(1.3863))
    """

    arg_constraints = {"logits": constraints.independent(constraints.real, 2)}  # noqa: RUF012

    def __init__(
        self,
        logits: Tensor,
        temperature: Tensor | None = None,
        straight_through: bool = False,
        validate_args: bool | None = None,
    ) -> None:
        if logits.dim() < 2:
            raise ValueError(
                f"logits have shape {tuple(logits.shape)}: expected (*batch, groups, K)."
            )
        self.logits = logits.log_softmax(-1)
        self.temperature = temperature
        self.straight_through = straight_through
        batch_shape, event_shape = logits.shape[:-2], (logits.shape[-2] * logits.shape[-1],)
        super().__init__(batch_shape, torch.Size(event_shape), validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> _Simplices:
        """The simplices, which have the mass at their vertices."""
        return _Simplices(self.logits.shape[-2])

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]  # as in torch's Independent
        """Whether there is a temperature to relax with."""
        return self.temperature is not None

    @property
    def probs(self) -> Tensor:
        r"""The probabilities p, shape (\*batch, groups, K)."""
        return self.logits.exp()

    @property
    def mean(self) -> Tensor:
        r"""The probabilities, flattened, shape (\*batch, groups * K)."""
        return self.probs.flatten(-2)

    @property
    def variance(self) -> Tensor:
        """p (1 - p)."""
        return self.mean * (1 - self.mean)

    def entropy(self) -> Tensor:
        """The entropy of the one-hot variables, in nats."""
        return -(self.probs * self.logits).sum((-2, -1))

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-mass at vertices, and its linear extension between them."""
        if self._validate_args:
            self._validate_sample(value)
        return (value * self.logits.flatten(-2)).sum(-1)

    def sample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Draw vertices, exactly, by the largest of log p with Gumbel noise."""
        with torch.no_grad():
            return _nearest_vertices(self._perturbed(sample_shape)).flatten(-2)

    def rsample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Draw relaxed values, or vertices with relaxed gradients.

        Raises:
            NotImplementedError: if there is no temperature.
        """
        if self.temperature is None:
            raise NotImplementedError("RelaxedOneHot has an rsample only with a temperature.")
        z = (self._perturbed(sample_shape) / self.temperature).softmax(-1)
        if self.straight_through:
            z = _nearest_vertices(z) + (z - z.detach())
        return z.flatten(-2)

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "RelaxedOneHot":
        """Return the distribution with a larger batch shape."""
        new = self._get_checked_instance(RelaxedOneHot, _instance)
        batch_shape = torch.Size(batch_shape)
        new.logits = self.logits.expand(batch_shape + self.logits.shape[-2:])
        new.temperature, new.straight_through = self.temperature, self.straight_through
        super(RelaxedOneHot, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _perturbed(self, sample_shape: Sequence[int]) -> Tensor:
        shape = torch.Size(sample_shape) + self.logits.shape
        u = clamp_probs(torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device))
        return self.logits - (-u.log()).log()


def _nearest_vertices(z: Tensor) -> Tensor:
    return torch.zeros_like(z).scatter_(-1, z.argmax(-1, keepdim=True), 1.0)


@register_kl(RelaxedOneHot, RelaxedOneHot)
def _kl(p: RelaxedOneHot, q: RelaxedOneHot) -> Tensor:
    if p.logits.shape[-2:] != q.logits.shape[-2:]:
        raise ValueError(
            f"One has {p.logits.shape[-2]} groups of {p.logits.shape[-1]} categories, the other "
            f"{q.logits.shape[-2]} of {q.logits.shape[-1]}: they must be equal."
        )
    return (p.probs * (p.logits - q.logits)).sum((-2, -1))
