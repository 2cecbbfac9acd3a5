"""A mixture of distributions of one family."""

import math
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor

_LARGE = 2**16  # differences between values and components, from which on products are faster
_MOST = 1e100  # beyond it values are treated as this large, so that no square is infinite


class Mixture(dist.MixtureSameFamily):
    r"""Torch's mixture p(z) = sum_k w_k p_k(z), with the support of its components.

    Torch wraps the support in a constraint of its own; here it is the constraint of the
    components. The log-densities of many diagonal normals, K of d values in float32, are one matrix
    product in float64, which gives n K numbers for n values; torch would hold n K d numbers several
    times.

    Args:
        weights: a `Categorical` of K categories, of batch shape batch.
        components: of batch shape (\*batch, K).

    Raises:
        ValueError: if the numbers of weights and components differ.

    Example:
        >>> import pyro.distributions as dist, torch
        >>> from pvae.distributions import Mixture
        >>> components = dist.Normal(torch.randn(10, 2), 1.0).to_event(1)
        >>> p = Mixture(dist.Categorical(logits=torch.zeros(10)), components)
        >>> p.event_shape, p.support.check(torch.zeros(2))
        (torch.Size([2]), tensor(True))
    """

    _narrow: "Mixture"  # without the batch dimensions that it was expanded to

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Mixture":
        """Expand to a batch shape; the log-density is still computed for one set of components."""
        new: Mixture = super().expand(batch_shape, _instance)
        if self.batch_shape == ():
            new._narrow = self
        elif hasattr(self, "_narrow"):
            new._narrow = self._narrow
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        r"""The log-density.

        Args:
            value: shape (\*sample, \*batch, \*event).
        """
        narrow: Any = getattr(self, "_narrow", self)
        components = narrow.component_distribution
        if narrow.batch_shape != () or not _are_many_normals(components, value):
            return super().log_prob(value)
        if self._validate_args:
            self._validate_sample(value)
        normals = components.base_dist
        log_weights = narrow.mixture_distribution.logits.log_softmax(-1)
        found = _normal_log_probs(value, normals.loc, normals.scale) + log_weights
        batch = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        return found.logsumexp(-1).expand(batch)

    @constraints.dependent_property
    def support(self) -> constraints.Constraint:
        """The support of the components."""
        return self.component_distribution.support


def _are_many_normals(components: dist.TorchDistribution, value: Tensor) -> bool:
    """Whether components are many diagonal normals in float32, on a device that has float64."""
    return (
        isinstance(components, dist.Independent)
        and value.numel() * components.batch_shape.numel() >= _LARGE
        and components.event_dim == 1
        and type(components.base_dist) is dist.Normal
        and components.base_dist.loc.dtype == value.dtype == torch.float32
        and value.device.type in ("cpu", "cuda")
    )


def _normal_log_probs(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    r"""Log-densities under K diagonal normals, from the expanded square.

    In float64 the terms of the square cancel without loss of digits that float32 has.

    Args:
        value: shape (\*batch, d).
        loc: shape (K, d).
        scale: the same shape.

    Returns:
        A tensor of shape (\*batch, K).
    """
    # Each is converted once, so that its gradient too is summed before it is rounded.
    z, mean, width = value.double().clamp(-_MOST, _MOST), loc.double(), scale.double()
    precision = width.square().reciprocal()
    scaled = mean * precision
    constant = (0.5 * scaled * mean + width.log()).sum(-1)
    constant = constant + 0.5 * scale.shape[-1] * math.log(2 * math.pi)
    weights = torch.cat([-0.5 * precision, scaled], -1)
    found = torch.cat([z.square(), z], -1) @ weights.mT - constant
    return found.to(value.dtype)
