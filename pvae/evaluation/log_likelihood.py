"""The log-likelihood log p(x) by importance sampling."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pyro.distributions as dist
import torch
from torch import Tensor

from pvae.checks import check_size
from pvae.evaluation.batching import (
    MEMORY,
    as_batch,
    check_memory,
    check_seconds,
    check_vae,
    floats_per_row,
    per_datum,
    rows_within,
)
from pvae.evaluation.importance import (
    effective_sample_size,
    error_by_weights,
    log_mean,
    log_weights,
    proposal_of,
    standard_error,
)
from pvae.evaluation.k_hat import UNRELIABLE, pareto_tail, unreliable_share
from pvae.evaluation.results import described, estimate, unreliable_items, within
from pvae.evaluation.scoring import Scorer
from pvae.vae import VAE
from pvae.weights.draws import NUM_WEIGHTS, over_weights

# Size of a core's caches in MiB: beyond it a CPU waits for memory.
_CACHED = 16.0

# Least number of portions for each thread: some threads are idle during the last ones.
_PORTIONS = 160

# If time is limited, it is looked at between chunks of data, so often, and at least so many times.
_SECONDS_BETWEEN_LOOKS = 0.5
_LOOKS = 20
_PER_SECOND = 1e9  # floats that operators compute, about

_COPIES = 6  # most copies of the weights at a time, while errors are estimated


class LogLikelihood(NamedTuple):
    """Estimates of log p(x), in nats, with diagnostics.

    Attributes:
        log_prob: the estimate for each datum, shape (n,), on average a lower bound.
        standard_error: that of ``log_prob``, shape (n,), by the delta method on the mean weight;
            NaN if it is unknown: for one sample, or if k-hat is above 0.7. The estimates are
            independent, so that their mean over the data has the error
            ``standard_error.square().sum().sqrt() / n``.
        effective_sample_size: (sum of w)² / sum of w², shape (n,), from 1 to num_samples. If it is
            small, a few draws dominate the estimate.
        pareto_k: the shape k-hat of the tail of the weights (see `pareto_smoothed`), shape (n,).
            Above 0.7 the estimate is a lower bound, on average, whose error is unknown. NaN for
            fewer than 25 samples.
        over_weights: log p(x|w) for each draw w of uncertain weights, shape (n, draws); of a VAE
            without them ``log_prob`` alone. They give its error (see `weight_error`). Then
            ``log_prob`` is that of the mean of p(x|w), ``standard_error`` and
            ``effective_sample_size`` are those of all draws of z given the weights, and
            ``pareto_k`` is the largest.
    """

    log_prob: Tensor
    standard_error: Tensor
    effective_sample_size: Tensor
    pareto_k: Tensor
    over_weights: Tensor

    @property
    def unreliable_share(self) -> float:
        """The share of the data whose k-hat is above 0.7."""
        return unreliable_share(self.pareto_k)

    @property
    def mean_error(self) -> float | None:
        """The standard error of the mean of ``log_prob`` from known errors, or ``None``."""
        known = self.standard_error[self.standard_error.isfinite()].double()
        return known.norm().item() / len(self.standard_error) if len(known) else None

    def __repr__(self) -> str:
        share, n = self.unreliable_share, len(self.log_prob)
        mean = estimate(self.log_prob.double().mean().item(), self.mean_error, share)
        mean += within(error_by_weights(self.over_weights), " (weights)")
        words = f"log p(x) of {n:,} data, mean {mean}"
        return described(
            self,
            *[words, *([f"k-hat is above 0.7 for {unreliable_items(share, n)}"] if share else [])],
        )


def log_likelihood(
    vae: VAE,
    x: Tensor,
    y: object = None,
    *,
    num_samples: int = 5000,
    num_weights: int = NUM_WEIGHTS,
    memory: float = MEMORY,
    seconds: float | None = None,
    seed: int = 0,
    progress: bool = True,
) -> LogLikelihood:
    r"""Estimate log p(x) by importance sampling from the posterior.

    .. math::
        \log \hat p(x) = \log \frac{1}{K} \sum_{k=1}^K \frac{p(x, z_k)}{q(z_k|x)},
        \qquad z_k \sim q(z|x)

    The estimate of p(x) is unbiased, that of log p(x) on average too low: the importance-weighted
    bound, which rises with K (Burda, Grosse, Salakhutdinov 2016, section 2 and theorem 1).

    If weights w of the VAE are uncertain (see `pvae.weights.Weights`), it is the mean of p(x|w)
    over draws of them, the predictive density given the data that the VAE was trained on.

    Args:
        vae: the VAE.
        x: shape (n, \*event_shape), in the likelihood's domain.
        y: their labels, if the VAE has any: log p(x|y) is estimated.
        num_samples: draws K for each datum, and for each draw of uncertain weights.
        num_weights: draws of uncertain weights.
        memory: approximate limit of the memory used, in MiB.
        seconds: time after which no further data start: the result then has entries for the first
            data only. ``None`` for all.
        seed: of the random draws.
        progress: whether to show a progress bar if it takes long.

    Raises:
        ValueError: if num_samples is below 1, the memory not positive, x or y invalid for the
            VAE, the likelihood not a density, or the posterior a point mass.

    Example:
        >>> import torch
        >>> import pvae
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> found = pvae.evaluation.log_likelihood(vae, torch.ones(5, 1, 8, 8), num_samples=100)
        >>> found.log_prob.shape
        torch.Size([5])
    """
    return _estimate(
        partial(proposal_of, vae),
        vae,
        x,
        y,
        num_samples,
        num_weights,
        memory,
        seconds,
        seed,
        progress,
    )


def monte_carlo(
    vae: VAE,
    x: Tensor,
    y: object = None,
    *,
    num_samples: int = 5000,
    num_weights: int = NUM_WEIGHTS,
    memory: float = MEMORY,
    seconds: float | None = None,
    seed: int = 0,
    progress: bool = True,
) -> LogLikelihood:
    r"""Estimate log p(x) by draws from the prior, for comparison only.

    .. math::
        \log \hat p(x) = \log \frac{1}{K} \sum_{k=1}^K p(x|z_k), \qquad z_k \sim p(z)

    It is unbiased for p(x) as well. But few draws of the prior explain a given x: with more than a
    few latents the effective sample size is near 1, and the estimate far too low.

    Arguments, results and errors are those of `log_likelihood`.

    Example:
        >>> import torch
        >>> import pvae
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> found = pvae.evaluation.monte_carlo(vae, torch.ones(5, 1, 8, 8), num_samples=100)
        >>> found.effective_sample_size.shape
        torch.Size([5])
    """

    def prior(x: Tensor, y: Tensor | None) -> dist.TorchDistribution:
        return vae.p_z(y).expand(x.shape[:1])

    return _estimate(prior, vae, x, y, num_samples, num_weights, memory, seconds, seed, progress)


def _estimate(
    proposal: Callable[[Tensor, Tensor | None], dist.TorchDistribution],
    vae: VAE,
    x: Tensor,
    y: object,
    num_samples: int,
    num_weights: int,
    memory: float,
    seconds: float | None,
    seed: int,
    progress: bool,
) -> LogLikelihood:
    check_vae(vae)
    check_size("num_weights", num_weights)
    if seconds is not None:
        check_seconds(seconds)
    with over_weights(vae, num_weights, seed) as draws:
        weigh, at_once = weigher(vae, x, num_samples, memory, len(draws), seconds)

        def estimate(x: Tensor, y: Tensor | None) -> LogLikelihood:
            found = []
            for use in draws:
                use()
                log_w = weigh(proposal(x, y), x, y)
                k, error = pareto_tail(log_w)[0], standard_error(log_w)
                found.append((log_mean(log_w), error, effective_sample_size(log_w), k.to(log_w)))
            return _joined(*(torch.stack(parts) for parts in zip(*found, strict=True)))

        options: dict[str, Any] = {
            "memory": memory,
            "at_once": at_once,
            "seed": seed,
            "progress": progress,
        }
        return per_datum(estimate, vae, x, y, seconds=seconds, **options)


def _joined(log_prob: Tensor, error: Tensor, effective: Tensor, k: Tensor) -> LogLikelihood:
    """Join the estimates given each draw of the weights, of shape (draws, n)."""
    share = log_prob.softmax(0)  # in p(x)
    k = k.max(0).values
    return LogLikelihood(
        log_mean(log_prob),
        (share * error).norm(dim=0).masked_fill(k > UNRELIABLE, torch.nan),
        1 / (share.square() / effective).sum(0),
        k,
        log_prob.T,
    )


def weigher(
    vae: VAE,
    x: Tensor,
    num_samples: int,
    memory: float,
    draws: int = 1,
    seconds: float | None = None,
) -> tuple[Callable[[dist.TorchDistribution, Tensor, Tensor | None], Tensor], int]:
    """Return a function from a proposal, x and y to log-weights, and the size of its chunks.

    Args:
        vae: the VAE.
        x: all data.
        num_samples: draws for each datum.
        memory: the limit in MiB; on a CPU at most the size of its caches.
        draws: of the weights, for each of which all is computed.
        seconds: the time limit, if there is one. Chunks are small beside it, and nothing is
            compiled that would not pay off within it.
    """
    check_size("num_samples", num_samples)
    x = as_batch(vae, x)
    check_memory(memory)
    if vae.device.type == "cpu":
        memory = min(memory, _CACHED * torch.get_num_threads())
    floats = floats_per_row(vae)
    of_datum = float(num_samples) * draws * floats
    time_left = math.inf if seconds is None else seconds
    score = Scorer(vae, min(len(x) * of_datum, time_left * _PER_SECOND))
    rows = rows_within(vae, memory, floats)
    portion = max(1, rows // score.abreast)
    data = min(
        portion,
        math.ceil(_PORTIONS * score.abreast * portion / num_samples),
        max(1, rows * floats // (_COPIES * num_samples)),
    )
    if seconds is not None:
        look = min(_SECONDS_BETWEEN_LOOKS, seconds / _LOOKS)
        data = max(1, min(data, int(look * _PER_SECOND / of_datum)))

    def weigh(proposal: dist.TorchDistribution, x: Tensor, y: Tensor | None) -> Tensor:
        return log_weights(score, proposal, x, y, num_samples, portion)

    return weigh, data
