"""What is reported of the evidence of a part of the data, with all that it depends on."""

import math
from typing import Any

import torch
from torch import Tensor

from pvae.data.batches import Batches
from pvae.evaluation.annealing import ais, bidirectional
from pvae.evaluation.decomposition import active_units
from pvae.evaluation.likelihood import log_likelihood
from pvae.evaluation.pareto import pareto_smoothed
from pvae.networks.shapes import check_size
from pvae.vae import VAE

PARETO_SAMPLES = 1000
AIS_ITEMS = 25
AIS_CHAINS, AIS_STEPS = 16, 200


def importance(
    vae: VAE, x: Tensor, y: Tensor | None, num_samples: int, seed: int, progress: bool = True
) -> dict[str, Any]:
    """log p(x) by importance sampling, k-hat and active units, of a batch of data.

    Args:
        vae: the VAE.
        x: shape (n, \\*event_shape), in the likelihood's domain.
        y: their labels, if the VAE has any.
        num_samples: importance samples for each datum; k-hat is by 1,000.
        seed: of the random draws.
        progress: whether to show a bar.

    Returns:
        ``log_likelihood``, its mean over the data in nats; ``standard_error``, of that mean by the
        importance samples; ``standard_error_of_data``, by the choice of the data; the median
        ``effective_sample_size``; ``pareto_k_above_0.7``, a share; ``active_units``. An error is
        ``None`` where there is only one sample or datum to tell it by.
    """
    common = {"seed": seed, "progress": progress}
    found = log_likelihood(vae, x, y, num_samples=num_samples, **common)
    smoothed = pareto_smoothed(vae, x, y, num_samples=PARETO_SAMPLES, **common)
    figures = _mean(found.log_prob, found.standard_error) | {
        "num_samples": num_samples,
        "effective_sample_size": found.effective_sample_size.median().item(),
        "pareto_k_above_0.7": smoothed.unreliable_share,
        "pareto_samples": PARETO_SAMPLES,
    }
    if len(x) > 1:
        figures["active_units"] = active_units(vae, x, y, **common).count
        figures["latents"] = math.prod(vae.latent_shape)
    return figures


def annealed(
    vae: VAE, x: Tensor, y: Tensor | None, seed: int, progress: bool = True
) -> dict[str, Any]:
    """log p(x) by annealed importance sampling, and its sandwich on data drawn from the model.

    Args:
        vae: the VAE.
        x: shape (n, \\*event_shape), of which at most 25 are taken.
        y: their labels, if the VAE has any; those of the data drawn as well.
        seed: of the random draws.
        progress: whether to show a bar.

    Returns:
        ``log_likelihood`` and its errors, as `importance` has them, and those of as many data from
        the model: ``lower`` and ``upper`` bounds, the ``gap`` between them with its
        ``gap_standard_error`` by the choice of the data, and ``importance``, what importance
        sampling with 5,000 samples gives there, ``None`` where it cannot be compared.
    """
    x, y = x[:AIS_ITEMS], None if y is None else y[:AIS_ITEMS]
    budget = {"num_chains": AIS_CHAINS, "num_steps": AIS_STEPS}
    common = {"seed": seed, "progress": progress}
    found = ais(vae, x, y, **budget, **common)
    both = bidirectional(vae, len(x), y, **budget, **common)
    return {
        **_mean(found.log_prob, found.standard_error),
        **budget,
        "sandwich": {
            "items": len(x),
            "lower": both.lower.mean().item(),
            "importance": _importance(vae, both.x, y, common),
            "upper": both.upper.mean().item(),
            "gap": both.gap.mean().item(),
            "gap_standard_error": _error(both.gap),
        },
    }


def _importance(vae: VAE, x: Tensor, y: Tensor | None, common: dict[str, Any]) -> float | None:
    """What importance sampling gives of the same data, if it can and of the same model."""
    if getattr(vae.likelihood, "takes_total", False):
        return None  # the data were drawn given the mean total, and would be scored given their own
    try:
        return log_likelihood(vae, x, y, **common).log_prob.mean().item()
    except ValueError:
        return None


def some(batches: Batches, items: int | None, seed: int) -> tuple[Tensor, ...]:
    """A fixed random choice of data and their labels, as a VAE takes them.

    Args:
        batches: minibatches of a part.
        items: how many at the most; ``None`` for all.
        seed: of the choice, and of their conversion.
    """
    n = len(batches.part)
    order = torch.arange(n)
    if items is not None and check_size("items", items) < n:
        order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:items]
    return tuple(map(torch.cat, zip(*batches.arguments(order, seed=seed), strict=True)))


def _mean(log_prob: Tensor, standard_error: Tensor) -> dict[str, Any]:
    return {
        "items": len(log_prob),
        "log_likelihood": log_prob.double().mean().item(),
        "standard_error": _known(standard_error.double().norm().item() / len(log_prob)),
        "standard_error_of_data": _error(log_prob),
    }


def _error(values: Tensor) -> float | None:
    """The standard error of a mean."""
    return values.double().std().item() / math.sqrt(len(values)) if len(values) > 1 else None


def _known(value: float) -> float | None:
    """JSON knows no NaN."""
    return None if math.isnan(value) else value
