"""Annealed importance sampling: estimates of the evidence without the guide."""

import itertools
import math
from typing import Any, NamedTuple

import pyro
import torch
from torch import Tensor

from pvae.checks import check_size
from pvae.evaluation.batching import (
    MEMORY,
    Count,
    as_batch,
    check_batch,
    check_vae,
    counted,
    per_datum,
    portions,
    rows_within,
)
from pvae.evaluation.importance import effective_sample_size, log_mean, standard_error
from pvae.evaluation.results import FEW_CHAINS, LOWER_BOUND, described, interval
from pvae.evaluation.trajectory import Point, Rows, Trajectories, point
from pvae.evaluation.unconstrained import latents
from pvae.seeds import seeded
from pvae.vae import VAE
from pvae.weights.draws import NUM_WEIGHTS, over_weights

STEEPNESS = 4  # of the schedule
ACCEPTANCE = 0.65  # target, the optimum of Hamiltonian Monte Carlo in many dimensions
RATE = 0.5  # of adapting the logarithm of the step size


class AIS(NamedTuple):
    """An estimate of the evidence of each datum, in nats.

    Attributes:
        log_prob: stochastic lower bound of log p(x), shape (n,).
        standard_error: of log_prob, by the delta method, from the spread of the weights between the
            chains, shape (n,): the relative error of their mean. It misses errors that all chains
            share, is NaN for one chain, and is meaningless for an effective sample size of 3 or
            less.
        effective_sample_size: (sum w)^2 / sum w^2, the equivalent number of chains of equal weight,
            from 1 to the number of chains, shape (n,).
        acceptance: rate at which proposals were accepted, over the whole path, shape (n,); about
            0.65 if the step sizes fit.
        over_weights: log p(x|w) for each draw w of uncertain weights, shape (n, draws); of a VAE
            without them ``log_prob`` alone. They give its error (see `weight_error`). Then
            ``log_prob`` is that of the mean of p(x|w), and the other fields are those of all chains
            given the weights.
    """

    log_prob: Tensor
    standard_error: Tensor
    effective_sample_size: Tensor
    acceptance: Tensor
    over_weights: Tensor

    def __repr__(self) -> str:
        few = bool((self.effective_sample_size <= FEW_CHAINS).any())
        return described(self, *([f"log p(x), {LOWER_BOUND}: few chains make it"] if few else []))


class Bidirectional(NamedTuple):
    r"""Bounds of the evidence of data drawn from the model, in nats.

    Attributes:
        lower: stochastic lower bound of log p(x), by annealing from the prior, shape (n,).
        upper: stochastic upper bound of log p(x), by annealing from the exact posterior sample,
            shape (n,).
        gap: upper - lower, shape (n,); its mean bounds the mean error of either.
        x: the data drawn, shape (n, \*event_shape).
    """

    lower: Tensor
    upper: Tensor
    gap: Tensor
    x: Tensor

    def __repr__(self) -> str:
        n = len(self.gap)
        error = self.gap.std().item() / n**0.5 if n > 1 else None
        bounds = interval(self.lower.mean().item(), self.upper.mean().item(), error)
        return described(self, f"log p(x) of {n:,} data drawn from the model, {bounds}")


def ais(
    vae: VAE,
    x: Tensor,
    y: object = None,
    *,
    num_chains: int = 16,
    num_steps: int = 500,
    num_leapfrog: int = 10,
    num_weights: int = NUM_WEIGHTS,
    memory: float = MEMORY,
    seed: int = 0,
    progress: bool = True,
    trajectories: Trajectories | None = None,
) -> AIS:
    r"""Estimate log p(x) by annealed importance sampling, without the guide.

    Chains start at the prior and move through the distributions

    .. math::
        f_t(z) = p(z) \, p(x|z)^{\beta_t}, \qquad 0 = \beta_0 < \ldots < \beta_T = 1,

    by one transition of Hamiltonian Monte Carlo at each, with weights (Neal 2001)

    .. math::
        \log w = \sum_{t=1}^T (\beta_t - \beta_{t-1}) \log p(x|z_{t-1}), \qquad E[w] = p(x).

    Their mean over the chains is unbiased for p(x), so its logarithm is a stochastic lower bound of
    log p(x): E[log_prob] <= log p(x), and log_prob > log p(x) + c with probability at most
    exp(-c). It tightens with the number of temperatures. The schedule is sigmoidal, with
    most temperatures near both ends (Wu et al. 2017, section 3.3).

    The step size of each datum at each temperature is adapted in a pilot run to an acceptance
    of 0.65, and fixed in the final run, so that the bound is exact. The cost is that of
    2 num_chains num_steps num_leapfrog gradients of log p(x|z) for each datum.

    A hierarchical VAE is annealed over all its levels jointly; latents on the sphere as
    directions of normal vectors.

    Args:
        vae: the VAE.
        x: shape (n, \*event_shape), in the likelihood's domain.
        y: their labels, if the VAE has any.
        num_chains: independent chains of each datum.
        num_steps: T, steps from the prior to the posterior.
        num_leapfrog: leapfrog steps of a transition.
        num_weights: draws of uncertain weights, over which p(x|w) is averaged.
        memory: approximate limit of the memory used, in MiB.
        seed: of the random draws.
        progress: whether to show a progress bar.
        trajectories: those of several calls, so that they are compiled once; by default they are
            compiled if that pays off for this call.

    Raises:
        ValueError: if x or y is not what the VAE takes, a number is below 1, the memory is not
            positive, or the latents are discrete.

    Example:
        >>> import torch
        >>> import pvae
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> found = pvae.evaluation.ais(vae, torch.ones(5, 1, 8, 8), num_chains=4, num_steps=10)
        >>> found.log_prob.shape
        torch.Size([5])
    """
    _check_sizes(num_chains, num_steps, num_leapfrog)
    check_size("num_weights", num_weights)
    x = as_batch(vae, x)
    with over_weights(vae, num_weights, seed) as draws:
        gradients = 2 * len(draws) * len(x) * num_chains * num_steps * num_leapfrog
        shared = trajectories or Trajectories(vae, gradients)

        def given_weights(x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
            path = Path(vae, x, y, x, num_steps, num_leapfrog, shared)
            sizes = list(portions(num_chains, rows_within(vae, memory) // len(x)))
            with counted((1 + len(sizes)) * num_steps, progress, "temperatures") as shown:
                path.adapt(sizes[0], shown)
                runs = [path.run(path.start(size), shown) for size in sizes]
            log_w, acceptance, _ = map(torch.cat, zip(*runs, strict=True))
            return log_w, acceptance.mean(0)

        def estimate(x: Tensor, y: Tensor | None) -> AIS:
            found = []
            with pyro.validation_enabled(False):  # a diverging trajectory is rejected, no error
                for use in draws:
                    use()
                    found.append(given_weights(x, y))
            log_w, acceptance = map(torch.stack, zip(*found, strict=True))
            log_prob = torch.stack([log_mean(one) for one in log_w])
            share = log_prob.softmax(0)  # of a draw of the weights in p(x)
            errors = torch.stack([standard_error(one) for one in log_w])
            return AIS(
                log_mean(log_prob),
                (share * errors).norm(dim=0),
                effective_sample_size(log_w.flatten(0, 1)),
                acceptance.mean(0),
                log_prob.T,
            )

        options: dict[str, Any] = {"memory": memory, "seed": seed, "progress": progress}
        return per_datum(estimate, vae, x, y, rows=num_chains, **options)


def bidirectional(
    vae: VAE,
    n: int,
    y: object = None,
    *,
    num_chains: int = 16,
    num_steps: int = 500,
    num_leapfrog: int = 10,
    num_weights: int = NUM_WEIGHTS,
    memory: float = MEMORY,
    seed: int = 0,
    progress: bool = True,
    trajectories: Trajectories | None = None,
) -> Bidirectional:
    r"""Sandwich log p(x) of data drawn from the model, by bidirectional Monte Carlo.

    If x is drawn with its z, from p(z) p(x|z), z is an exact sample of p(z|x). Annealing from
    it to the prior, with the transitions of `ais` in reverse order, has weights whose mean is
    1 / p(x), so that (Grosse, Ghahramani, Adams 2015)

    .. math::
        E\Big[\log \frac{1}{K} \sum_k w_k\Big] \le \log p(x) \le
        E\Big[-\log \frac{1}{K} \sum_k w'_k\Big].

    All K reverse chains start at this exact sample. The gap bounds the error of `ais` with the
    same arguments on these data; for real data it is an estimate, as good as the model of
    them (Wu, Burda, Salakhutdinov, Grosse 2017, section 3).

    If weights of the VAE are uncertain, each draw w of them has an equal part of the data, which
    are drawn from p(x|w); the bounds are of log p(x|w), and not of its mean over w.

    Args:
        vae: the VAE.
        n: how many data to draw. Likelihoods that observe the total of counts take their mean
            total for all of them.
        y: labels of the n data, if the VAE has any.
        num_chains: K, forward and reverse chains of each datum.
        num_steps: steps between the prior and the posterior.
        num_leapfrog: leapfrog steps of a transition.
        num_weights: draws of uncertain weights, at most n.
        memory: approximate limit of the memory used, in MiB.
        seed: of the random draws.
        progress: whether to show a progress bar.
        trajectories: those of several calls, so that they are compiled once; by default they are
            compiled if that pays off for this call.

    Raises:
        ValueError: if y is missing, not a label or of another length than n, a number is below 1,
            the memory is not positive, the latents are discrete, or the likelihood is no density.

    Example:
        >>> import pvae
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> found = pvae.evaluation.bidirectional(vae, 5, num_chains=4, num_steps=10)
        >>> found.gap.shape, found.x.shape
        (torch.Size([5]), torch.Size([5, 1, 8, 8]))
    """
    check_vae(vae)
    check_size("n", n)
    check_size("num_weights", num_weights)
    _check_sizes(num_chains, num_steps, num_leapfrog)
    given: Tensor | None = None
    if vae.labels is not None and (y is not None or vae.classifier is None):
        given = vae.labels.check(y)
        if given.shape[:1] != (n,):
            raise ValueError(
                f"y has shape {tuple(given.shape)}: give one label for each of {n} data."
            )
    rows, done, found = rows_within(vae, memory), 0, []
    shared = trajectories or Trajectories(vae, 3 * n * num_chains * num_steps * num_leapfrog)
    with (
        over_weights(vae, min(n, num_weights), seed) as draws,
        vae.evaluating(),
        seeded(seed, vae.device),
        pyro.validation_enabled(False),
        counted(n, progress) as data,
    ):
        parts = zip(draws, torch.arange(n).tensor_split(len(draws)), strict=True)
        sizes = ((use, s) for use, part in parts for s in portions(len(part), rows // num_chains))
        for use, size in sizes:
            use()
            labels = None if given is None else given[done : done + size]
            base = latents(vae, labels)
            u = base.sample(torch.Size([size]))
            x = vae.decode(base.z(u), labels).sample()
            check_batch(vae, x, labels)
            # The model is the one that x was drawn from, whatever total x has.
            path = Path(vae, x, labels, None, num_steps, num_leapfrog, shared)
            chains = list(portions(num_chains, rows // size))
            with counted((1 + 2 * len(chains)) * num_steps, progress, "temperatures") as shown:
                path.adapt(chains[0], shown)
                there = [path.run(path.start(k), shown)[0] for k in chains]
                back = [path.run(u.expand(k, *u.shape), shown, reverse=True)[0] for k in chains]
            lower, upper = log_mean(torch.cat(there)), -log_mean(torch.cat(back))
            found.append(Bidirectional(lower, upper, upper - lower, x))
            done += size
            data.update(size)
    return Bidirectional(*map(torch.cat, zip(*found, strict=True)))


class Path:
    """The distributions between prior and posterior of some data, with their transitions.

    Chains are u of shape (chains, n, dim). `like` are the data whose totals are observed;
    `trajectories` are compiled for this VAE, if that pays off.
    """

    def __init__(
        self,
        vae: VAE,
        x: Tensor,
        y: Tensor | None,
        like: Tensor | None,
        num_steps: int,
        num_leapfrog: int,
        trajectories: Trajectories | None = None,
    ) -> None:
        self.vae, self.x, self.y, self.like = vae, x, y, like
        self.trajectories = trajectories or Trajectories(vae)
        self._rows: dict[int, Rows | None] = {}
        self.base = latents(vae, y)
        self.num_leapfrog = num_leapfrog
        s = torch.linspace(-STEEPNESS, STEEPNESS, num_steps + 1, dtype=torch.float64).sigmoid()
        self.betas = ((s - s[0]) / (s[-1] - s[0])).tolist()
        self.steps = x.new_full((num_steps + 1, len(x)), self.base.dim**-0.25)

    def start(self, chains: int) -> Tensor:
        """Draw from the prior."""
        return self.base.sample(torch.Size([chains, len(self.x)]))

    def adapt(self, chains: int, shown: Count) -> None:
        """Find the step size of each datum at each temperature."""
        self.run(self.start(chains), shown, adapt=True)

    def run(
        self, u: Tensor, shown: Count, *, reverse: bool = False, adapt: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Anneal; return the log-weights and the mean acceptance, both (chains, n), and u."""
        order = range(len(self.betas))[:: -1 if reverse else 1]
        here = self.point(u)
        log_w, accepted = torch.zeros_like(here.log_prior), torch.zeros_like(here.log_prior)
        for last, t in itertools.pairwise(order):
            log_w += (self.betas[t] - self.betas[last]) * here.log_likelihood
            if t != order[-1]:  # a transition after the last weight has no effect
                here, acceptance = self.transition(here, t)
                accepted += acceptance
                if adapt:
                    change = (RATE * (acceptance.mean(0) - ACCEPTANCE)).exp()
                    self.steps[t + 1] = change * self.steps[t]
            shown.update()
        return log_w, accepted / max(1, len(order) - 2), here.u

    def transition(self, here: Point, t: int) -> tuple[Point, Tensor]:
        """Make a Hamiltonian Monte Carlo transition (Neal 2011); return its acceptance rate too."""
        beta, step = self.betas[t], self.steps[t].unsqueeze(-1)
        start = torch.randn_like(here.u)
        there, momentum = self._follow(here.u, start + step / 2 * here.gradient(beta), step, beta)
        kinetic = (start.square() - momentum.square()).sum(-1) / 2
        gain = there.log_prob(beta) - here.log_prob(beta) + kinetic
        acceptance = gain.nan_to_num(nan=-math.inf, neginf=-math.inf).exp().clamp(max=1)
        moved = torch.rand_like(acceptance) < acceptance
        pairs = zip(there, here, strict=True)
        chosen = [
            torch.where(moved if new.dim() == moved.dim() else moved.unsqueeze(-1), new, old)
            for new, old in pairs
        ]
        return Point(*chosen), acceptance

    def _follow(
        self, u: Tensor, momentum: Tensor, step: Tensor, beta: float
    ) -> tuple[Point, Tensor]:
        """Follow trajectories from a momentum after its first half step; return their ends."""
        chains = len(u)
        if chains not in self._rows:
            self._rows[chains] = self.trajectories.rows(
                self.x, self.y, self.like is not None, chains, self.base.dim
            )
        rows = self._rows[chains]
        if rows is not None:
            return self.trajectories(rows, u, momentum, step, beta, self.num_leapfrog)
        for _ in range(self.num_leapfrog - 1):
            there = self.point(u + step * momentum)
            momentum = momentum + step * there.gradient(beta)
            u = there.u
        there = self.point(u + step * momentum)
        return there, momentum + step / 2 * there.gradient(beta)

    def point(self, u: Tensor) -> Point:
        """Score u."""

        def log_likelihood(z: Tensor) -> Tensor:
            return self.vae.decode(z, self.y, like=self.like).log_prob(self.x)

        return point(self.base, log_likelihood, u)


def _check_sizes(num_chains: int, num_steps: int, num_leapfrog: int) -> None:
    check_size("num_chains", num_chains)
    check_size("num_steps", num_steps)
    check_size("num_leapfrog", num_leapfrog)
