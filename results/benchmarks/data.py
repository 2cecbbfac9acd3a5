"""What data cost in a training step: drawing, gathering and binarizing a minibatch of MNIST.

    PVAE_DATA=DIR python -m results.benchmarks.data

Times an epoch's minibatches alone, and whole SVI steps of the 784-400-20 Bernoulli VAE at batch
128, in turns, and prints the share of the first in the second. Without MNIST in DIR it is
downloaded there.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pyro
import torch
from pyro.infer import SVI, Trace_ELBO

import pvae
from pvae.data import Batches
from pvae.inference import Optimizer
from results.machine import machine

BATCH, STEPS, ROUNDS = 128, 100, 7
OUT = Path(__file__).with_suffix(".json")


def milliseconds(step: Callable[[], object]) -> float:
    """Time per call, over STEPS calls."""
    began = time.perf_counter()
    for _ in range(STEPS):
        step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / STEPS * 1e3


def main() -> None:
    """Measure, print, and write the JSON beside this file."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data = pvae.data.load("mnist")
    network = partial(pvae.networks.MLP, hidden=[400])
    vae = pvae.build(data.event_shape, 20, network=network).to(device)
    batches = Batches(data, data.train, "binary", BATCH, device)

    def forever() -> Iterator[torch.Tensor]:
        while True:
            yield from batches.epoch(torch.randperm(len(data.train)))

    draw = forever()
    optim = Optimizer(vae.parameters(), torch.optim.Adam)
    svi = SVI(vae.model, vae.guide, optim, loss=Trace_ELBO())
    fixed = next(draw)
    with pyro.validation_enabled(False):
        alone, steps, both = [], [], []
        for _ in range(ROUNDS):
            alone.append(milliseconds(lambda: next(draw)))
            steps.append(milliseconds(lambda: svi.step(fixed)))
            both.append(milliseconds(lambda: svi.step(next(draw))))
    result = {
        "batch": BATCH,
        "data_ms": round(statistics.median(alone), 3),
        "step_without_data_ms": round(statistics.median(steps), 3),
        "step_with_data_ms": round(statistics.median(both), 3),
        "machine": machine(),
    }
    result["data_share"] = round(result["data_ms"] / result["step_with_data_ms"], 4)
    OUT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
