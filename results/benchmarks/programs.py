"""The kinds of programs that Pyro's examples train, by `SVI` and by `CompiledSVI`.

    python -m results.benchmarks.programs [NAMES ...]

Each program of `results/benchmarks/examples.py` takes the same steps from the same seed, in one
thread: by `SVI`, and compiled. The table has the CPU time of a step, the time to the first compiled
steps, the largest relative difference of the losses of the first steps, the number of graphs, and
why a program is run eagerly. Rows are written to programs.json as they come.
"""

import argparse
import json
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import pyro
import torch
from pyro.infer import SVI

from pvae.inference import CompiledSVI
from results.benchmarks.examples import EXAMPLES
from results.machine import machine

OUT = Path(__file__).with_suffix(".json")
AGREE = 10  # steps whose losses are compared
ROUNDS, STEPS = 5, 20


def taken(name: str, cls: type[SVI]) -> dict[str, Any]:
    """Losses, times and graphs of an example."""
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    model, guide, loss, arguments = EXAMPLES[name]()
    svi = cls(model, guide, pyro.optim.Adam({"lr": 1e-3}), loss)
    found: dict[str, Any] = {}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        pyro.set_rng_seed(1)
        began = time.thread_time()
        found["losses"] = [float(svi.step(*arguments[i % len(arguments)])) for i in range(AGREE)]
        found["first"] = time.thread_time() - began
        for i in range(AGREE, AGREE + STEPS):
            svi.step(*arguments[i % len(arguments)])
        times = []
        for _ in range(ROUNDS):
            began = time.thread_time()
            for i in range(STEPS):
                svi.step(*arguments[i % len(arguments)])
            times.append((time.thread_time() - began) / STEPS)
    found["step"] = statistics.median(times)
    found["said"] = [str(w.message) for w in warned if "static graph" in str(w.message)]
    if isinstance(svi, CompiledSVI):
        found["graphs"] = sum(map(len, svi._programs.values()))
    return found


def row(name: str) -> dict[str, Any]:
    """Both ways of one example, beside each other."""
    eager, compiled = (taken(name, cls) for cls in (SVI, CompiledSVI))
    differences = [
        abs(a - b) / max(abs(a), 1e-6)
        for a, b in zip(eager["losses"], compiled["losses"], strict=True)
    ]
    return {
        "name": name,
        "svi_ms": round(1e3 * eager["step"], 3),
        "compiled_ms": round(1e3 * compiled["step"], 3),
        "ratio": round(eager["step"] / compiled["step"], 2),
        "first_steps_s": round(compiled["first"], 1),
        "difference": float(f"{max(differences):.1e}"),
        "graphs": compiled["graphs"],
        "eager_because": compiled["said"][0] if compiled["said"] else None,
    }


def main() -> None:
    """Measure, print, and write the JSON next to this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *EXAMPLES], metavar="NAMES")
    names = parser.parse_args().names or [*EXAMPLES]
    torch.set_num_threads(1)
    rows = {r["name"]: r for r in json.loads(OUT.read_text())["rows"]} if OUT.exists() else {}
    for name in names:
        rows[name] = row(name)
        print(rows[name], flush=True)
        result = {"machine": machine(), "rows": [rows[n] for n in EXAMPLES if n in rows]}
        OUT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
