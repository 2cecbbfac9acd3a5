"""Distributions over sequences of which only the first steps are observed."""

from collections.abc import Sequence
from typing import Any

from pyro.distributions import Independent, TorchDistribution
from torch import Size, Tensor
from torch.distributions import constraints

from pvae.messages import kind_of


def padding(x: Tensor, event_dim: int) -> Tensor:
    r"""Return which steps pad sequences: those at the end whose values are all NaN.

    Args:
        x: shape (\*batch, T, ...).
        event_dim: the number of dimensions from T on.

    Returns:
        Booleans of the shape of x up to T, then ones.

    Example:
        >>> import torch
        >>> from pvae.distributions.padded import padding
        >>> nan = torch.nan
        >>> padding(torch.tensor([[nan, 1.0], [nan, 2.0], [nan, nan], [nan, nan]]), 2).squeeze(-1)
        tensor([False, False,  True,  True])
    """
    empty = x.isnan().flatten(x.dim() - event_dim + 1) if event_dim > 1 else x.isnan().unsqueeze(-1)
    steps = empty.all(-1).flip(-1).to(x.dtype).cumprod(-1).flip(-1) > 0
    return steps[(..., *(None,) * (event_dim - 1))]


def check_lengths(pads: Tensor) -> None:
    r"""Raise for a sequence of which all steps pad.

    Args:
        pads: which steps pad, shape (n, T), see `padding`.

    Raises:
        ValueError: if one has length 0.
    """
    empty = pads.all(1).nonzero()
    if len(empty):
        raise ValueError(
            f"Sequence {int(empty[0])} has length 0, every value being NaN: give it a step at "
            "least, or leave it out."
        )


class _WithPadding(constraints.Constraint):
    """Sequences of which all steps but the padding lie in the support of an element."""

    def __init__(self, each: constraints.Constraint, event_dim: int) -> None:
        self.each, self.event_dim, self.is_discrete = each, event_dim, each.is_discrete
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        inside = self.each.check(value) | padding(value, self.event_dim)
        return inside.flatten(value.dim() - self.event_dim).all(-1)


class Padded(TorchDistribution):
    r"""A distribution of independent elements, over sequences that NaN pads to one length.

    .. math::
        \log p(x) = \sum_{t \le T(x)} \log p(x_t)

    with T(x) the length of x. Draws have all steps, and so does the mean.

    Args:
        base: a distribution over sequences, of independent elements.
        valid: any value in the support of an element, which stands for the padding.

    Shape:
        values of (\*batch, T, ...).

    Raises:
        ValueError: if the elements are not independent.

    Example:
        >>> import pyro.distributions as dist, torch
        >>> from pvae.distributions import Padded
        >>> p = Padded(dist.Normal(torch.zeros(3), 1.0).to_event(1))
        >>> p.log_prob(torch.tensor([0.0, 0.0, torch.nan])) == 2 * dist.Normal(0.0, 1.0).log_prob(
        ...     torch.tensor(0.0)
        ... )
        tensor(True)
    """

    arg_constraints = {}  # noqa: RUF012  (torch's convention)

    def __init__(
        self, base: TorchDistribution, valid: float = 1.0, validate_args: bool | None = None
    ) -> None:
        each: Any = base
        while isinstance(each, Independent):
            each = each.base_dist
        if each.event_shape:
            raise ValueError(
                f"A Padded distribution is of independent elements, and {kind_of(base)} scores "
                "all elements at once: choose another."
            )
        self.base_dist, self.each, self.valid = base, each, valid
        self.has_rsample = base.has_rsample
        super().__init__(base.batch_shape, base.event_shape, validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """Sequences of values in the support of an element, and padding."""
        return _WithPadding(self.each.support, len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        """The mean of all steps."""
        return self.base_dist.mean

    @property
    def variance(self) -> Tensor:
        """The variance of all steps."""
        return self.base_dist.variance

    def rsample(self, sample_shape: Sequence[int] = Size()) -> Tensor:
        """Draw all steps, with gradients."""
        return self.base_dist.rsample(Size(sample_shape))

    def sample(self, sample_shape: Sequence[int] = Size()) -> Tensor:
        """Draw all steps."""
        return self.base_dist.sample(Size(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of the steps that do not pad."""
        event_dim = len(self.event_shape)
        pads = padding(value, event_dim)
        scores = self.each.log_prob(value.masked_fill(pads, self.valid))
        return scores.masked_fill(pads, 0.0).flatten(scores.dim() - event_dim).sum(-1)

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "Padded":
        """Return the distribution with a larger batch shape."""
        return Padded(self.base_dist.expand(Size(batch_shape)), self.valid, self._validate_args)
