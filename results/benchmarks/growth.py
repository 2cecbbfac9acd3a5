"""How the time and the memory of a training step grow with the sizes of data, networks and bounds.

    python -m results.benchmarks.growth

Each axis changes one size of a small VAE on synthetic data and leaves the others. A step is that of
`CompiledSVI` with torch's operators one by one, so that nothing waits for a compiler; its time is
CPU time of one thread, the least of many steps, beside the matrix products of the same step alone.
Peak memory is that of the process, one for each axis, above what it held before the data and the
model were made, beside what training has to hold: data, parameters and their gradients, the two
moments of Adam, and what the gradient needs of the forward pass. A slope is that of a line through
the larger half of the sizes, on log axes: 1 means proportional.
"""

import argparse
import ctypes
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyro
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor

import pvae
from pvae.plots import save
from pvae.plots.style import BLUE, ORANGE, WIDTH, Figure, style
from results.benchmarks.products import products
from results.machine import machine

SECONDS = 1.0  # of steps for a size
FEATURES = 64
OUT = Path(__file__).with_suffix(".json")
FIGURE = Path(__file__).parents[1] / "figures" / "growth.png"


class Case(NamedTuple):
    """One size of everything."""

    rows: int = 1000
    latents: int = 10
    hidden: int = 100
    samples: int = 0
    mixture: int = 0
    inputs: int = 0  # of a VampPrior
    batch: int = 128


class Axis(NamedTuple):
    """A size that changes, in words, and its values."""

    name: str
    cases: dict[int, Case]


def _axis(name: str, field: str, sizes: list[int], **others: int) -> Axis:
    return Axis(name, {size: Case(**{field: size}, **others) for size in sizes})


AXES = {
    "rows": _axis("rows of data", "rows", [1_000, 10_000, 100_000, 1_000_000]),
    "latents": _axis("latents", "latents", [2, 10, 50, 150, 500]),
    "hidden": _axis("hidden units", "hidden", [100, 300, 1_000, 2_000]),
    "samples": _axis("samples of IWAE", "samples", [1, 10, 100, 1_000, 5_000], batch=4),
    "mixture": _axis("components of a mixture", "mixture", [10, 100, 1_000, 5_000]),
    "inputs": _axis("inputs of a VampPrior", "inputs", [10, 100, 1_000, 5_000]),
}


def build(case: Case) -> pvae.VAE:
    """The VAE of a case: layers of equal width, of binary data."""
    prior: Any = pvae.priors.StandardNormal
    if case.mixture:
        prior = partial(pvae.priors.Mixture, components=case.mixture)
    if case.inputs:
        prior = partial(pvae.priors.VampPrior, components=case.inputs)
    network = partial(pvae.networks.MLP, hidden=[case.hidden])
    return pvae.build((FEATURES,), case.latents, prior=prior, network=network)


def stepper(case: Case) -> tuple[pvae.VAE, pvae.data.Batches, Callable[[Tensor], object], Any]:
    """A VAE, its data, a step, and the inference."""
    pyro.set_rng_seed(0)
    x = torch.rand(case.rows, FEATURES).bernoulli().numpy().astype(np.uint8)
    data = pvae.data.load(x, validation=0.0)
    vae = build(case)
    batches = pvae.data.Batches(data, data.train, "binary", case.batch)
    optim = pvae.inference.Optimizer(vae.parameters(), torch.optim.Adam)
    optim.batch_size = case.batch
    loss = pvae.objectives.ImportanceWeighted(case.samples) if case.samples else Trace_ELBO()
    svi = pvae.inference.CompiledSVI(vae.model, vae.guide, optim, loss, backend="graph")
    return vae, batches, svi.step, svi


def measure(case: Case) -> dict[str, float]:
    """Times and memory of one case."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what an earlier case held
    before = resident("VmRSS")
    vae, batches, step, svi = stepper(case)
    full = next(iter(batches.epoch()))
    with pyro.validation_enabled(False):
        for _ in range(4):  # traced and checked by then, which need more memory than a step
            step(full)
        needed = bytes_needed(vae, svi, full) + batches_bytes(case)
        Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
        times, began = [], time.perf_counter()
        epoch = iter(batches.epoch(torch.randperm(len(batches.part))))
        while len(times) < 5 or time.perf_counter() - began < SECONDS:
            start = time.thread_time()
            x = next(epoch, None)
            if x is None or len(x) < case.batch:  # the last one would need a graph of its own
                epoch = iter(batches.epoch(torch.randperm(len(batches.part))))
                continue
            step(x)
            times.append(time.thread_time() - start)
    peak = resident("VmHWM") - before
    alone = products(lambda: svi.loss_and_grads(vae.model, vae.guide, full))
    return {
        "step_ms": 1e3 * float(np.quantile(times, 0.1)),
        "products_ms": 1e3 * least(alone),
        "peak_mb": peak / 2**20,
        "needed_mb": needed / 2**20,
    }


def least(run: Callable[[], object]) -> float:
    """The CPU time of a call, the tenth percentile of many."""
    times, began = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - began < SECONDS / 2:
        start = time.thread_time()
        run()
        times.append(time.thread_time() - start)
    return float(np.quantile(times, 0.1))


def bytes_needed(vae: pvae.VAE, svi: Any, x: Tensor) -> int:
    """The bytes of parameters, gradients, moments, a minibatch, and what the gradient needs."""
    parameters = {p.untyped_storage().data_ptr() for p in vae.parameters()}
    kept: dict[int, Any] = {}  # storages, held so that no two have the same address

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        svi.loss_and_grads(vae.model, vae.guide, x)
    for p in vae.parameters():
        p.grad = None
    learned = sum(p.nbytes for p in vae.parameters())
    return 4 * learned + x.nbytes + sum(storage.nbytes() for storage in kept.values())


def batches_bytes(case: Case) -> int:
    """The bytes of the data, one each, and of a permutation of the rows."""
    return case.rows * (FEATURES + 8)


def resident(field: str) -> int:
    """A figure of this process's memory, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def slope(sizes: list[int], values: list[float]) -> float:
    """The slope of a line through the larger half of the sizes, on log axes."""
    first = (len(sizes) - 1) // 2
    x, y = np.log(sizes[first:]), np.log(np.maximum(values[first:], 1e-9))
    return round(float(np.polyfit(x, y, 1)[0]), 2)


@style()
def draw(result: dict[str, Any]) -> Figure:
    """Time above, memory below, a column for each size."""
    figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
    grid = figure.subplots(2, len(result), sharey="row", squeeze=False)
    rows = [("ms per step", "step_ms", "products_ms"), ("MB", "peak_mb", "needed_mb")]
    for column, axis in enumerate(result.values()):
        for row, (label, ours, reference) in enumerate(rows):
            axes = grid[row, column]
            sizes = axis["sizes"]
            for field, colour, mark in ((ours, BLUE, "o-"), (reference, ORANGE, "s--")):
                values = [case[field] for case in axis["cases"]]
                axes.loglog(sizes, values, mark, color=colour, markersize=3)
            axes.set_title(f"slope {axis['slopes'][ours]:g}", fontsize=8)
            axes.grid(True)
            axes.minorticks_off()
            if column == 0:
                axes.set_ylabel(label)
        grid[1, column].set_xlabel(axis["name"].replace(" of ", "\nof "))
    handles = grid[0, 0].get_lines()
    figure.legend(
        handles,
        ["step: its time, its peak memory", "its products; what training must hold"],
        loc="outside upper center",
        ncols=2,
    )
    return figure


def main() -> None:
    """Measure every axis in a process of its own, print, and write the JSON and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--print", choices=AXES, help="print the figures of an axis as JSON")
    options = parser.parse_args()
    if options.print:
        torch.set_num_threads(1)
        measure(Case())  # which loads everything that a step needs
        print(json.dumps([measure(case) for case in AXES[options.print].cases.values()]))
        return
    result = json.loads(OUT.read_text())["axes"] if OUT.exists() else {}
    for key in options.axes:
        name, cases = AXES[key]
        command = [sys.executable, "-m", "results.benchmarks.growth", "--print", key]
        found = json.loads(subprocess.check_output(command, text=True))
        rows = [{f: float(f"{value:.4g}") for f, value in row.items()} for row in found]
        for size, row in zip(cases, rows, strict=True):
            print(f"{size:>9,} {name:26}", row, flush=True)
        slopes = {f: slope(list(cases), [row[f] for row in rows]) for f in rows[0]}
        result[key] = {"name": name, "sizes": list(cases), "cases": rows, "slopes": slopes}
        print("slopes", slopes, flush=True)
        result = {key: result[key] for key in AXES if key in result}
        OUT.write_text(json.dumps({"axes": result, "machine": machine()}, indent=2) + "\n")
    save(draw(result), FIGURE)


if __name__ == "__main__":
    main()
