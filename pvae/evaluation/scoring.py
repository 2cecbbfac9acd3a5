"""Importance weights of many draws of z, by a compiled graph if that pays off."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from pvae.inference.shards import compute_alone
from pvae.inference.tracing import trace
from pvae.inference.untraceable import Untraceable
from pvae.vae import VAE

Draw = tuple[Tensor, ...]
Density = Callable[..., tuple[Tensor, Tensor]]
LogProb = Callable[[dist.TorchDistribution, Tensor], Tensor]

# Total number of computed floats above which compilation, 15 s, pays off.
REPAID = 3 * 10**10

# For code that Python threads run in parallel: it has no threads of its own, and its C++ wrapper
# releases the GIL.
ON_A_THREAD = {"cpp.threads": 1, "cpp_wrapper": True}

# Portions queued for each thread, so that none is idle while the main thread scores its own.
_WAITING = 4

_WIDTH = 16  # Bernoulli variables per SIMD vector,
_FACTORS = 64  # and in one product, of factors in (1, 2]
_HALVINGS = 6  # as many factors


def _log_prob(p: dist.TorchDistribution, x: Tensor) -> Tensor:
    """The log-density by products as below, in operators that write where they read."""
    if not _is_bernoulli(p):
        return p.log_prob(x)
    logits, x = _vectors(p, x)
    factors = _factors(logits)
    for _ in range(_HALVINGS):
        half = factors.shape[-1] // 2
        factors[..., :half] *= factors[..., factors.shape[-1] - half :]
        factors = factors[..., : factors.shape[-1] - half]
    return (x * logits).sub_(logits.relu()).sum(-1) - factors.log().sum(-1)


def _log_prob_by_products(p: dist.TorchDistribution, x: Tensor) -> Tensor:
    """The log-density by products, which are cheaper than logarithms.

    For independent Bernoulli variables of logits l it is x l - max(l, 0) - log(1 + exp(-|l|)),
    summed: the sum of logarithms is that of a few products. Compiled, it halves the time.
    """
    if not _is_bernoulli(p):
        return p.log_prob(x)
    logits, x = _vectors(p, x)
    whole = logits.shape[-1] // _WIDTH * _WIDTH
    logs = _factors(logits[..., whole:]).log().sum(-1)
    if whole:
        groups = logits[..., :whole].unflatten(-1, (-1, _WIDTH)).split(_FACTORS, dim=-2)
        logs = logs + sum(_factors(group).prod(-2).log().sum(-1) for group in groups)
    return (x * logits - logits.relu()).sum(-1) - logs


def _is_bernoulli(p: dist.TorchDistribution) -> bool:
    return isinstance(p, Independent) and isinstance(p.base_dist, Bernoulli)


def _vectors(p: dist.TorchDistribution, x: Tensor) -> tuple[Tensor, Tensor]:
    """The logits and the values of Bernoulli variables, of one shape, as vectors."""
    logits, x = torch.broadcast_tensors(p.base_dist.logits, x)
    return logits.flatten(logits.dim() - p.event_dim), x.flatten(x.dim() - p.event_dim)


def _factors(logits: Tensor) -> Tensor:
    # exp2 is cheaper than exp.
    return torch.exp2(logits.abs() * (-1 / math.log(2))).add_(1)


class Scorer:
    r"""log p(x, z) - log q(z) of many draws of z for each datum, without gradients.

    If it pays off and the parts have a static graph, the first shape it is called with is compiled;
    other shapes, such as a last smaller chunk, run eagerly. In an eager program the elementwise
    operators take as long as the matrix products; compiled, a quarter of that. On a CPU portions of
    the draws are then scored in parallel, each by one thread: threads that share an operator wait
    for each other at its end.

    Args:
        vae: the VAE.
        floats: about how many are computed in all.
    """

    def __init__(self, vae: VAE, floats: float = 0) -> None:
        self.vae = vae
        self._worthwhile = floats > REPAID and best_backend(vae.device) == "inductor"
        # The number of portions that are scored at a time.
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
            draw: called in this thread; returns a portion of draws, k for each datum: tensors of
                fixed shapes, the first of them (k, n, latent_dim).
            density: maps the tensors of a draw to z, of shape (k, n, latent_dim), and log q(z), of
                shape (k, n).
            times: the number of portions.
            x: shape (n, \*event_shape).
            y: their labels, if the VAE has any.

        Returns:
            A tensor of shape (times, k, n).
        """
        given = [t for t in (x, y) if t is not None]
        first = draw()
        if self._worthwhile:
            self._worthwhile = False  # compilation is tried only once
            self._compile(density, len(first), [*first, *given])
        score: Callable[..., Tensor] = partial(self._log_weight, density, len(first))
        if self._compiled is not None and self._compiled_for == _kind(density, [*first, *given]):
            score = self._compiled
        # Weights are written to one preallocated tensor: allocated one by one between the temporary
        # tensors of portions, they would fragment memory.
        found = x.new_empty(times, len(first[0]), len(x))

        def fill(portion: Tensor, draw: Draw) -> None:
            with torch.no_grad():  # the setting is per thread
                portion.copy_(score(*draw, *given))

        draws = chain([first], (draw() for _ in range(times - 1)))
        if score is self._compiled and self.abreast > 1:
            self._in_parallel(fill, zip(found, draws, strict=True))
        else:
            for portion, drawn in zip(found, draws, strict=True):
                fill(portion, drawn)
        return found

    def _in_parallel(self, call: Callable, arguments: Iterable[tuple]) -> None:
        """Call in other threads, and in this one while enough calls are queued there."""
        others = self.abreast - 1
        waiting: set[Future] = set()
        threads = torch.get_num_threads()
        pool = ThreadPoolExecutor(others, initializer=compute_alone)
        try:
            for given in arguments:
                done = {future for future in waiting if future.done()}
                for future in done:
                    future.result()  # raises the error of the thread
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
            torch.set_num_threads(threads)  # new threads inherit the last setting

    def _log_weight(
        self, density: Density, size: int, *tensors: Tensor, log_prob: LogProb = _log_prob
    ) -> Tensor:
        # Tensors: those of the draw, as many as ``size``, then x, then y if there are labels.
        z, log_q = density(*tensors[:size])
        x, *y = tensors[size:]
        # The labels were checked with the data; a check here could not be traced.
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
        module = in_cheaper_operators(graph.module, tensors)
        if draws(module):  # the order of draws in threads would be random
            self.abreast = 1
        options = ON_A_THREAD if self.abreast > 1 else {}
        run = compile_graph(module, tensors, "inductor", options)
        self._compiled = lambda *given: run(*parameters, *given, *graph.live)[0]
        self._compiled_for = _kind(density, inputs)


def _kind(density: Density, tensors: Sequence[Tensor]) -> tuple:
    return density, *((t.shape, t.dtype) for t in tensors)


def draws(module: fx.GraphModule) -> bool:
    """Whether a graph draws random numbers, as the bound of a hierarchical prior does."""
    tags = (getattr(node.target, "tags", ()) for node in module.graph.nodes)
    return any(torch.Tag.nondeterministic_seeded in tag for tag in tags)


def in_cheaper_operators(
    module: fx.GraphModule,
    tensors: Sequence[Tensor],
    others: Mapping[Any, Callable[..., Any]] | None = None,
) -> fx.GraphModule:
    """The same graph with biases fused into the operators after products, and other operators."""
    table = {torch.ops.aten.addmm.default: _addmm, **(others or {})}
    return make_fx(module, table, tracing_mode="fake", _allow_non_fake_inputs=True)(*tensors)


def _addmm(bias: Tensor, x: Tensor, weight: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    # The operator would first copy the bias to every row. Inductor creates it from a product and a
    # sum, but not from a difference.
    product = torch.mm(x, weight)
    return (product if alpha == 1 else alpha * product) - (-beta * bias)
