"""The cost of annealed importance sampling, beside the matrix products of the same transitions.

    python -m results.benchmarks.evidence [digits mnist counts]

======  ==========================  ========================  =================
case    decoder                     likelihood                data
======  ==========================  ========================  =================
digits  10-400-64, ReLU             Bernoulli                 from the model
mnist   20-400-784, ReLU            Bernoulli                 random pixels
counts  10-128-2000, ReLU           negative binomial         from the model
======  ==========================  ========================  =================

Weights are untrained: time does not depend on the values. 16 chains of 25 data make 7 transitions
of 10 leapfrog steps, eagerly and compiled. The products are those of the decoder and of its
gradient by z, of as many rows at a time as is fastest. Times are of the processor, by one thread,
the least of some rounds, in each of which the three follow each other; ratios are the medians over
the rounds. The time to compile is that
of the process without the C++ compiler, which runs in others; the elapsed time includes it.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor

import pvae
from pvae import likelihoods, networks
from pvae.evaluation.ais import Path as Annealing
from pvae.evaluation.batching import counted
from pvae.evaluation.trajectory import Trajectories
from results.machine import machine

OUT = Path(__file__).with_suffix(".json")
ITEMS, CHAINS, TEMPERATURES, LEAPFROG, ROUNDS = 25, 16, 8, 10, 9
GRADIENTS = 1 + (TEMPERATURES - 1) * LEAPFROG  # the first is that of the start
ROWS = (40, 80, 200, 400)


def digits() -> tuple[pvae.VAE, Tensor]:
    """The default model of the digits."""
    vae = pvae.build((1, 8, 8), 10, seed=0)
    return vae, vae.sample(ITEMS, seed=0, draw=True)


def mnist() -> tuple[pvae.VAE, Tensor]:
    """A model of the size of MNIST, and pixels."""
    vae = pvae.build((1, 28, 28), 20, network=partial(networks.MLP, hidden=[400]), seed=0)
    return vae, torch.bernoulli(torch.full((ITEMS, 1, 28, 28), 0.5))


def counts() -> tuple[pvae.VAE, Tensor]:
    """A model of 2,000 counts."""
    network = partial(networks.MLP, hidden=[128])
    vae = pvae.build((2000,), 10, likelihood=likelihoods.NegativeBinomial, network=network, seed=0)
    return vae, vae.sample(ITEMS, seed=0, draw=True)


CASES = {"digits": digits, "mnist": mnist, "counts": counts}


class Products:
    """The matrix products of gradients of all chains, some rows at a time."""

    def __init__(self, vae: pvae.VAE, rows: int) -> None:
        layers = [m for m in vae.likelihood.modules() if isinstance(m, torch.nn.Linear)]
        sizes = [layers[0].in_features, *(layer.out_features for layer in layers)]
        there = [layer.weight.detach().t() for layer in layers]
        back = [layer.weight.detach() for layer in reversed(layers)]
        outs = [*sizes[1:], *reversed(sizes[:-1])]
        self.z = torch.randn(rows, sizes[0])
        self.steps = [
            (w, torch.empty(rows, out)) for w, out in zip([*there, *back], outs, strict=True)
        ]
        self.times = GRADIENTS * ITEMS * CHAINS // rows

    def __call__(self) -> None:
        """Multiply."""
        for _ in range(self.times):
            h = self.z
            for weight, out in self.steps:
                h = torch.mm(h, weight, out=out)


def seconds(call: Callable[[], Any]) -> float:
    """The time of this thread for a call."""
    began = time.thread_time()
    call()
    return time.thread_time() - began


def measure(vae: pvae.VAE, x: Tensor) -> dict[str, float]:
    """Time eager chains, compiled ones, and the products."""
    with vae.evaluating(), pyro.validation_enabled(False), counted(0, False) as shown:
        began, elapsed = time.process_time(), time.monotonic()
        eager, compiled = (
            Annealing(vae, x, None, x, TEMPERATURES, LEAPFROG, Trajectories(vae, gradients))
            for gradients in (0, 1e12)
        )
        compiled.run(compiled.start(CHAINS), shown)
        compiling = time.process_time() - began, time.monotonic() - elapsed
        eager.adapt(CHAINS, shown)
        compiled.steps = eager.steps
        tried = [Products(vae, rows) for rows in ROWS]
        products = min(tried, key=lambda one: min(seconds(one) for _ in range(2)))
        calls: dict[str, Callable[[], Any]] = {
            "eager": lambda: eager.run(eager.start(CHAINS), shown),
            "compiled": lambda: compiled.run(compiled.start(CHAINS), shown),
            "products": products,
        }
        rounds = [{name: seconds(call) for name, call in calls.items()} for _ in range(ROUNDS)]
    least = {name: min(found[name] for found in rounds) for name in calls}
    return {
        **{f"{name}_s": round(value, 4) for name, value in least.items()},
        **{
            f"{name}_over_products": round(
                statistics.median(one[name] / one["products"] for one in rounds), 2
            )
            for name in ("eager", "compiled")
        },
        "compiling_s": round(compiling[0], 1),
        "compiling_elapsed_s": round(compiling[1], 1),
        "rows_of_products": len(products.z),
    }


def main() -> None:
    """Measure, print, and write the JSON next to this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], default=[])
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found = json.loads(options.out.read_text()) if options.out.exists() else {}
    found["machine"] = machine()
    for name in options.cases or CASES:
        found[name] = measure(*CASES[name]())
        print(name, json.dumps(found[name]), flush=True)
        options.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
