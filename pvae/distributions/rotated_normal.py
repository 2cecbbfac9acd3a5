"""A diagonal normal after a rotation."""

import pyro.distributions as dist
from torch import Tensor


class RotatedNormal(dist.TransformedDistribution):
    r"""The normal N(U mu, U diag(sigma^2) U^T), with U a composition of orthogonal transforms.

    Args:
        base_distribution: N(mu, diag sigma^2), of event shape (d,).
        transforms: one or more linear and orthogonal transforms, such as reflections.

    Shape:
        values of (\*batch, d).

    Example:
        >>> import pyro.distributions as dist, torch
        >>> from pvae.distributions import RotatedNormal
        >>> base = dist.Normal(torch.zeros(2), torch.tensor([1.0, 2.0])).to_event(1)
        >>> swap = dist.transforms.Permute(torch.tensor([1, 0]))
        >>> RotatedNormal(base, [swap]).variance
        tensor([4., 1.])
    """

    @property
    def mean(self) -> Tensor:
        """U mu."""
        return self._rotate(self.base_dist.mean)

    @property
    def variance(self) -> Tensor:
        """The diagonal of U diag(sigma^2) U^T."""
        axes = self.base_dist.stddev.diag_embed().movedim(-2, 0)
        return self._rotate(axes).square().sum(0)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density, without the cache of the transforms."""
        # A draw is cached with its inverse, by the identity of its tensor, so that the density of a
        # draw without gradients would have none. A view is another tensor.
        return super().log_prob(value.view_as(value))

    def entropy(self) -> Tensor:
        """The entropy of the base: a rotation preserves volumes."""
        return self.base_dist.entropy()

    def _rotate(self, vectors: Tensor) -> Tensor:
        for transform in self.transforms:
            vectors = transform(vectors)
        return vectors
