"""Trajectories of Hamiltonian Monte Carlo for many chains, by compiled graphs if that pays off."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, fx

from pvae.evaluation.batching import floats_per_row
from pvae.evaluation.scoring import (
    ON_A_THREAD,
    REPAID,
    draws,
    in_cheaper_operators,
)
from pvae.evaluation.unconstrained import Latents, latents_of
from pvae.inference.backends import best_backend, compile_graph
from pvae.inference.passes import erase_unused, hoist
from pvae.inference.shards import compute_alone
from pvae.inference.tracing import trace
from pvae.inference.untraceable import Untraceable
from pvae.interfaces import option
from pvae.vae import VAE

# Rows that a graph takes: few, so that little is wasted on the last portion, where a row is
# expensive; many where it is so cheap that calls of the graph would take as long.
FEW, MANY = 40, 200
CHEAP = 3000  # floats per row
BACK_AND_FORTH = 2  # times the floats of a score are computed for it and its gradient


class Point(NamedTuple):
    """The position of the chains, with the two log-densities there and their gradients."""

    u: Tensor
    log_prior: Tensor
    log_likelihood: Tensor
    prior_gradient: Tensor
    likelihood_gradient: Tensor

    def log_prob(self, beta: float | Tensor) -> Tensor:
        """The log-density at an inverse temperature."""
        return self.log_prior + beta * self.log_likelihood

    def gradient(self, beta: float | Tensor) -> Tensor:
        """Its gradient."""
        return self.prior_gradient + beta * self.likelihood_gradient


def point(base: Latents, log_likelihood: Callable[[Tensor], Tensor], u: Tensor) -> Point:
    """Score u.

    Args:
        base: the latents.
        log_likelihood: of z.
        u: the latents as real vectors.
    """
    with torch.enable_grad():
        u = u.detach().requires_grad_()
        prior, likelihood = base.log_prob(u), log_likelihood(base.z(u))
        gradients = [torch.autograd.grad(f.sum(), u)[0] for f in (prior, likelihood)]
    # Where a density overflows, the weight is zero and the trajectory continues straight.
    likelihood = likelihood.detach().nan_to_num(nan=-math.inf, neginf=-math.inf)
    gradients = [g.nan_to_num(0.0, 0.0, 0.0) for g in gradients]
    return Point(u.detach(), prior.detach(), likelihood, *gradients)


class _Step(NamedTuple):
    """A compiled step, and what it needs beside its inputs."""

    run: Callable[..., Sequence[Tensor]]
    before: Callable[..., Sequence[Tensor]]
    live: list[Tensor]


class Rows(NamedTuple):
    """The data of chains, one a row, in portions of equal size; the last row fills the last one.

    Attributes:
        steps: the two graphs.
        source: the row of each, among (chains, n) flattened.
        portions: the tensors that the two graphs take beside the state of the chains.
    """

    steps: tuple[_Step, _Step]
    source: Tensor
    portions: list[tuple[list[Tensor], list[Tensor]]]


class Trajectories:
    """Compiled trajectories, for any number of chains and data of a VAE.

    One graph makes a leapfrog step, and computes gradients only; the other makes the last one,
    where the log-densities are needed as well. Temperatures and step sizes are tensors, and the
    rows that a graph takes are chains of any data, so nothing is compiled twice. What does not
    depend on the latents, such as factorials of counts, is computed once for all steps. On a CPU,
    portions of the rows run in parallel, each on one thread, for a whole trajectory.

    Args:
        vae: the VAE.
        gradients: how many are computed in all, each of one chain of one datum.
    """

    def __init__(self, vae: VAE, gradients: float = 0) -> None:
        self.vae = vae
        floats = floats_per_row(vae) if gradients else 0
        much = BACK_AND_FORTH * gradients * floats > REPAID
        self.worthwhile = much and best_backend(vae.device) == "inductor"
        self._steps: dict[bool, tuple[_Step, _Step] | None] = {}
        self._size = MANY if floats <= CHEAP else FEW
        self._threads = torch.get_num_threads() if vae.device.type == "cpu" else 1
        self._pool: ThreadPoolExecutor | None = None

    def rows(
        self, x: Tensor, y: Tensor | None, observed: bool, chains: int, dim: int
    ) -> Rows | None:
        r"""Prepare the data for chains; ``None`` if they are to run eagerly.

        Args:
            x: shape (n, \*event_shape).
            y: their labels, if the VAE has any.
            observed: whether the likelihood is given the totals of x.
            chains: of each datum.
            dim: the number of latents as real vectors.
        """
        if not self.worthwhile:
            return None
        observed = observed and bool(option(self.vae.likelihood, "takes_total"))
        count = chains * len(x)
        if self.vae.device.type != "cpu" and not self._steps:
            self._size = count
        size = self._size
        index = torch.arange(math.ceil(count / size) * size, device=x.device).clamp(max=count - 1)
        given = [t[index % len(x)].split(size) for t in (x, y) if t is not None]
        portions = [list(tensors) for tensors in zip(*given, strict=True)]
        if observed not in self._steps:
            self._steps[observed] = self._compile(portions[0], observed, dim)
        steps = self._steps[observed]
        if steps is None:
            return None
        parameters, unused = list(self.vae.parameters()), [None] * len(_MOVING)

        def with_fixed(step: _Step, given: list[Tensor]) -> list[Tensor]:
            given = [*given, *step.live]
            return [*given, *step.before(*parameters, *unused, *given)]

        first, last = steps
        both = [(with_fixed(first, given), with_fixed(last, given)) for given in portions]
        return Rows(steps, index, both)

    def __call__(
        self,
        rows: Rows,
        u: Tensor,
        momentum: Tensor,
        step: Tensor,
        beta: float,
        num_leapfrog: int,
    ) -> tuple[Point, Tensor]:
        """Follow trajectories; return their ends, and the momentum there.

        Args:
            rows: of `rows`.
            u: where they start, shape (chains, n, dim).
            momentum: after the first half step, of the same shape.
            step: sizes of the steps, shape (n, 1).
            beta: the inverse temperature.
            num_leapfrog: the number of steps.
        """
        step = step.expand(len(u), -1, -1)
        split = [t.flatten(0, 1)[rows.source].split(self._size) for t in (u, momentum, step)]
        temperature = torch.tensor(beta, dtype=u.dtype, device=u.device)
        follow = partial(
            _follow, rows.steps, list(self.vae.parameters()), num_leapfrog, temperature
        )
        work = list(zip(rows.portions, *split, strict=True))
        if self._threads > 1 and len(work) > 1:
            found = self._in_parallel(follow, work)
        else:
            found = [follow(*one) for one in work]
        count = u.shape[0] * u.shape[1]
        joined = (torch.cat(parts)[:count] for parts in zip(*found, strict=True))
        momentum, *at = (t.unflatten(0, u.shape[:2]) for t in joined)
        return Point(*at), momentum

    def _in_parallel(self, follow: Callable, work: Sequence[tuple]) -> list:
        threads = torch.get_num_threads()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, initializer=compute_alone)
        waiting = [self._pool.submit(follow, *one) for one in work]
        found = [future.result() for future in waiting]
        torch.set_num_threads(threads)  # new threads inherit the last setting
        return found

    def _compile(self, given: list[Tensor], observed: bool, dim: int) -> tuple[_Step, _Step] | None:
        vae = self.vae

        def leap(u: Tensor, momentum: Tensor, step: Tensor, x: Tensor, *y: Tensor) -> Point:
            # The labels were checked with the data; a check here could not be traced.
            c = vae.labels(*y) if y and vae.labels is not None else None
            like = x if observed else None
            return point(
                latents_of(vae.prior_given(c)),
                lambda z: vae.likelihood_given(z, c, like).log_prob(x),
                u + step * momentum,
            )

        def inner(
            u: Tensor, momentum: Tensor, step: Tensor, beta: Tensor, *given: Tensor
        ) -> tuple[Tensor, ...]:
            at = leap(u, momentum, step, *given)
            return momentum + step * at.gradient(beta), at.u

        def last(
            u: Tensor, momentum: Tensor, step: Tensor, beta: Tensor, *given: Tensor
        ) -> tuple[Tensor, ...]:
            at = leap(u, momentum, step, *given)
            return momentum + step / 2 * at.gradient(beta), *at

        state = given[0].new_zeros(self._size, dim)
        step, beta = given[0].new_zeros(self._size, 1), given[0].new_zeros(())
        inputs = [state, state.clone(), step, beta, *given]
        try:
            first, second = self._step(inner, inputs), self._step(last, inputs)
        except Untraceable:
            return None
        return first, second

    def _step(self, step: Callable, inputs: Sequence[Tensor]) -> _Step:
        def call(model: Callable, guide: Callable, *tensors: Tensor) -> tuple[Tensor, ...]:
            return step(*tensors)

        parameters = list(self.vae.parameters())
        graph = trace(call, step, step, parameters, inputs, lambda t: (tuple(t), {}), scale=None)
        found = [*parameters, *inputs, *graph.live]
        module = in_cheaper_operators(graph.module, found, _CHEAPER)
        _skip_logarithms(module)
        erase_unused(module)
        if draws(module):
            raise Untraceable("it draws random numbers, whose order would be another")
        before = hoist(module, range(len(parameters), len(parameters) + len(_MOVING)))
        unused = [None] * len(_MOVING)
        given = inputs[len(_MOVING) :]
        fixed = before(*parameters, *unused, *given, *graph.live)
        tensors = [*parameters, *inputs, *graph.live, *fixed]
        options = ON_A_THREAD if self._threads > 1 else {}
        return _Step(compile_graph(module, tensors, "inductor", options), before, graph.live)


def _log_sigmoid_backward(gradient: Tensor, x: Tensor, buffer: Tensor) -> Tensor:
    return gradient * torch.sigmoid(-x)  # which `_skip_logarithms` knows


def _skip_logarithms(module: fx.GraphModule) -> None:
    """Compute the sigmoid of ±log a, as of logits that are logarithms of rates, from a itself."""
    aten = torch.ops.aten
    for node in list(module.graph.nodes):
        if node.target is not aten.sigmoid.default:
            continue
        logits, negative = node.args[0], False
        while logits.target is aten.neg.default:
            logits, negative = logits.args[0], not negative
        if logits.target is not aten.log.default:
            continue
        with module.graph.inserting_before(node):
            odds = logits.args[0]
            if not negative:
                odds = module.graph.call_function(aten.reciprocal.default, (odds,))
            whole = module.graph.call_function(aten.add.Tensor, (odds, 1))
            share = module.graph.call_function(aten.reciprocal.default, (whole,))
        node.replace_all_uses_with(share)


_CHEAPER = {torch.ops.aten.log_sigmoid_backward.default: _log_sigmoid_backward}
_MOVING = ("u", "momentum", "step", "beta")  # the inputs that differ from step to step


def _follow(
    steps: tuple[_Step, _Step],
    parameters: Sequence[Tensor],
    num_leapfrog: int,
    beta: Tensor,
    given: tuple[list[Tensor], list[Tensor]],
    u: Tensor,
    momentum: Tensor,
    step: Tensor,
) -> Sequence[Tensor]:
    """Follow the trajectories of a portion; return the momentum, then the fields of a point."""
    (inner, last), (each, final) = steps, given
    with torch.no_grad():  # the setting is per thread
        for _ in range(num_leapfrog - 1):
            momentum, u = inner.run(*parameters, u, momentum, step, beta, *each)
        return last.run(*parameters, u, momentum, step, beta, *final)
