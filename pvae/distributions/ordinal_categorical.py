"""A categorical distribution over integer levels, which has a mean and a variance."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor


class OrdinalCategorical(dist.Categorical):
    r"""A categorical distribution over the levels 0 to K - 1, as floating-point numbers.

    Unlike classes, levels have a mean and a variance: :math:`E[x] = \sum_k k\, p_k`.

    Args:
        logits: unnormalized log-probabilities, of shape (\*batch, K).

    Example:
        >>> import torch
        >>> from pvae.distributions import OrdinalCategorical
        >>> OrdinalCategorical(torch.zeros(256)).mean
        tensor(127.5000)
    """

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        super().__init__(logits=logits, validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> "OrdinalCategorical":
        """Return the distribution with another batch shape."""
        return super().expand(
            batch_shape, self._get_checked_instance(OrdinalCategorical, _instance)
        )

    def sample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Draw levels."""
        return super().sample(sample_shape).to(self.logits.dtype)

    @property
    def mean(self) -> Tensor:
        """The mean level."""
        return (self.probs * self._levels).sum(-1)

    @property
    def variance(self) -> Tensor:
        """The variance of the level."""
        return (self.probs * (self._levels - self.mean.unsqueeze(-1)) ** 2).sum(-1)

    @property
    def _levels(self) -> Tensor:
        count = self.logits.shape[-1]
        return torch.arange(count, dtype=self.logits.dtype, device=self.logits.device)
