"""Every prior with every posterior, likelihood and objective, with an MLP.

    python -m results.composition

Every cell whose parts are compatible takes three optimization steps: losses must be finite, every
parameter reached, and samples and reconstructions of the right shape. The parts and the checks are
those of `tests/composition.py`, of which the tests run all pairs, with every network.
"""

import argparse
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Iterable
from pathlib import Path

import torch

from results.frame import save
from results.machine import machine
from tests.composition import KINDS, Cell, cells, check

OUT = Path(__file__).with_suffix(".json")


def failures(part: list[Cell]) -> list[str]:
    """Check cells, and describe failures; a warning is a failure as well."""
    torch.set_num_threads(1)
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for cell in part:
            try:
                check(cell)
            except Exception as error:
                found.append(f"{'/'.join(cell)}: {type(error).__name__}: {error}")
    return found


def chunks(all_cells: list[Cell], size: int = 200) -> Iterable[list[Cell]]:
    """Parts of the matrix."""
    return (all_cells[i : i + size] for i in range(0, len(all_cells), size))


def main() -> None:
    """Run the matrix, print failures as they come, and write the count next to this file."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    every = list(cells())
    began = time.monotonic()
    found, done = [], 0
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        for failed in pool.imap(failures, chunks(every)):
            done += 1
            found += failed
            print(*failed, sep="\n", end="\n" if failed else "")
            print(f"{min(done * 200, len(every)):,} of {len(every):,}", file=sys.stderr)
    result = {
        "parts": {kind: len({cell[i] for cell in every}) for i, kind in enumerate(KINDS)},
        "cells": len(every),
        "steps": 3,
        "failures": found,
        "seconds": round(time.monotonic() - began),
        "machine": machine(),
    }
    save(OUT, result)
    print(f"{len(every):,} cells, {len(found)} failures, {result['seconds']:,} s")


if __name__ == "__main__":
    main()
