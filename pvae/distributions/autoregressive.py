"""Autoregressive distributions: products of conditionals, each given the dimensions before it."""

from collections.abc import Callable, Sequence

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor


class Autoregressive(TorchDistribution):
    r"""A distribution with all conditionals given by one function.

    .. math::
        p(z) = \prod_i p(z_i | z_1, \ldots, z_{i-1})

    A density takes one call of the function, a draw one call for each dimension.

    Args:
        conditionals: maps z of shape (\*batch, d) to a distribution of batch shape (\*batch, d)
            over real numbers, the i-th of which depends only on the first i - 1 of z.
        start: any z, shape (\*batch, d), for the batch shape, d, the device and the dtype.

    Shape:
        values of (\*batch, d).

    Example:
        >>> import pyro.distributions as dist, torch
        >>> from pvae.distributions import Autoregressive
        >>> def walk(z):
        ...     return dist.Normal(torch.nn.functional.pad(z[..., :-1], (1, 0)), 1.0)
        >>> p = Autoregressive(walk, torch.zeros(100))
        >>> p.sample((5,)).shape
        torch.Size([5, 100])
    """

    arg_constraints = {}  # noqa: RUF012
    support = constraints.real_vector

    def __init__(
        self,
        conditionals: Callable[[Tensor], TorchDistribution],
        start: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        self.conditionals = conditionals
        self.start = start
        super().__init__(start.shape[:-1], start.shape[-1:], validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        """Sum the log-densities of the conditionals at the value."""
        if self._validate_args:
            self._validate_sample(value)
        value = value.expand(torch.broadcast_shapes(value.shape, self.start.shape))
        return self.conditionals(value).log_prob(value).sum(-1)

    def sample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Draw one dimension after the other."""
        with torch.no_grad():
            z = self.start.expand(self._extended_shape(torch.Size(sample_shape))).clone()
            for i in range(z.shape[-1]):
                z[..., i] = self.conditionals(z).sample()[..., i]
            return z

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "Autoregressive":
        """Return the distribution with a larger batch shape."""
        new = self._get_checked_instance(Autoregressive, _instance)
        batch_shape = torch.Size(batch_shape)
        new.conditionals = self.conditionals
        new.start = self.start.expand(batch_shape + self.event_shape)
        super(Autoregressive, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new
