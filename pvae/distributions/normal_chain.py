"""Markov chains of normals: each state a diagonal normal given the one before it."""

from collections.abc import Callable, Sequence

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Size, Tensor
from torch.distributions import Normal
from torch.nn.functional import softplus

SMALLEST_VARIANCE = 1e-6

Transition = Callable[..., tuple[Tensor, Tensor]]


def mean_and_scale(raw: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return mean and scale of states from what a network returns for them.

    Args:
        raw: the mean, and the variance before the softplus, shape (\*batch, 2 d).

    Returns:
        Both of shape (\*batch, d); the variance is at least 1e-6.
    """
    loc, variance = raw.chunk(2, -1)
    return loc, (SMALLEST_VARIANCE + softplus(variance)).sqrt()


class NormalChain(TorchDistribution):
    r"""A distribution over T states, each a diagonal normal given the state before it.

    .. math::
        p(z) = N(z_1; \mu_1, \mathrm{diag}\, \sigma_1^2) \prod_{t=2}^T
        N\bigl(z_t; \mu(z_{t-1}, c_t), \mathrm{diag}\, \sigma(z_{t-1}, c_t)^2\bigr)

    A value is one vector, the states one after the other. A density takes one call of the
    transition, for all steps at once; a draw takes one call for each step, so that whatever does
    not depend on z should be part of the context.

    Args:
        transition: maps states z_(t-1), shape (\*batch, d), and the tensors of c_t, each of shape
            (\*batch, h), to mean and scale of z_t, each (\*batch, d); ``None`` for one state.
        loc: the mean of the first state, shape (\*batch, d).
        scale: its scale, the same shape.
        steps: the number of states T.
        *context: the tensors of c_2, ..., c_T, each of shape (\*batch, T - 1, h).
        validate_args: as of every distribution.

    Shape:
        values of (\*batch, T d).

    Example:
        >>> import torch
        >>> from pvae.distributions import NormalChain
        >>> def walk(z):
        ...     return z, torch.ones_like(z)
        >>> p = NormalChain(walk, torch.zeros(2), torch.ones(2), steps=100)
        >>> p.sample((5,)).shape
        torch.Size([5, 200])
    """

    arg_constraints = {}  # noqa: RUF012  (torch's convention)
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        transition: Transition | None,
        loc: Tensor,
        scale: Tensor,
        steps: int,
        *context: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        self.transition, self.context, self.steps = transition, context, steps
        self.loc, self.scale = loc, scale
        super().__init__(loc.shape[:-1], Size([steps * loc.shape[-1]]), validate_args=validate_args)

    def rsample(self, sample_shape: Sequence[int] = Size()) -> Tensor:
        """Draw one state after the other, with gradients."""
        batch = self._extended_shape(Size(sample_shape))[:-1]
        loc, scale = self.loc.expand(*batch, -1), self.scale
        states = [loc + scale * torch.randn_like(loc)]
        # Slices of each step would each have a gradient of the size of the whole context.
        contexts = zip(*(c.unbind(-2) for c in self.context), strict=True)
        for context in contexts if self.context else [()] * (self.steps - 1):
            assert self.transition is not None
            loc, scale = self.transition(states[-1], *context)
            states.append(torch.addcmul(loc, scale, torch.randn_like(loc)))
        return torch.cat(states, -1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density, the sum over the states."""
        if self._validate_args:
            self._validate_sample(value)
        states = value.unflatten(-1, (self.steps, -1))
        first = Normal(self.loc, self.scale, validate_args=False)
        found = first.log_prob(states[..., 0, :]).sum(-1)
        if self.steps == 1 or self.transition is None:
            return found
        others = Normal(*self.transition(states[..., :-1, :], *self.context), validate_args=False)
        return found + others.log_prob(states[..., 1:, :]).sum((-2, -1))

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "NormalChain":
        """Return the distribution with a larger batch shape."""
        new = self._get_checked_instance(NormalChain, _instance)
        batch_shape = Size(batch_shape)
        new.transition, new.steps = self.transition, self.steps
        new.loc, new.scale = (x.expand(*batch_shape, -1) for x in (self.loc, self.scale))
        new.context = tuple(c.expand(*batch_shape, *c.shape[-2:]) for c in self.context)
        super(NormalChain, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new
