"""What elementary and special functions cost in a compiled graph, by Inductor and by pvae.

    python -m results.benchmarks.kernels

Each row is a function of 100,352 numbers, as many as a minibatch of 128 MNIST images, or a density
with the gradients of its parameters. Both forms are compiled, run in turns by one thread, and timed
by the CPU time of that thread; a row has the least of many runs. Errors are the largest ones at
these arguments, relative to float64. Those over the whole range are tested.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, _inductor
from torch.distributions import Beta, Distribution, NegativeBinomial, StudentT
from torch.fx.experimental.proxy_tensor import make_fx

from pvae.inference.backends import compile_graph
from results.machine import machine

SHAPE = 128, 784
COMPONENTS = 10
OUT = Path(__file__).with_suffix(".json")
Function = Callable[..., Sequence[Tensor]]


def with_gradients(loss: Callable[..., Tensor]) -> Function:
    """The sum of a loss, and its gradients."""

    def run(*parameters: Tensor) -> Sequence[Tensor]:
        leaves = [parameter.detach().requires_grad_() for parameter in parameters]
        with torch.enable_grad():
            value = loss(*leaves).sum()
        return value.detach(), *torch.autograd.grad(value, leaves)

    return run


def density(p: Callable[..., Distribution], x: Tensor) -> Function:
    """The log-density of data in the dtype of the parameters, with gradients."""
    return with_gradients(lambda *args: p(*args).log_prob(x.to(args[0].dtype)))


def rows() -> dict[str, tuple[Function, tuple[Tensor, ...]]]:
    """The functions, and their arguments."""
    torch.manual_seed(0)
    x, y = torch.randn(2, *SHAPE) * 3
    positive = x.abs() + 0.1
    coins, counts = (y < 0).float(), y.abs().round()

    def bernoulli(logits: Tensor) -> Tensor:
        target = coins.to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, target, reduction="none")

    real: dict[str, Callable[[Tensor], Tensor]] = {
        "expm1": torch.expm1,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "erf": torch.erf,
        "softplus": F.softplus,
        "logsigmoid": F.logsigmoid,
        "erfc": torch.erfc,
        "log_ndtr": torch.special.log_ndtr,
    }
    half: dict[str, Callable[[Tensor], Tensor]] = {
        "log": torch.log,
        "log1p": torch.log1p,
        "lgamma": torch.lgamma,
        "digamma": torch.digamma,
        "trigamma": partial(torch.polygamma, 1),
        "erfcx": torch.special.erfcx,
    }
    return {
        **{name: (partial(_listed, f), (x,)) for name, f in real.items()},
        **{name: (partial(_listed, f), (positive,)) for name, f in half.items()},
        "logaddexp": (lambda x, y: [torch.logaddexp(x, y)], (x, y)),
        "logsumexp of 10": (
            with_gradients(lambda x: x.unflatten(-1, (-1, COMPONENTS)).logsumexp(-1)),
            (x[:, : x.shape[1] // COMPONENTS * COMPONENTS].contiguous(),),
        ),
        "Bernoulli": (with_gradients(bernoulli), (x,)),
        "negative binomial": (
            density(lambda r, logits: NegativeBinomial(r, logits=logits), counts),
            (positive, y),
        ),
        "beta": (density(Beta, coins * 0.4 + 0.3), (positive, y.abs() + 0.1)),
        "Student t": (density(StudentT, y), (positive, x, positive.flip(0))),
    }


def _listed(function: Callable[[Tensor], Tensor], x: Tensor) -> list[Tensor]:
    return [function(x)]


def milliseconds(run: Function, arguments: Sequence[Tensor]) -> float:
    """The CPU time of one run."""
    began = time.thread_time()
    run(*arguments)
    return (time.thread_time() - began) * 1e3


def error(run: Function, exact: Sequence[Tensor], arguments: Sequence[Tensor]) -> float:
    """The largest error, relative to the largest of the value and 1e-3."""
    values = zip(run(*arguments), exact, strict=True)
    return max(((v - e).abs() / e.abs().clamp_min(1e-3)).max().item() for v, e in values)


def measure(function: Function, arguments: Sequence[Tensor], runs: int) -> dict[str, float]:
    """Times and errors of both forms."""
    module = make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(*arguments)
    forms = {
        "inductor": _inductor.compile(module, list(arguments)),
        "pvae": compile_graph(module, arguments, "inductor"),
    }
    exact = function(*(x.double() for x in arguments))
    least = dict.fromkeys(forms, math.inf)
    for _ in range(runs):
        for name, run in forms.items():
            least[name] = min(least[name], milliseconds(run, arguments))
    times = {f"{name}_ms": round(value, 3) for name, value in least.items()}
    return times | {
        f"{name}_error": float(f"{error(run, exact, arguments):.1e}") for name, run in forms.items()
    }


def main() -> None:
    """Measure, print, and write the JSON next to this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=300, help="runs of each form")
    options = parser.parse_args()
    torch.set_num_threads(1)
    Distribution.set_default_validate_args(False)  # a graph cannot check values
    result = {}
    for name, (function, arguments) in rows().items():
        result[name] = measure(function, arguments, options.runs)
        print(f"{name:18}", result[name], flush=True)
    OUT.write_text(json.dumps({"rows": result, "machine": machine()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
