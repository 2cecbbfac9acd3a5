"""How threads that wait for each other should wait: on free processors, and beside a busy process.

    python -m results.benchmarks.waiting

A process for each way trains some workloads of the training benchmark in turns with NumPyro, where
that is installed: with the spins of libgomp before a thread sleeps, with few, and as `pvae.fit` and
the commands do. A busy process multiplies matrices in one thread.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from pvae import openmp
from results.machine import machine

OUT = Path(__file__).with_suffix(".json")
WORKLOADS = ("mlp", "conv")
RIVAL = "mlp"  # NumPyro takes 0.3 s for a convolutional step
WAYS = {"libgomp": "300000", "short": openmp.SHORT, "considerate": openmp.LONG}  # spins
BUSY = "import torch; torch.set_num_threads(1); x = torch.ones(400, 400)\nwhile True: x @ x"
TURNS, STEPS = 24, 16
WARM = 4.0  # seconds


def measure(workload: str, way: str) -> dict[str, dict[str, float]]:
    """Milliseconds of a step in this process, by method."""
    import torch

    from results.benchmarks.training import METHODS, in_turns, installed, make

    wanted = {"pvae, compiled", *(("NumPyro",) if workload == RIVAL else ())}
    device = torch.device("cpu")
    names = [name for name in METHODS if name in wanted & {*installed(device)}]
    _, methods = make(workload, names, device)
    with openmp.considerate() if way == "considerate" else nullcontext():
        began = time.perf_counter()
        while time.perf_counter() < began + WARM:  # compiling keeps all processors busy, too
            for method in methods.values():
                method.run(STEPS)
        return in_turns(methods, device, TURNS, STEPS)


@contextmanager
def beside(busy: int) -> Iterator[None]:
    """So many busy processes while entered."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(busy)]
    try:
        time.sleep(5 if busy else 0)  # they import torch
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def main() -> None:
    """Measure, print, and write the JSON next to this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", nargs=2, metavar=("WORKLOAD", "WAY"), help="print one, as JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one)))
        return
    rows: list[dict[str, Any]] = []
    for workload in WORKLOADS:
        for busy in (0, 1):
            for way, spins in WAYS.items():
                command = [sys.executable, "-m", __spec__.name, "--one", workload, way]
                with beside(busy):
                    said = subprocess.check_output(
                        command, env=os.environ | {"GOMP_SPINCOUNT": spins}, text=True
                    )
                found = json.loads(said.splitlines()[-1])
                rows.append({"workload": workload, "busy": busy, "way": way, "ms": found})
                print(rows[-1], flush=True)
    OUT.write_text(json.dumps({"rows": rows, "machine": machine()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
