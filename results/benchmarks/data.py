"""What data cost in a training step: drawing, gathering and binarizing a minibatch of MNIST.

    PVAE_DATA=DIR python -m results.benchmarks.data

Times, step by step, the drawing of each minibatch and the SVI step of the 784-400-20 Bernoulli VAE
that follows it, at batch 128, and prints the share of the first in both. Without MNIST in DIR it is
downloaded there.
"""

import argparse
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyro
import torch
from pyro.infer import SVI, Trace_ELBO

import pvae
from pvae.data import Batches
from pvae.inference import Optimizer
from results.machine import machine

BATCH, WARM_UP, STEPS = 128, 50, 1000
OUT = Path(__file__).with_suffix(".json")


def now() -> float:
    """The time, once the device has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    """Measure, print, and write the JSON next to this file."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
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
    drawing, stepping = [], []
    with pyro.validation_enabled(False):
        for _ in range(WARM_UP + STEPS):
            began = now()
            x = next(draw)
            drawn = now()
            svi.step(x)
            drawing.append(drawn - began)
            stepping.append(now() - drawn)
    drawing, stepping = sum(drawing[WARM_UP:]), sum(stepping[WARM_UP:])
    result = {
        "batch": BATCH,
        "steps": STEPS,
        "data_ms": round(drawing / STEPS * 1e3, 3),
        "svi_step_ms": round(stepping / STEPS * 1e3, 3),
        "data_share": round(drawing / (drawing + stepping), 4),
        "machine": machine(),
    }
    OUT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
