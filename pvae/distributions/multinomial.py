"""The multinomial distribution, with a total for each datum."""

import math
from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints


class Multinomial(dist.TorchDistribution):
    r"""Counts with a given sum (torch's class has one sum for the whole batch).

    .. math::
        p(x) = \frac{n!}{\prod_i x_i!} \prod_i p_i^{x_i}, \qquad n = \sum_i x_i

    The probabilities are the softmax of the logits over the whole event. `log_prob` takes the sum
    from the counts; only samples, mean and variance use ``total``.

    Args:
        total: the sum of the counts, of shape batch; `sample` rounds it to whole numbers.
        logits: unnormalized log-probabilities, of shape (\*batch, \*event).
        event_dim: the number of dimensions of the event.

    Example:
        >>> import torch
        >>> from pvae.distributions import Multinomial
        >>> Multinomial(torch.tensor([3.0, 50.0]), torch.zeros(2, 7)).sample().sum(-1)
        tensor([ 3., 50.])
    """

    arg_constraints = {"total": constraints.nonnegative}  # noqa: RUF012  (torch's convention)

    def __init__(
        self,
        total: Tensor,
        logits: Tensor,
        event_dim: int = 1,
        validate_args: bool | None = None,
    ) -> None:
        split = logits.dim() - event_dim
        event_shape = logits.shape[split:]
        batch_shape = torch.broadcast_shapes(total.shape, logits.shape[:split])
        self.total = total.expand(batch_shape)
        flat = logits.flatten(split).log_softmax(-1).reshape(logits.shape)
        self.logits = flat.expand(batch_shape + event_shape)
        super().__init__(batch_shape, event_shape, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "Multinomial":
        """Return the distribution with another batch shape."""
        new = self._get_checked_instance(Multinomial, _instance)
        batch_shape = torch.Size(batch_shape)
        new.total = self.total.expand(batch_shape)
        new.logits = self.logits.expand(batch_shape + self.event_shape)
        super(Multinomial, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @constraints.dependent_property(is_discrete=True)
    def support(self) -> constraints.Constraint:
        """Whole numbers from 0."""
        return constraints.independent(constraints.nonnegative_integer, len(self.event_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(value) given the sum of value."""
        if self._validate_args:
            self._validate_sample(value)
        dims = self._event_dims
        orders = torch.lgamma(value.sum(dims) + 1) - torch.lgamma(value + 1).sum(dims)
        return orders + (value * self.logits).sum(dims)

    def sample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Draw counts that sum to the total."""
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            lead = shape[: len(shape) - len(self.event_shape)]
            total = self.total.round().expand(lead).reshape(-1, 1)
            if total.numel() == 0 or total.max() < 1:
                return self.logits.new_zeros(shape)
            probs = self.probs.expand(shape).reshape(len(total), math.prod(self.event_shape))
            most = int(total.max())
            drawn = torch.multinomial(probs, most, replacement=True)
            wanted = torch.arange(most, device=total.device) < total
            return torch.zeros_like(probs).scatter_add_(1, drawn, wanted.to(probs)).reshape(shape)

    @property
    def probs(self) -> Tensor:
        """The probabilities, which sum to one over the event."""
        return self.logits.exp()

    @property
    def mean(self) -> Tensor:
        """The mean counts, which sum to the total."""
        return self._total * self.probs

    @property
    def variance(self) -> Tensor:
        """The variance of each count."""
        return self.mean * (1 - self.probs)

    @property
    def _total(self) -> Tensor:
        return self.total.reshape(*self.batch_shape, *(1 for _ in self.event_shape))

    @property
    def _event_dims(self) -> tuple[int, ...]:
        return tuple(range(-len(self.event_shape), 0))
