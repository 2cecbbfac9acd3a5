"""What is reported of the evidence of a part of the data, with all that it depends on."""

import math
import statistics
import time
from typing import Any

import pyro
from torch import Tensor

from pvae.evaluation.ais import Path, ais, bidirectional
from pvae.evaluation.batching import OutOfTime, stop_after
from pvae.evaluation.decomposition import active_units
from pvae.evaluation.log_likelihood import log_likelihood
from pvae.evaluation.pareto import pareto_smoothed
from pvae.evaluation.results import FEW_CHAINS, TOLERATED
from pvae.interfaces import option
from pvae.seeds import seeded
from pvae.vae import VAE

PARETO_SAMPLES = 1000  # by which it is told beforehand whether importance sampling is reliable
ITEMS = 25  # that AIS is of
LEAPFROG = 10  # steps of a transition, the default of `ais`
SHARE = 0.8  # of the time that may be planned with: machines are at times slower
FIRST_TRY = 0.7  # of the time, after which a smaller plan is tried

# Data, chains and steps of AIS, from what is the least of use to what is wanted.
BUDGETS = [(2, 4, 25), (5, 4, 50), (5, 8, 100), (5, 16, 200), (10, 16, 200), (ITEMS, 16, 200)]


def is_reliable(vae: VAE, x: Tensor, y: Tensor | None, seed: int) -> bool:
    """Whether importance sampling from the posterior can be relied on, by k-hat of some data."""
    y = None if y is None else y[:ITEMS]
    options = {"num_samples": PARETO_SAMPLES, "seed": seed, "progress": False}
    return pareto_smoothed(vae, x[:ITEMS], y, **options).unreliable_share <= TOLERATED


def importance(
    vae: VAE,
    x: Tensor,
    y: Tensor | None,
    num_samples: int,
    seed: int,
    seconds: float | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """log p(x) by importance sampling, k-hat and active units, of a batch of data.

    Args:
        vae: the VAE.
        x: shape (n, \\*event_shape), in the likelihood's domain.
        y: their labels, if the VAE has any.
        num_samples: importance samples for each datum.
        seed: of the random draws.
        seconds: after which no further data begin; ``None`` for all.
        progress: whether to show a bar.

    Returns:
        ``log_likelihood``, its mean over the data in nats, and of how many ``items`` of how many
        ``asked``; ``standard_error``, of that mean by the importance samples;
        ``standard_error_of_data``, by the choice of the data; the median ``effective_sample_size``;
        ``pareto_k_above_0.7``, a share; ``active_units``. An error is ``None`` where it is not
        known: of one sample or datum, and where k-hat is above 0.7 for more than 5 % of the data.
    """
    common = {"seed": seed, "progress": progress}
    found = log_likelihood(vae, x, y, num_samples=num_samples, seconds=seconds, **common)
    share = found.unreliable_share
    figures = {
        **_mean(found.log_prob),
        "standard_error": found.mean_error if share <= TOLERATED else None,
        "asked": len(x),
        "num_samples": num_samples,
        "effective_sample_size": found.effective_sample_size.median().item(),
        "pareto_k_above_0.7": None if bool(found.pareto_k.isnan().all()) else share,
    }
    if len(x) > 1:
        figures["active_units"] = active_units(vae, x, y, **common).count
        figures["latents"] = math.prod(vae.latent_shape)
    return figures


def annealed(
    vae: VAE,
    x: Tensor,
    y: Tensor | None,
    seed: int,
    seconds: float = math.inf,
    progress: bool = True,
) -> dict[str, Any]:
    """log p(x) by annealed importance sampling, and its sandwich on data drawn from the model.

    Of 25 data, by 16 chains of 200 steps; where the time would not do, of fewer data and by fewer
    chains and steps, as far as a few steps tell beforehand.

    Args:
        vae: the VAE.
        x: shape (n, \\*event_shape), of which at most 25 are taken.
        y: their labels, if the VAE has any; those of the data drawn as well.
        seed: of the random draws.
        seconds: that it may take.
        progress: whether to show a bar.

    Returns:
        ``log_likelihood`` and its errors, as `importance` has them, ``num_chains`` and
        ``num_steps``, and of as many data from the model: ``lower`` and ``upper`` bounds, the
        ``gap`` between them with its ``gap_standard_error`` by the choice of the data, and
        ``importance``, what importance sampling with 5,000 samples gives there, ``None`` where it
        cannot be compared or there is no time for it.

    Raises:
        OutOfTime: if even the least of them takes longer.
    """
    began, asked = time.monotonic(), min(len(x), ITEMS)

    def left() -> float:
        return max(0.0, seconds - (time.monotonic() - began))

    common, below = {"seed": seed, "progress": progress}, len(BUDGETS)
    for share in (FIRST_TRY, 1.0):  # a plan that does not hold is followed by a smaller one
        available = share * left()
        try:
            with stop_after(available):
                below = _affordable(vae, x[:asked], y, available, below)
                items, chains, steps = BUDGETS[below]
                n = min(items, asked)
                given, labels = x[:n], None if y is None else y[:n]
                budget = {"num_chains": chains, "num_steps": steps}
                found = ais(vae, given, labels, **budget, **common)
                both = bidirectional(vae, n, labels, **budget, **common)
            break
        except OutOfTime:
            if share == 1.0:
                raise
    few = found.effective_sample_size.median().item() <= FEW_CHAINS
    error = None if few else _known(found.standard_error.double().norm().item() / n)
    return {
        **_mean(found.log_prob),
        "standard_error": error,
        "asked": asked,
        **budget,
        "effective_sample_size": found.effective_sample_size.median().item(),
        "sandwich": {
            "items": n,
            "lower": both.lower.mean().item(),
            "importance": _importance(vae, both.x, labels, max(1.0, left()), common),
            "upper": both.upper.mean().item(),
            "gap": both.gap.mean().item(),
            "gap_standard_error": _error(both.gap),
        },
    }


def _affordable(vae: VAE, x: Tensor, y: Tensor | None, seconds: float, below: int) -> int:
    """Which of the first `BUDGETS` there is time for, by what a few steps take.

    Raises:
        OutOfTime: if there is not even time for the least.
    """
    chosen = None
    for index, (items, chains, steps) in enumerate(BUDGETS[:below]):
        if seconds < math.inf:
            n = min(items, len(x))
            took = _gradient_seconds(vae, x[:n], None if y is None else y[:n], chains)
            # Adaptation and run for the estimate; adaptation, run and reverse run for the sandwich.
            if 5 * steps * LEAPFROG * took > SHARE * seconds:
                break
        chosen = index
    if chosen is None:
        raise OutOfTime
    return chosen


def _gradient_seconds(vae: VAE, x: Tensor, y: Tensor | None, chains: int) -> float:
    """How long the chains of some data take for a gradient."""
    with vae.evaluating(), seeded(0, vae.device), pyro.validation_enabled(False):
        path = Path(vae, x.to(vae.device, vae.dtype), y, None, 1, 1)
        u, took = path.start(chains), []
        for _ in range(5):  # the first has to be prepared for
            began = time.monotonic()
            float(path.point(u).log_likelihood.sum())
            took.append(time.monotonic() - began)
    return statistics.median(took)


def _importance(
    vae: VAE, x: Tensor, y: Tensor | None, seconds: float, common: dict[str, Any]
) -> float | None:
    """What importance sampling gives of the same data, if it can and of the same model."""
    if option(vae.likelihood, "takes_total"):
        return None  # the data were drawn given the mean total, and would be scored given their own
    try:
        found = log_likelihood(vae, x, y, seconds=seconds, **common).log_prob
        return found.mean().item() if len(found) == len(x) else None
    except ValueError:
        return None


def _mean(log_prob: Tensor) -> dict[str, Any]:
    return {
        "items": len(log_prob),
        "log_likelihood": log_prob.double().mean().item(),
        "standard_error_of_data": _error(log_prob),
    }


def _error(values: Tensor) -> float | None:
    """The standard error of a mean."""
    return values.double().std().item() / math.sqrt(len(values)) if len(values) > 1 else None


def _known(value: float) -> float | None:
    """JSON knows no NaN."""
    return None if math.isnan(value) else value
