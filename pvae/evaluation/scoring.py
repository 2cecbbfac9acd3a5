"""The weights of many draws of z, by one compiled graph where the work repays it."""

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, fx
from torch.distributions import Bernoulli, Independent
from torch.fx.experimental.proxy_tensor import make_fx

from pvae.inference.backends import best_backend, compile_graph
from pvae.inference.tracing import trace
from pvae.inference.untraceable import Untraceable
from pvae.vae import VAE

Draw = tuple[Tensor, ...]
Density = Callable[..., tuple[Tensor, Tensor]]
LogProb = Callable[[dist.TorchDistribution, Tensor], Tensor]

# Numbers computed in all, above which compiling repays its quarter of a minute.
REPAID = 3 * 10**10

# For code that threads of Python run side by side: it has no threads of its own, and its wrapper,
# in C++, lets go of Python's lock.
_SIDE_BY_SIDE = {"cpp.threads": 1, "cpp_wrapper": True}

# Portions put before each of those threads, so that none is idle while this one scores its own.
_WAITING = 4

_WIDTH = 16  # Bernoulli variables side by side, as processors take numbers,
_FACTORS = 64  # and in one product, of factors in (1, 2]


def _log_prob(p: dist.TorchDistribution, x: Tensor) -> Tensor:
    return p.log_prob(x)


def _log_prob_by_products(p: dist.TorchDistribution, x: Tensor) -> Tensor:
    """The same, where a logarithm costs as much as many products.

    For independent Bernoulli variables of logits l it is x l - max(l, 0) - log(1 + exp(-|l|)),
    summed: the sum of logarithms is that of a few products. Compiled, it halves the time.
    """
    if not (isinstance(p, Independent) and isinstance(p.base_dist, Bernoulli)):
        return p.log_prob(x)
    logits, x = torch.broadcast_tensors(p.base_dist.logits, x)
    logits, x = (t.flatten(t.dim() - p.event_dim) for t in (logits, x))
    whole = logits.shape[-1] // _WIDTH * _WIDTH
    logs = _factors(logits[..., whole:]).log().sum(-1)
    if whole:
        groups = logits[..., :whole].unflatten(-1, (-1, _WIDTH)).split(_FACTORS, dim=-2)
        logs = logs + sum(_factors(group).prod(-2).log().sum(-1) for group in groups)
    return (x * logits - logits.relu()).sum(-1) - logs


def _factors(logits: Tensor) -> Tensor:
    return 1 + torch.exp2(-logits.abs() / math.log(2))  # of base 2, which costs less than of e


class Scorer:
    r"""log p(x, z) - log q(z) of many draws of z for each datum, without gradients.

    Where the planned work repays it and the parts have a static graph, the first shape it is called
    with is compiled; others, as of a last smaller chunk, are run as they are. What an eager program
    does beside its matrix products, with numbers that come and go between its operators, takes as
    long as these; compiled, a quarter of it. On a CPU the draws are then scored in portions side by
    side, each by one thread: threads that share each operator wait for each other at the end of it.

    Args:
        vae: the VAE.
        floats: about how many are computed in all.
    """

    def __init__(self, vae: VAE, floats: float = 0) -> None:
        self.vae = vae
        self._worthwhile = floats > REPAID and best_backend(vae.device) == "inductor"
        # How many portions are scored at a time.
        on_threads = self._worthwhile and vae.device.type == "cpu"
        self.abreast = torch.get_num_threads() if on_threads else 1
        self._compiled: Callable[..., Tensor] | None = None
        self._compiled_for: tuple = ()

    def __call__(
        self,
        draw: Callable[[], Draw],
        density: Density,
        times: int,
        x: Tensor,
        y: Tensor | None = None,
    ) -> Tensor:
        r"""Return log p(x, z) - log q(z).

        Args:
            draw: called in this thread, makes a portion of draws, of k for each datum: always
                tensors of the same shapes, the first of them (k, n, latent_dim).
            density: from the tensors of a draw to z, of shape (k, n, latent_dim), and log q(z), of
                shape (k, n).
            times: how many portions.
            x: shape (n, \*event_shape).
            y: their labels, if the VAE has any.

        Returns:
            A tensor of shape (times, k, n).
        """
        given = [t for t in (x, y) if t is not None]
        first = draw()
        if self._worthwhile:
            self._worthwhile = False  # whether or not it succeeds, it is tried once
            self._compile(density, len(first), [*first, *given])
        score: Callable[..., Tensor] = partial(self._log_weight, density, len(first))
        if self._compiled is not None and self._compiled_for == _kind(density, [*first, *given]):
            score = self._compiled
        # Weights go where there is room for all: kept one by one, they would lie in the memory that
        # portions take and give back, and leave it in pieces too small for the next.
        found = x.new_empty(times, len(first[0]), len(x))

        def fill(portion: Tensor, draw: Draw) -> None:
            with torch.no_grad():  # in whichever thread
                portion.copy_(score(*draw, *given))

        draws = chain([first], (draw() for _ in range(times - 1)))
        if score is self._compiled and self.abreast > 1:
            self._side_by_side(fill, zip(found, draws, strict=True))
        else:
            for portion, drawn in zip(found, draws, strict=True):
                fill(portion, drawn)
        return found

    def _side_by_side(self, call: Callable, arguments: Iterable[tuple]) -> None:
        """Call in other threads, and in this one while enough calls wait there."""
        others = self.abreast - 1
        waiting: set[Future] = set()
        threads = torch.get_num_threads()
        pool = ThreadPoolExecutor(others, initializer=_compute_alone)
        try:
            for given in arguments:
                done = {future for future in waiting if future.done()}
                for future in done:
                    future.result()  # which raises what went wrong there
                waiting -= done
                if len(waiting) < _WAITING * others:
                    waiting.add(pool.submit(call, *given))
                    continue
                torch.set_num_threads(1)
                call(*given)
                torch.set_num_threads(threads)
            for future in waiting:
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)  # what was set last is that of every new thread

    def _log_weight(
        self, density: Density, size: int, *tensors: Tensor, log_prob: LogProb = _log_prob
    ) -> Tensor:
        # Of tensors that are a draw, as many as its size, then x, then y if there are labels.
        z, log_q = density(*tensors[:size])
        x, *y = tensors[size:]
        # The labels were checked with the data; to check them here no graph could be traced.
        c = self.vae.labels(*y) if y and self.vae.labels is not None else None
        log_p_z = self.vae.prior_given(c).log_prob(z)
        return log_p_z + log_prob(self.vae.likelihood_given(z, c, x), x) - log_q

    def _compile(self, density: Density, size: int, inputs: Sequence[Tensor]) -> None:
        def weigh(model: Callable, guide: Callable, *tensors: Tensor) -> Tensor:
            return self._log_weight(density, size, *tensors, log_prob=_log_prob_by_products)

        parameters = list(self.vae.parameters())
        try:
            graph = trace(
                weigh, weigh, weigh, parameters, inputs, lambda t: (tuple(t), {}), scale=None
            )
        except Untraceable:
            return
        tensors = [*parameters, *inputs, *graph.live]
        module = _in_cheaper_operators(graph.module, tensors)
        if _draws(module):  # in other threads, in whatever order these come by
            self.abreast = 1
        options = _SIDE_BY_SIDE if self.abreast > 1 else {}
        run = compile_graph(module, tensors, "inductor", options)
        self._compiled = lambda *given: run(*parameters, *given, *graph.live)[0]
        self._compiled_for = _kind(density, inputs)


def _kind(density: Density, tensors: Sequence[Tensor]) -> tuple:
    return density, *((t.shape, t.dtype) for t in tensors)


def _draws(module: fx.GraphModule) -> bool:
    """Whether a graph draws random numbers, as the bound of a hierarchical prior does."""
    tags = (getattr(node.target, "tags", ()) for node in module.graph.nodes)
    return any(torch.Tag.nondeterministic_seeded in tag for tag in tags)


def _compute_alone() -> None:
    """Let a new thread use no others."""
    torch.get_num_threads()  # which sets it to that of the process, if it was not set
    torch.set_num_threads(1)


def _in_cheaper_operators(module: fx.GraphModule, tensors: Sequence[Tensor]) -> fx.GraphModule:
    """The same graph with tanh by exp, and biases added by what follows their products.

    Compiled code takes a third of the time for this tanh. It is exact to a rounding of 1, not of
    small numbers, whose own gradients would suffer.
    """
    table: dict[Any, Callable[..., Any]] = {
        torch.ops.aten.tanh.default: lambda h: 1 - 2 / (1 + torch.exp2(2 / math.log(2) * h)),
        torch.ops.aten.addmm.default: _addmm,
    }
    return make_fx(module, table, tracing_mode="fake", _allow_non_fake_inputs=True)(*tensors)


def _addmm(bias: Tensor, x: Tensor, weight: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    # The operator would copy the bias to every row first. Inductor makes it of a product and a sum,
    # but not of a difference.
    product = torch.mm(x, weight)
    return (product if alpha == 1 else alpha * product) - (-beta * bias)
