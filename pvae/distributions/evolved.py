"""A distribution of draws that evolve by random or deterministic steps, scored with these."""

from collections.abc import Callable, Sequence

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor


class Evolved(TorchDistribution):
    r"""Draws of a base distribution that evolve, scored on the space extended by what they pass.

    From z_0 of the base a draw z and auxiliary variables a come about, with density q(z, a), and
    there is a density r(a | z) that tells what a would be, given z. The score of a draw is

    .. math::
        \log q(z, a) - \log r(a | z),

    whose exponential with a minus sign has the expectation 1 / q(z) given z. Used in the place of
    log q(z), as in an ELBO or an importance weight, it leaves bounds valid and estimates of
    evidence without bias; the bound is lower by the divergence of the two densities of a.

    Only the latest draw is scored: the path to another point is unknown. With gradients enabled, a
    draw that was made without is not scored, since it would have none.

    Args:
        base: the distribution of z_0, of event shape (d,), with `rsample`.
        evolve: maps z_0 of shape (\*batch, d) to z of this shape, and the score less log q(z_0),
            shape batch.

    Shape:
        values of (\*batch, d).

    Raises:
        NotImplementedError: if another value than the latest draw is scored.

    Example:
        >>> import pyro.distributions as dist, torch
        >>> from pvae.distributions import Evolved
        >>> base = dist.Normal(torch.zeros(2), 1.0).to_event(1)
        >>> q = Evolved(base, lambda z: (2 * z, -z.new_full(z.shape[:-1], 2).log() * 2))
        >>> z = q.rsample()
        >>> torch.allclose(q.log_prob(z), dist.Normal(0.0, 2.0).log_prob(z).sum())
        True
    """

    arg_constraints = {}  # noqa: RUF012
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        base: TorchDistribution,
        evolve: Callable[[Tensor], tuple[Tensor, Tensor]],
        validate_args: bool | None = None,
    ) -> None:
        self.base = base
        self.evolve = evolve
        self._latest: tuple[Tensor, Tensor, bool] | None = None
        super().__init__(base.batch_shape, base.event_shape, validate_args=validate_args)

    def rsample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Draw from the base, and evolve."""
        start = self.base.rsample(torch.Size(sample_shape))
        z, score = self.evolve(start)
        self._latest = z, self.base.log_prob(start) + score, torch.is_grad_enabled()
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        """The score of the latest draw."""
        if self._latest is not None:
            z, score, with_gradients = self._latest
            if value is z and (with_gradients or not torch.is_grad_enabled()):
                return score
        raise NotImplementedError(
            "Draws that evolved have no inverse in closed form: only the latest is scored, "
            "and with gradients only if it was drawn by rsample."
        )

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "Evolved":
        """Return the distribution with a larger batch shape."""
        new = self._get_checked_instance(Evolved, _instance)
        shape = torch.Size(batch_shape)
        new.base, new.evolve, new._latest = self.base.expand(shape), self.evolve, None
        super(Evolved, new).__init__(shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new
