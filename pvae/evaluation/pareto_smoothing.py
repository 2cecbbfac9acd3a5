"""Pareto-smoothed importance sampling: an estimate of log p(x) with a diagnostic."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pvae.checks import check_size
from pvae.evaluation.batching import MEMORY, per_datum
from pvae.evaluation.importance import log_mean, proposal_of
from pvae.evaluation.k_hat import LEAST_SAMPLES, pareto_tail, unreliable_share
from pvae.evaluation.log_likelihood import weigher
from pvae.evaluation.results import LOWER_BOUND, described
from pvae.vae import VAE


class ParetoSmoothed(NamedTuple):
    """Estimates of log p(x) by smoothed weights, with the shape of the weights' tail.

    Attributes:
        log_prob: log p(x) of each datum in nats, shape (n,).
        pareto_k: the shape k-hat of the tail of the weights, shape (n,). Above 0.7 the estimate is
            unreliable for any practical number of samples; -inf if all weights are equal.
    """

    log_prob: Tensor
    pareto_k: Tensor

    def __repr__(self) -> str:
        share = self.unreliable_share
        said = f"log p(x), {LOWER_BOUND} for {100 * share:.3g} % (k-hat above 0.7)"
        return described(self, *([said] if share else []))

    @property
    def unreliable_share(self) -> float:
        """The share of the data whose k-hat is above 0.7."""
        return unreliable_share(self.pareto_k)


def pareto_smoothed(
    vae: VAE,
    x: Tensor,
    y: object = None,
    *,
    num_samples: int = 1000,
    memory: float = MEMORY,
    seed: int = 0,
    progress: bool = True,
) -> ParetoSmoothed:
    r"""Estimate log p(x) by Pareto-smoothed importance sampling from the posterior.

    A generalized Pareto distribution is fitted to the M = min(K/5, 3 sqrt(K)) largest weights of
    each datum, whose values are then replaced by its quantiles (Vehtari, Simpson, Gelman, Yao,
    Gabry 2024, section 2). Its shape k-hat limits the moments of the weights: the posterior
    q(z|x) covers p(z|x) well where it is small (Yao, Vehtari, Simpson, Gelman 2018).

    Args:
        vae: the VAE.
        x: shape (n, \*event_shape), in the likelihood's domain.
        y: their labels, if the VAE has any.
        num_samples: draws K for each datum, at least 25.
        memory: approximate limit of the memory used, in MiB.
        seed: of the random draws.
        progress: whether to show a progress bar if it takes long.

    Raises:
        ValueError: if num_samples is below 25, the memory not positive, x or y invalid for the
            VAE, the likelihood not a density, or the posterior a point mass.

    Example:
        >>> import torch
        >>> import pvae
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> found = pvae.evaluation.pareto_smoothed(vae, torch.ones(5, 1, 8, 8), num_samples=100)
        >>> found.pareto_k.shape
        torch.Size([5])
    """
    if check_size("num_samples", num_samples) < LEAST_SAMPLES:
        raise ValueError(
            f"num_samples is {num_samples}: the tail of the weights is seen in {LEAST_SAMPLES} or "
            "more."
        )
    weigh, at_once = weigher(vae, x, num_samples, memory)

    def estimate(x: Tensor, y: Tensor | None) -> ParetoSmoothed:
        log_w = weigh(proposal_of(vae, x, y), x, y)
        smoothed, k = zip(*map(smooth, log_w.cpu().T), strict=True)
        log_prob = log_mean(torch.stack(smoothed, 1))
        return ParetoSmoothed(log_prob.to(log_w), torch.tensor(k).to(log_w))

    return per_datum(
        estimate, vae, x, y, memory=memory, at_once=at_once, seed=seed, progress=progress
    )


def smooth(log_w: Tensor) -> tuple[Tensor, float]:
    """Smooth the tail of log-weights.

    Args:
        log_w: log-weights of one datum, shape (K,), on the CPU.

    Returns:
        The log-weights with the largest replaced, in float64, and k-hat.
    """
    from scipy.stats import genpareto

    count = len(log_w)
    m = int(min(count / 5, 3 * math.sqrt(count)))
    k, scale = (fit.item() for fit in pareto_tail(log_w.unsqueeze(-1)))
    log_w = log_w.double()
    if math.isinf(k):
        return log_w, k
    order = log_w.argsort()
    tail, largest = order[-m:], log_w.max()
    cutoff = log_w[order[-m - 1]] - largest
    p = (torch.arange(m, dtype=log_w.dtype) + 0.5) / m
    quantiles = torch.as_tensor(genpareto.ppf(p, k, scale=scale))
    smoothed = log_w.clone()
    smoothed[tail] = (cutoff.exp() + quantiles).log().clamp_max(0) + largest
    return smoothed, k
