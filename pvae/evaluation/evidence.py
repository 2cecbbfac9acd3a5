"""Estimates of the evidence for a report, within a time limit, with their settings."""

import math
import time
from typing import Any, NamedTuple

import pyro
import torch
from torch import Tensor

from pvae.evaluation.ais import AIS, Bidirectional, Path, ais, bidirectional
from pvae.evaluation.batching import OutOfTime, is_stopped, stop_after
from pvae.evaluation.decomposition import active_units
from pvae.evaluation.importance import error_by_weights
from pvae.evaluation.level_kl import kl_by_level, levels_of
from pvae.evaluation.log_likelihood import LogLikelihood, log_likelihood
from pvae.evaluation.results import FEW_CHAINS, TOLERATED
from pvae.evaluation.trajectory import Trajectories
from pvae.interfaces import option
from pvae.seeds import seeded
from pvae.vae import VAE
from pvae.weights.draws import uncertain

PARETO_SAMPLES = 1000  # for the first check whether importance sampling is reliable
PARETO_ITEMS = 25
PARETO_SECONDS = 2.0  # after which fewer items have to do
LEAPFROG = 10  # steps of a transition, the default of `ais`
PASSES = 5  # adaptation and run for the estimate; adaptation, run and reverse run for the sandwich
SHARE = 0.5  # of the time left that a run may be planned for: machines are sometimes slower
NEXT = 0.3  # of the time left that more data may be planned for: a late block may be lost
MOST = 0.8  # of the time left that a longer plan, or the last of the data, may actually take
FAR = 3.0  # times the time left, beyond which the shortest plan is not tried
SMALL = 2  # data at a time in the remaining time

# Data, chains and steps of AIS, from the smallest useful plan to the largest.
PLANS = [(2, 4, 25), (5, 4, 50), (5, 8, 100), (5, 16, 200), (5, 16, 400), (5, 16, 800)]
STANDARD = 3  # beyond this plan more data are better than more steps, unless ...
COMPILING = 15.0  # seconds, about, to compile trajectories
TIGHT = 0.1  # ... the sandwich is wider than this, in nats
BLOCKS = (25, 10, 5, 2, 1)  # possible sizes of a block of data


def is_reliable(vae: VAE, x: Tensor, y: Tensor | None, seed: int) -> bool:
    """Whether importance sampling from the posterior is reliable, by k-hat of some data."""
    y = None if y is None else y[:PARETO_ITEMS]
    options: dict[str, Any] = {"seconds": PARETO_SECONDS, "seed": seed, "progress": False}
    found = log_likelihood(vae, x[:PARETO_ITEMS], y, num_samples=PARETO_SAMPLES, **options)
    return found.unreliable_share <= TOLERATED


def importance(
    vae: VAE,
    x: Tensor,
    y: Tensor | None,
    num_samples: int,
    seed: int,
    seconds: float | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Estimate log p(x) by importance sampling, with k-hat and active units, for a batch of data.

    Args:
        vae: the VAE.
        x: shape (n, \\*event_shape), in the likelihood's domain.
        y: their labels, if the VAE has any.
        num_samples: importance samples for each datum.
        seed: of the random draws.
        seconds: time after which no further data start; ``None`` for all data.
        progress: whether to show a bar.

    Returns:
        ``log_prob`` of each datum; ``log_likelihood``, its mean over the data in nats; the numbers
        ``items`` of these data and ``asked`` of those requested; ``standard_error``, of that mean
        by the importance samples; ``standard_error_of_data``, by the choice of the data; the median
        ``effective_sample_size``; ``pareto_k_above_0.7``, a fraction; ``active_units``.
        If weights are uncertain also ``standard_error_of_weights``, of that mean by their draws, of
        which there are ``num_weights``.
        An error is ``None`` if it is unknown: for one sample or datum, or if k-hat is above 0.7 for
        more than 5 % of the data. Of a hierarchy also ``level_kl``, the mean KL of each level from
        the top down, in nats.
    """
    common: dict[str, Any] = {"seed": seed, "progress": progress}
    found = log_likelihood(vae, x, y, num_samples=num_samples, seconds=seconds, **common)
    share = found.unreliable_share
    figures = {
        **_mean(found),
        "standard_error": found.mean_error if share <= TOLERATED else None,
        "asked": len(x),
        "num_samples": num_samples,
        "effective_sample_size": found.effective_sample_size.median().item(),
        "pareto_k_above_0.7": None if bool(found.pareto_k.isnan().all()) else share,
    }
    if len(x) > 1:
        figures["active_units"] = active_units(vae, x, y, **common).count
        figures["latents"] = math.prod(vae.latent_shape)
    if "prior" not in vae.conditional and levels_of(vae.p_z()) > 1:
        figures["level_kl"] = kl_by_level(vae, x, y, **common).kl.double().mean(0).tolist()
    return figures


def annealed(
    vae: VAE,
    x: Tensor,
    y: Tensor | None,
    seed: int,
    seconds: float = math.inf,
    progress: bool = True,
) -> dict[str, Any]:
    """Estimate log p(x) by annealed importance sampling, and its sandwich on simulated data.

    A short run on a few data measures the time per step. A longer one, with as many chains and
    steps as there is time for, then adds data until all are done or the time is over.

    Args:
        vae: the VAE.
        x: shape (n, \\*event_shape).
        y: their labels, if the VAE has any; also those of the simulated data.
        seed: of the random draws.
        seconds: time limit.
        progress: whether to show a bar.

    Returns:
        ``log_likelihood`` and its errors, as for `importance`, ``num_chains`` and ``num_steps``;
        and for as many data from the model: ``lower`` and ``upper`` bounds, the ``gap`` between
        them with its ``gap_standard_error`` by the choice of the data, and ``importance``, the
        estimate by importance sampling with 5,000 samples, with its ``excess`` over the upper bound
        and the ``excess_standard_error``, all ``None`` if it does not apply or there is no time for
        it.

    Raises:
        OutOfTime: if even the shortest run takes longer.
    """
    annealer = _Annealer(vae, x, y, seed, seconds, progress)
    annealer.choose_plan()
    annealer.extend()
    return annealer.figures()


class _Block(NamedTuple):
    """The results of AIS for some data, and for as many drawn from the model."""

    found: AIS
    drawn: Bidirectional
    importance: Tensor | None  # log p(x) of the data drawn


class _Annealer:
    """AIS of the data, block by block, within a time limit."""

    def __init__(
        self, vae: VAE, x: Tensor, y: Tensor | None, seed: int, seconds: float, progress: bool
    ) -> None:
        self.vae, self.x, self.y, self.seed, self.progress = vae, x, y, seed, progress
        self.ends = time.monotonic() + seconds
        self.plan = 0
        self.blocks: list[_Block] = []
        # Without a time limit, each call compiles what pays off for it.
        self.trajectories = None if seconds == math.inf else Trajectories(vae)
        self.slower = 1.0  # measured time over that of the gradients only
        self.comparison = 0.0  # seconds per datum of importance sampling
        self._gradients: dict[tuple[int, int], float] = {}

    def choose_plan(self) -> None:
        """Run the shortest plan, and then the longest that fits in the time.

        Raises:
            OutOfTime: if even the shortest does not fit.
        """
        following: int | None = 0
        while following is not None:
            share = MOST if self.blocks else 1.0
            try:
                self.blocks = [self._block(0, *PLANS[following], share)]
            except OutOfTime:
                if not self.blocks:
                    raise
                return
            if self.plan == 0:
                self._compile()
            self.plan = following
            following = self._following()

    def _compile(self) -> None:
        """Compile trajectories if a third of the time for annealing is left after that."""
        work = self._expected(len(self.x), *PLANS[min(STANDARD, len(PLANS) - 1)][1:])
        if min(work, self._left()) >= 1.5 * COMPILING:
            self.trajectories = Trajectories(self.vae, math.inf)
            self._gradients, self.slower = {}, 1.0

    def _following(self) -> int | None:
        """The longest useful plan beyond the current one that fits in the time."""
        wide = self.blocks[0].drawn.gap.mean().item() > TIGHT
        for index in range(len(PLANS) - 1, self.plan, -1):
            items, chains, steps = PLANS[index]
            if index > STANDARD:
                if self.plan < STANDARD or not wide:
                    continue
                items = BLOCKS[0]  # the least data for a plan with more steps
            if self._expected(items, chains, steps) <= SHARE * self._left():
                return index
        return None

    def extend(self) -> None:
        """Add data with the same chains and steps, as long as there is time."""
        _, chains, steps = PLANS[self.plan]
        done = len(self.blocks[0].found.log_prob)
        while done < len(self.x):
            for items in BLOCKS:
                size = min(items, len(self.x) - done)
                share = NEXT if items > SMALL else MOST
                if self._expected(size, chains, steps) <= share * self._left():
                    break
            else:
                return
            try:
                self.blocks.append(self._block(done, size, chains, steps))
            except OutOfTime:
                return
            done += size

    def _left(self) -> float:
        return 0.0 if is_stopped() else max(0.0, self.ends - time.monotonic())

    def _expected(self, items: int, chains: int, steps: int) -> float:
        """Predict the seconds for a block from a few of its gradients."""
        if self._left() == math.inf:
            return 0.0
        return items * self.comparison + self.slower * self._plain(items, chains, steps)

    def _plain(self, items: int, chains: int, steps: int) -> float:
        size = min(items, len(self.x)), chains
        if size not in self._gradients:
            y = None if self.y is None else self.y[: size[0]]
            self._gradients[size] = _gradient_seconds(
                self.vae, self.x[: size[0]], y, chains, self.trajectories
            )
        return PASSES * steps * LEAPFROG * self._gradients[size]

    def _block(self, first: int, items: int, chains: int, steps: int, share: float = 1.0) -> _Block:
        """Anneal some data, starting at index ``first``, and as many drawn from the model.

        Raises:
            OutOfTime: if it takes longer than a fraction of the time left.
        """
        # The first prediction, from a few gradients, may be wrong: it rules out what is far off.
        room = 1.0 if self.blocks else FAR
        if self._expected(items, chains, steps) > room * self._left():
            raise OutOfTime
        x = self.x[first : first + items]
        y = None if self.y is None else self.y[first : first + items]
        common: dict[str, Any] = {
            "seed": self.seed ^ first,
            "progress": self.progress,
        }  # new draws for each block
        budget: dict[str, Any] = {
            "num_chains": chains,
            "num_steps": steps,
            "trajectories": self.trajectories,
        }
        began = time.monotonic()
        with stop_after(share * self._left()):
            found = ais(self.vae, x, y, **budget, **common)
            drawn = bidirectional(self.vae, len(x), y, **budget, **common)
        annealed = time.monotonic()
        importance = _importance(self.vae, drawn.x, y, max(1.0, self._left()), common)
        self.comparison = (time.monotonic() - annealed) / len(x)
        if self.ends < math.inf:
            self.slower = (annealed - began) / self._plain(len(x), chains, steps)
        return _Block(found, drawn, importance)

    def figures(self) -> dict[str, Any]:
        """The report of all blocks together."""
        found = AIS(*map(torch.cat, zip(*(block.found for block in self.blocks), strict=True)))
        fields = zip(*(block.drawn for block in self.blocks), strict=True)
        drawn = Bidirectional(*map(torch.cat, fields))
        compared = [b.importance for b in self.blocks if b.importance is not None]
        importance = torch.cat(compared) if len(compared) == len(self.blocks) else None
        excess = None if importance is None else importance - drawn.upper.to(importance)
        n, effective = len(found.log_prob), found.effective_sample_size.median().item()
        error = _known(found.standard_error.double().norm().item() / n)
        return {
            **_mean(found),
            "standard_error": None if effective <= FEW_CHAINS else error,
            "asked": len(self.x),
            "num_chains": PLANS[self.plan][1],
            "num_steps": PLANS[self.plan][2],
            "effective_sample_size": effective,
            "sandwich": {
                "items": n,
                "lower": drawn.lower.mean().item(),
                "importance": None if importance is None else importance.mean().item(),
                "upper": drawn.upper.mean().item(),
                "excess": None if excess is None else excess.mean().item(),
                "excess_standard_error": None if excess is None else _error(excess),
                "gap": drawn.gap.mean().item(),
                "gap_standard_error": _error(drawn.gap),
            },
        }


def best(figures: dict[str, dict[str, Any]]) -> dict[str, str] | None:
    """Choose the best estimate of log p(x), with the reason.

    Importance sampling is best if k-hat says that its error is known. Otherwise all estimates are
    lower bounds, and the highest is the closest.

    Args:
        figures: results of `importance` and `annealed`, by "importance" and "ais", if available.

    Returns:
        ``estimator`` and ``reason``; ``None`` if there is no estimate.
    """
    if not figures:
        return None
    if len(figures) == 1:
        (name,) = figures
        return {"estimator": name, "reason": "it is the only estimate"}
    share, n = figures["importance"]["pareto_k_above_0.7"], figures["importance"]["items"]
    if share is not None and share <= TOLERATED:
        known = round((1 - share) * n)
        reason = f"k-hat is at most 0.7 for {known:,} of {n:,} items, so its error is known"
        return {"estimator": "importance", "reason": reason}
    of = min(f["items"] for f in figures.values())
    means = {name: f["log_prob"][:of].double().mean().item() for name, f in figures.items()}
    higher = max(means, key=lambda name: means[name])
    ahead = means[higher] - min(means.values())
    failed = (
        "no k-hat is known"
        if share is None
        else f"k-hat is above 0.7 for {100 * share:.0f} % of the items"
    )
    reason = (
        f"{failed}, so both estimates are lower bounds, and on the same {of:,} items this one is "
        f"higher by {ahead:.3f} nats"
    )
    return {"estimator": higher, "reason": reason}


def _gradient_seconds(
    vae: VAE, x: Tensor, y: Tensor | None, chains: int, trajectories: Trajectories | None
) -> float:
    """Measure the seconds per gradient for the chains of some data."""
    with vae.evaluating(), seeded(0, vae.device), pyro.validation_enabled(False):
        path = Path(vae, x.to(vae.device, vae.dtype), y, None, 2, LEAPFROG, trajectories)
        here, took = path.point(path.start(chains)), []
        for _ in range(3):  # the first includes preparations, such as compilation
            began = time.monotonic()
            float(path.transition(here, 1)[1].sum())
            took.append(time.monotonic() - began)
    return min(took) / LEAPFROG  # other work on the machine only adds to it


def _importance(
    vae: VAE, x: Tensor, y: Tensor | None, seconds: float, common: dict[str, Any]
) -> Tensor | None:
    """Estimate log p(x) of the same data by importance sampling, if that is comparable."""
    # Data were drawn given the mean total, or a draw of the weights, and would be scored otherwise.
    if option(vae.likelihood, "takes_total") or uncertain(vae):
        return None
    try:
        found = log_likelihood(vae, x, y, seconds=seconds, **common).log_prob
        return found if len(found) == len(x) else None
    except ValueError:
        return None


def _mean(found: LogLikelihood | AIS) -> dict[str, Any]:
    log_prob, error = found.log_prob, error_by_weights(found.over_weights)
    of_weights = {
        "num_weights": found.over_weights.shape[1],
        "standard_error_of_weights": error,
    }
    return {
        **({} if error is None else of_weights),
        "log_prob": log_prob,
        "items": len(log_prob),
        "log_likelihood": log_prob.double().mean().item(),
        "standard_error_of_data": _error(log_prob),
    }


def _error(values: Tensor) -> float | None:
    """The standard error of a mean."""
    return values.double().std().item() / math.sqrt(len(values)) if len(values) > 1 else None


def _known(value: float) -> float | None:
    """Replace NaN by None, since JSON has no NaN."""
    return None if math.isnan(value) else value
