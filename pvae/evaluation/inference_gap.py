"""The inference gap of the ELBO, split into approximation and amortization."""

from typing import NamedTuple

import torch
from torch import Tensor

from pvae.checks import check_size
from pvae.evaluation.batching import MEMORY, per_datum
from pvae.evaluation.importance import log_mean, proposal_of, standard_error
from pvae.evaluation.k_hat import UNRELIABLE, pareto_tail
from pvae.evaluation.log_likelihood import weigher
from pvae.evaluation.refinement import best_raw, check_rate, refined
from pvae.evaluation.results import described
from pvae.seeds import seeded
from pvae.vae import VAE

DRAWS = 4  # for each step of refinement


class InferenceGap(NamedTuple):
    """The inference gap of each datum and its two parts, in nats, each of shape (n,).

    ``gap = approximation + amortization``.

    Attributes:
        gap: log p(x) - L[q].
        approximation: log p(x) - L[q*], the gap of the best posterior of the family; at least 0.
        amortization: L[q*] - L[q], the gap of the network's posterior to the best.
        log_prob: log p(x).
        elbo: L[q], the ELBO with the posterior q of the network.
        refined_elbo: L[q*], the ELBO with the refined posterior q*.
        standard_error: that of ``log_prob``; NaN if it is unknown, as for `LogLikelihood`.
        pareto_k: k-hat of the weights under q*; above 0.7 ``log_prob``, ``gap`` and
            ``approximation`` are on average too low by an unknown amount.
    """

    gap: Tensor
    approximation: Tensor
    amortization: Tensor
    log_prob: Tensor
    elbo: Tensor
    refined_elbo: Tensor
    standard_error: Tensor
    pareto_k: Tensor

    def __repr__(self) -> str:
        return described(self)


def inference_gap(
    vae: VAE,
    x: Tensor,
    y: object = None,
    *,
    num_samples: int = 1000,
    steps: int = 400,
    lr: float = 0.05,
    memory: float = MEMORY,
    seed: int = 0,
    progress: bool = True,
) -> InferenceGap:
    r"""Split the inference gap of each datum (Cremer, Li, Duvenaud 2018, section 3.1).

    .. math::
        \underbrace{\log p(x) - L[q]}_{\text{inference gap}} =
        \underbrace{\log p(x) - L[q^*]}_{\text{approximation}} +
        \underbrace{L[q^*] - L[q]}_{\text{amortization}}

    q* is the best posterior of the family for that datum, found by `refine`. With the weights
    w = p(x, z) / q(z) of draws of a posterior, its ELBO is the mean of log w, and log p(x) is the
    logarithm of the mean of w under q*. Both use the same draws, so that the approximation gap is
    never below 0, and all errors vanish if q is exact. The draws of q and q* share their noise.

    log p(x), and with it the approximation gap, is biased downwards if q* differs from the
    posterior; the bias falls with num_samples. Too few steps underestimate the amortization gap.

    Args:
        vae: the VAE.
        x: shape (n, \*event_shape), in the likelihood's domain.
        y: their labels, if the VAE has any.
        num_samples: draws of q and of q* for each datum.
        steps: the number of refinement steps.
        lr: the initial learning rate of refinement.
        memory: approximate limit of the memory used, in MiB.
        seed: of the draws.
        progress: whether to show a progress bar.

    Raises:
        ValueError: if x or y is invalid for the VAE, num_samples or steps is below 1, the
            posterior cannot be refined (see `refine`), or is a point mass.

    Example:
        >>> import torch
        >>> import pvae
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> x = torch.ones(5, 1, 8, 8)
        >>> gap = pvae.evaluation.inference_gap(vae, x, num_samples=100, steps=10)
        >>> bool((gap.approximation >= 0).all())
        True
    """
    check_size("steps", steps)
    check_rate(lr)
    weigh, _ = weigher(vae, x, num_samples, memory)

    def estimate(x: Tensor, y: Tensor | None) -> InferenceGap:
        q = proposal_of(vae, x, y)
        best = refined(vae, best_raw(vae, x, y, steps, DRAWS, lr)).encode(x, y)
        noise = int(torch.randint(2**62, ()))
        with seeded(noise, vae.device):
            bound = weigh(q, x, y).mean(0)
        with seeded(noise, vae.device):
            log_w = weigh(best, x, y)
        log_prob, refined_bound = log_mean(log_w), log_w.mean(0)
        k, error = pareto_tail(log_w)[0], standard_error(log_w)
        return InferenceGap(
            log_prob - bound,
            log_prob - refined_bound,
            refined_bound - bound,
            log_prob,
            bound,
            refined_bound,
            error.masked_fill(k > UNRELIABLE, torch.nan),
            k.to(log_w),
        )

    return per_datum(
        estimate, vae, x, y, rows=2 * DRAWS, memory=memory, seed=seed, progress=progress
    )
