"""What the scripts of results share: data, training as published, timing, and results as JSON."""

import argparse
import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyro
import torch
from pyro.infer import ELBO
from torch import Tensor

import pvae
from pvae.data.batches import batches_for
from pvae.storage.files import write
from results.machine import machine

# Arguments of pvae.fit with which the published models were trained, where a default has changed.
AS_MEASURED = {"warmup": 0, "patience": None, "monitor": "neg_elbo"}


# Data and training --------------------------------------------------------------------------------


def fit(
    vae: pvae.VAE, data: pvae.data.Dataset, objective: ELBO | None = None, **options: Any
) -> pvae.training.History:
    """Train a VAE as the published ones were; the weights are those of the last epoch."""
    pyro.clear_param_store()
    torch.compiler.reset()
    arguments = {"progress": False, **AS_MEASURED, **options}
    return pvae.fit(vae, data, objective=objective, **arguments)


def first_images(data: pvae.data.Dataset, n: int) -> pvae.data.Dataset:
    """Data whose train part is cut to its first images."""
    return replace(data, train=data.train.subset(range(min(n, len(data.train)))))


def test_images(vae: pvae.VAE, data: pvae.data.Dataset, n: int) -> Tensor:
    """The first test images, binarized once by seed 0."""
    batches = batches_for(vae, data, data.test, 1000).arguments(torch.arange(n), seed=0)
    return torch.cat([x for (x,) in batches])


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """A result, and the seconds of processor time that it took."""
    began = time.process_time()
    found = call()
    return found, time.process_time() - began


# Results ------------------------------------------------------------------------------------------


def options_of(
    doc: str, parts: Collection[str], folder: Path, missing: Mapping[str, str] | None = None
) -> argparse.Namespace:
    """Read which parts to run, by default all, and the folder for JSON and figures.

    Parts that cannot run, as their data are missing, are given with a sentence that says why: they
    are left out by default, and end the script with that sentence and status 2 if asked for.
    """
    names = ", ".join(map(repr, parts))
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"of {names}; by default all")
    parser.add_argument("--out", type=Path, default=folder, help="folder of JSON and figures")
    options = parser.parse_args()
    missing = missing or {}
    for part in options.parts:
        unknown = None if part in parts else f"There is no part {part!r}: choose from {names}."
        if sentence := unknown or missing.get(part):
            parser.exit(2, f"error: {sentence}\n")  # without the usage, which says no more
    options.parts = options.parts or [part for part in parts if part not in missing]
    return options


def read(file: Path, default: Any = None) -> Any:
    """Read what earlier runs wrote."""
    if file.exists():
        return json.loads(file.read_text())
    return {} if default is None else default


def save(file: Path, results: Any) -> None:
    """Write results, replacing the file in one step."""
    write(file, (json.dumps(results, indent=2, ensure_ascii=False) + "\n").encode())


def run(
    part: str, rows: Iterable[tuple[str, Mapping[str, Any]]], results: dict[str, Any], file: Path
) -> None:
    """Print the rows of a part as they come, and write all results with each."""
    results[part] = {}
    for name, row in rows:
        results[part][name] = rounded(row)
        print(part, name, json.dumps(results[part][name]), flush=True)
        save(file, results)


def run_parts(
    doc: str,
    parts: Mapping[str, Callable[[Path], Iterable]],
    name: str,
    missing: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run the parts asked for, each given the folder of figures; return all results, as written."""
    options = options_of(doc, parts, Path(__file__).parent, missing)
    file = options.out / name
    results = read(file) | {"machine": machine()}
    for part in options.parts:
        _, seconds = timed(partial(run, part, parts[part](options.out / "figures"), results, file))
        print(f"{part}: {seconds:.0f} s", flush=True)
    return results


def rounded(value: Any) -> Any:
    """Round floats to six significant digits: p-values may be tiny."""
    if isinstance(value, Mapping):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
