"""The joint density of data and many z, by one compiled graph where the work repays it."""

from collections.abc import Callable, Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, fx
from torch.distributions import Bernoulli, Independent
from torch.fx.experimental.proxy_tensor import make_fx

from pvae.inference.backends import best_backend, compile_graph
from pvae.inference.tracing import Untraceable, trace
from pvae.vae import VAE

LogProb = Callable[[dist.TorchDistribution, Tensor], Tensor]

# Numbers computed in all, above which compiling repays its quarter of a minute.
REPAID = 3 * 10**10

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
    factors = 1 + torch.exp(-logits.abs())
    whole = factors.shape[-1] // _WIDTH * _WIDTH
    logs = factors[..., whole:].log().sum(-1)
    if whole:
        groups = factors[..., :whole].unflatten(-1, (-1, _WIDTH)).split(_FACTORS, dim=-2)
        logs = logs + sum(group.prod(-2).log().sum(-1) for group in groups)
    return (x * logits - logits.relu()).sum(-1) - logs


class Scorer:
    r"""log p(x, z) = log p(z) + log p(x|z) of many z for each datum, without gradients.

    Where the planned work repays it and the parts have a static graph, the first shape it is called
    with is compiled. What an eager program does beside its matrix products, with numbers that come
    and go between its operators, takes as long as these; compiled, a third of it.

    Args:
        vae: the VAE.
        numbers: that are computed in all, about.
    """

    def __init__(self, vae: VAE, numbers: float = 0) -> None:
        self.vae = vae
        self.worthwhile = numbers > REPAID and best_backend(vae.device) == "inductor"
        self._compiled: Callable[..., Sequence[Tensor]] | None = None
        self._shapes: tuple | None = None

    def __call__(self, z: Tensor, x: Tensor, y: Tensor | None = None) -> Tensor:
        r"""Return log p(x, z).

        Args:
            z: shape (k, n, latent_dim).
            x: shape (n, \*event_shape).
            y: their labels, if the VAE has any.

        Returns:
            A tensor of shape (k, n).
        """
        inputs = [t for t in (z, x, y) if t is not None]
        if self.worthwhile:
            self.worthwhile = False  # whether or not it succeeds, it is tried once
            self._compile(inputs)
        if self._shapes == [t.shape for t in inputs]:
            return self._compiled(*inputs)[0]
        return self._joint(*inputs)

    def _joint(
        self, z: Tensor, x: Tensor, y: Tensor | None = None, log_prob: LogProb = _log_prob
    ) -> Tensor:
        return self.vae.p_z(y).log_prob(z) + log_prob(self.vae.decode(z, y, like=x), x)

    def _compile(self, inputs: Sequence[Tensor]) -> None:
        def joint(model: Callable, guide: Callable, *tensors: Tensor) -> Tensor:
            return self._joint(*tensors, log_prob=_log_prob_by_products)

        parameters = list(self.vae.parameters())
        try:
            graph = trace(joint, joint, joint, parameters, inputs, lambda t: (t, {}), scale=None)
        except Untraceable:
            return
        tensors = [*parameters, *inputs, *graph.live]
        run = compile_graph(_in_cheaper_operators(graph.module, tensors), tensors, "inductor")
        self._compiled = lambda *given: run(*parameters, *given, *graph.live)
        self._shapes = [t.shape for t in inputs]


def _in_cheaper_operators(module: fx.GraphModule, tensors: Sequence[Tensor]) -> fx.GraphModule:
    """The same graph with tanh by the sigmoid, and biases added by what follows their products.

    Compiled code takes a third of the time for this tanh. It is exact to a rounding of 1, not of
    small numbers, whose own gradients would suffer.
    """
    table = {
        torch.ops.aten.tanh.default: lambda h: 2 * torch.sigmoid(2 * h) - 1,
        torch.ops.aten.addmm.default: _addmm,
    }
    return make_fx(module, table, tracing_mode="fake", _allow_non_fake_inputs=True)(*tensors)


def _addmm(bias: Tensor, x: Tensor, weight: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    # The operator would copy the bias to every row first. Inductor makes it of a product and a sum,
    # but not of a difference.
    product = torch.mm(x, weight)
    return (product if alpha == 1 else alpha * product) - (-beta * bias)
