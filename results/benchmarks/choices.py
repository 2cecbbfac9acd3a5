"""What two choices of a compiled step are worth: shards, and moments without denormal numbers.

    PVAE_DATA=DIR python -m results.benchmarks.choices

Steps with and without them, by the same networks from the same weights, take turns in random order.
Those of the moments are on binarized MNIST, since only real data have pixels that are nearly always
black; they are timed where DIR holds it.
"""

import os

from pvae import openmp

os.environ.update(openmp.environment())

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyro
import torch

from pvae.data import load
from results.benchmarks.training import WORKLOADS, Method, make, ours, summary
from results.machine import machine

OUT = Path(__file__).with_suffix(".json")
SHARDED = ("conv", "bytes", "iwae", "counts", "mlp")
BEFORE = 4000  # steps, after which moments have decayed


@contextmanager
def shards(used: bool) -> Iterator[None]:
    """Split minibatches, however long adding the gradients takes, or none."""
    with patch("pvae.inference.sharding.WORTH", 0 if used else math.inf):
        yield


@contextmanager
def cleared(used: bool) -> Iterator[None]:
    """Clear moments, or leave them."""
    if used:
        yield
        return
    with patch("pvae.inference.fused_adam.clear_denormals", lambda optimizer: 1):
        yield


def measure(methods: dict[bool, Method], choice: Any, turns: int, steps: int) -> dict[str, Any]:
    """Milliseconds of a step with and without a choice, in turns."""
    taken: dict[bool, list[float]] = {used: [] for used in methods}
    for _ in range(turns):
        for used in random.sample(list(methods), len(methods)):
            with choice(used):
                methods[used].run(4)  # the first steps after another network wait for memory
                began = time.perf_counter()
                methods[used].run(steps)
            taken[used].append(1e3 * (time.perf_counter() - began) / steps)
    return {("with" if used else "without"): summary(values) for used, values in taken.items()}


def of_shards(workload: str, turns: int, steps: int) -> dict[str, Any]:
    """Steps of one workload by shards, and by one graph with threads in its operators."""
    methods = {}
    for used in (True, False):
        with shards(used):
            _, made = make(workload, ["pvae, compiled"], torch.device("cpu"))
            methods[used] = made["pvae, compiled"]
            methods[used].run(steps)
    return measure(methods, shards, turns, steps)


def of_moments(workload: str, turns: int, steps: int) -> dict[str, Any]:
    """Steps of one workload on MNIST after some thousand, with moments cleared and not."""
    of = WORKLOADS[workload]
    methods = {}
    for used in (True, False):
        pyro.set_rng_seed(0)
        pyro.clear_param_store()
        vae = of.make()
        data = load("mnist")
        images = data.batch(vae, "train", len(data.train) // of.batch * of.batch)
        batches = images.view(-1, of.batch, *vae.event_shape)
        methods[used] = ours(vae, batches, of.samples, compiled=True)
        with cleared(used):
            methods[used].run(BEFORE)
    return measure(methods, cleared, turns, steps)


def main() -> None:
    """Measure, print, and write the JSON next to this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--steps", type=int, default=20, help="steps of a turn")
    options = parser.parse_args()
    random.seed(0)
    result: dict[str, Any] = {"unit": "ms per step", "shards": {}, "moments": {}}
    for workload in SHARDED:
        result["shards"][workload] = of_shards(workload, options.turns, options.steps)
        print("shards", workload, result["shards"][workload], flush=True)
    if (Path(os.environ.get("PVAE_DATA", "")) / "MNIST" / "raw").is_dir():
        for workload in ("mlp", "burda"):
            result["moments"][workload] = of_moments(workload, options.turns, options.steps)
            print("moments", workload, result["moments"][workload], flush=True)
    OUT.write_text(json.dumps(result | {"machine": machine()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
