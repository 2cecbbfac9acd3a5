"""What running two runs of a study at a time gains, and what scheduling costs.

    python -m results.benchmarks.studies

Eight runs of the default network on digits, one thread each, in turns one and two at a time, in
processes that have begun before. The overhead of a run is the time of the study that is not within
its runs. The weights must have equal bits.
"""

import argparse
import hashlib
import json
import tempfile
import time
from pathlib import Path

from pvae.studies import Measures, Plan, Study
from results.machine import machine

ROUNDS = 2
OUT = Path(__file__).with_suffix(".json")
SIZES = {"batch_size": [64, 128]}
SEEDS = 4


def timed(folder: Path, jobs: int) -> tuple[dict[str, float], str]:
    """Seconds of a study, with its overhead a run, and a hash of the weights."""
    measures = Measures(("neg_elbo", "log_prob"), num_samples=200, items=0)
    Study(folder / "first", Plan.make({"epochs": 1}, SIZES, 1)).run(jobs=jobs, show=False)
    study = Study(folder / "study", Plan.make({"epochs": 60}, SIZES, SEEDS, measures=measures))
    began = time.monotonic()
    study.run(jobs=jobs, show=False)
    seconds = time.monotonic() - began
    within, weights = 0.0, hashlib.sha256()
    for job in study.jobs():
        measured = study.measured(job)
        assert measured is not None
        within += measured.numbers["train_seconds"] + measured.numbers["measure_seconds"]
        weights.update((study.path / job.place / "weights.safetensors").read_bytes())
    overhead = (jobs * seconds - within) / len(study.jobs())
    return {"seconds": round(seconds, 1), "overhead_a_run": round(overhead, 2)}, weights.hexdigest()


def main() -> None:
    """Measure, print, and write the JSON next to this file."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    rows, weights = [], set()
    for _ in range(ROUNDS):
        for jobs in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                row, found = timed(Path(folder), jobs)
            weights.add(found)
            rows.append({"jobs": jobs} | row)
            print(rows[-1], flush=True)
    assert len(weights) == 1, "the weights differ"
    result = {"machine": machine(), "rows": rows}
    OUT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
