"""k-hat, the shape of the tail of importance weights, by a generalized Pareto distribution."""

import math

import torch
from torch import Tensor

UNRELIABLE = 0.7  # k-hat above which an estimate and its error are unreliable
LEAST_SAMPLES = 25  # the largest fifth of them is a tail that can be fitted
NEGLIGIBLE = 16  # difference of log-weights in units of their rounding


def unreliable_share(k: Tensor) -> float:
    """The fraction of the data whose k-hat is above 0.7."""
    return (k > UNRELIABLE).double().mean().item()


def pareto_tail(log_w: Tensor) -> tuple[Tensor, Tensor]:
    r"""Fit a generalized Pareto distribution to the largest weights of each datum.

    To the M = min(K/5, 3 sqrt(K)) largest of K weights, less the next one, by the estimate of Zhang
    and Stephens (2009) with the prior of Vehtari, Simpson, Gelman, Yao, Gabry (2024, appendix G).

    Args:
        log_w: log-weights of K draws for each datum, shape (K, n).

    Returns:
        The shape k-hat and the scale, relative to the largest weight, of each datum, shape (n,), in
        float64. The shape is -inf if the largest weights are all equal up to rounding, inf if most
        of them are, and NaN for fewer than 25 draws.
    """
    k = len(log_w)
    m = int(min(k / 5, 3 * math.sqrt(k)))
    if k < LEAST_SAMPLES:
        unknown = log_w.new_full(log_w.shape[1:], torch.nan, dtype=torch.float64)
        return unknown, unknown
    largest = log_w.double().topk(m + 1, 0).values.flip(0)
    relative = (largest - largest[-1]).exp()
    excess = relative[1:] - relative[0]
    # The differences of the weights of an exact posterior are those of rounding, and no tail.
    rounding = torch.finfo(log_w.dtype).eps * largest[-1].abs().clamp_min(1)
    same, mostly = excess[-1] <= NEGLIGIBLE * rounding, excess[m // 4] <= 0
    count = 30 + int(math.sqrt(m))
    steps = torch.arange(1, count + 1, dtype=excess.dtype, device=excess.device).unsqueeze(-1)
    quartile = excess[int(m / 4 - 0.5)]
    # Fits that fail return NaN, and are replaced below.
    theta = 1 / excess[-1] + (1 - (count / (steps - 0.5)).sqrt()) / (3 * quartile)
    shape = torch.log1p(-theta.unsqueeze(1) * excess).mean(1)
    fit = m * ((-theta / shape).log() - shape - 1)
    theta = (fit.softmax(0) * theta).sum(0)
    shape = torch.log1p(-theta * excess).mean(0)
    scale = -shape / theta
    shape = (m * shape + 10 * 0.5) / (m + 10)
    shape = torch.where(mostly, torch.inf, shape)
    return torch.where(same, -torch.inf, shape), scale
