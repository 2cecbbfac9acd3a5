"""Kullback-Leibler divergences to independent normals that neither torch nor Pyro has.

Importing this module registers them with `torch.distributions.kl_divergence`.
"""

import math

import torch
from torch import Tensor
from torch.distributions import (
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    StudentT,
)
from torch.distributions.kl import register_kl

from pvae.distributions.rotated_normal import RotatedNormal


def _cross_entropy(mean: Tensor, variance: Tensor, p: Normal) -> Tensor:
    """-E[log p(z)], element by element, which depends only on the first two moments of q(z)."""
    square = (variance + (mean - p.loc).square()) / p.variance
    return 0.5 * (square + math.log(2 * math.pi)) + p.scale.log()


@register_kl(LowRankMultivariateNormal, Independent)
@register_kl(MultivariateNormal, Independent)
@register_kl(RotatedNormal, Independent)
def _kl_normal(
    q: LowRankMultivariateNormal | MultivariateNormal | RotatedNormal, p: Independent
) -> Tensor:
    if not isinstance(p.base_dist, Normal) or p.reinterpreted_batch_ndims != 1:
        raise NotImplementedError
    return _cross_entropy(q.mean, q.variance, p.base_dist).sum(-1) - q.entropy()


@register_kl(StudentT, Normal)
def _kl_student_t_normal(q: StudentT, p: Normal) -> Tensor:
    # Torch's variance indexes elements by a mask, which cannot be traced.
    variance = q.scale.square() * q.df / (q.df - 2)
    variance = torch.where(q.df > 2, variance, torch.full_like(variance, math.inf))
    return _cross_entropy(q.loc, variance, p) - q.entropy()
