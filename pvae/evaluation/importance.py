"""Importance weights of draws of z, for estimates of the evidence."""

import math
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from pvae.distributions import QuantizedDelta
from pvae.evaluation.scoring import Density, Draw, Scorer
from pvae.vae import VAE


def proposal_of(vae: VAE, x: Tensor, y: Tensor | None = None) -> dist.TorchDistribution:
    """Return q(z|x), after checking that its draws can be weighted.

    Raises:
        ValueError: if it is a point mass.
    """
    q = vae.encode(x, y)
    if isinstance(q, QuantizedDelta):
        raise ValueError(
            f"The posterior {type(vae.posterior).__name__} is a single code, whose -log p(x, z) is "
            "the length of a code of x, not an estimate of its evidence: it is the -ELBO that "
            "evaluate gives."
        )
    if isinstance(q, dist.Delta):
        raise ValueError(
            f"The posterior {type(vae.posterior).__name__} is a point mass, whose draws have no "
            "weights: use ais, or a posterior with a density."
        )
    return q


def log_weights(
    score: Scorer,
    proposal: dist.TorchDistribution,
    x: Tensor,
    y: Tensor | None,
    num_samples: int,
    at_once: int,
) -> Tensor:
    r"""Return log p(x, z_k) - log q(z_k) for draws z_k of a proposal q.

    Args:
        score: computes the weights.
        proposal: q, of batch shape (n,).
        x: data, shape (n, \*event_shape).
        y: their labels, or ``None``.
        num_samples: draws K for each datum.
        at_once: the number of draws, over all data, that are scored at a time.

    Returns:
        A tensor of shape (K, n).
    """
    # Portions of one size, for a compiled score; excess draws of the last are dropped.
    times = math.ceil(num_samples / max(1, at_once // len(x)))
    draw, density = _drawing(proposal, math.ceil(num_samples / times))
    with pyro.validation_enabled(False):  # z was drawn by the parts themselves
        return score(draw, density, times, x, y).flatten(0, 1)[:num_samples]


def _drawing(q: dist.TorchDistribution, k: int) -> tuple[Callable[[], Draw], Density]:
    """A function that draws k samples per datum, and one that maps a draw to z and log q(z)."""
    if isinstance(q, Independent) and isinstance(q.base_dist, Normal) and q.event_dim == 1:
        # For normals only the noise is drawn, outside of a compiled graph.
        loc, scale = torch.broadcast_tensors(q.base_dist.loc, q.base_dist.scale)
        return lambda: (loc.new_empty(k, *loc.shape).normal_(), loc, scale), _of_noise

    def draw() -> Draw:
        z = q.rsample((k,)) if q.has_rsample else q.sample((k,))
        return z, q.log_prob(z)

    return draw, _as_drawn


def _as_drawn(z: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
    return z, log_q


def _of_noise(noise: Tensor, loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    constant = scale.log().sum(-1) + 0.5 * loc.shape[-1] * math.log(2 * math.pi)
    return torch.addcmul(loc, noise, scale), -0.5 * torch.linalg.vecdot(noise, noise) - constant


def log_mean(log_w: Tensor) -> Tensor:
    """The logarithm of the mean weight, over the first dimension."""
    return log_w.logsumexp(0) - math.log(len(log_w))


def standard_error(log_w: Tensor) -> Tensor:
    """The standard error of `log_mean`: the relative error of the mean weight (delta method)."""
    k = len(log_w)
    if k == 1:
        return torch.full_like(log_w[0], torch.nan)
    relative = log_w.softmax(0) * k
    return ((relative - 1).square().sum(0) / (k - 1) / k).sqrt()


def weight_error(over_weights: Tensor) -> Tensor:
    """Return the standard error of each log p(x) by the choice of the draws of uncertain weights.

    By the delta method, from the spread of p(x|w) between the draws.

    Args:
        over_weights: log p(x|w) for each draw w, shape (n, draws), of a result of
            `log_likelihood`, `ais` or `anomaly_score`.

    Returns:
        The errors, shape (n,); NaN for one draw.

    Example:
        >>> import torch
        >>> from pvae.evaluation import weight_error
        >>> weight_error(torch.tensor([[-1.0, -1.0], [-1.0, -2.0]]))
        tensor([0.0000, 0.4621])
    """
    return standard_error(over_weights.T)


def error_by_weights(over_weights: Tensor) -> float | None:
    """Return the standard error of the mean of log p(x) by the choice of the draws of the weights.

    Every draw of the weights is of all data, so that this error does not fall with their number.

    Args:
        over_weights: log p(x|w) for each draw w, shape (n, draws).

    Returns:
        The error by the delta method; ``None`` for one draw.
    """
    draws = over_weights.shape[1]
    if draws == 1:
        return None
    relative = over_weights.double().softmax(1).mean(0) * draws
    return relative.std().item() / math.sqrt(draws)


def effective_sample_size(log_w: Tensor) -> Tensor:
    """The equivalent number of equal weights: (sum w)² / sum w² (Kong 1992)."""
    return 1 / log_w.softmax(0).square().sum(0)
