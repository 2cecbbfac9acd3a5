"""A job: one run of a study, trained and measured by the process that calls `run_job`.

Jobs and their results are plain values, so that they can be sent to another process or machine.
"""

import hashlib
import io
import json
import math
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pvae.data.dataset import Dataset
from pvae.messages import one_line
from pvae.openmp import considerate
from pvae.seeds import seeded
from pvae.storage import files, trust
from pvae.studies.measures import Measures
from pvae.studies.metrics import Measured, measure
from pvae.training.configured import build_configured, fit_configured
from pvae.training.history import History
from pvae.training.runs import Run

ITEMS = "items.npz"  # the measures of each item, in the run folder
COMPILED = 10_000  # planned steps from which compile="auto" is left to `fit`
NUMBERS = "measures.json"  # and those of the run
# Errors whose message says what is wrong, of whatever line.
KNOWN = (
    ValueError,
    TypeError,
    RuntimeError,
    FloatingPointError,
    MemoryError,
    FileNotFoundError,
)


@dataclass(frozen=True)
class Job:
    """One run of a study.

    Attributes:
        cell: the name of its cell.
        seed: the seed of the run.
        config: the arguments of the run, as `build_configured` takes them.
        measures: what to measure.
        study: path of the study folder.
        place: path of the run folder within the study folder.
        token: the content of a file in the study folder, by which a worker recognizes it.
        threads: threads of the run.
        trusted: modules of the user's own that its parts may be imported from.
        steps: gradient steps to train, in place of epochs, rounded to whole epochs.
        seconds: time after which training ends, at the end of an epoch.
        pause: the share of its epochs, or seconds, after which it pauses, unmeasured, to continue
            later.
    """

    cell: str
    seed: int
    config: Mapping[str, Any]
    measures: Measures
    study: str
    place: str
    token: str
    threads: int
    trusted: tuple[str, ...]
    steps: int | None = None
    seconds: float | None = None
    pause: float | None = None

    @property
    def seeded_config(self) -> dict[str, Any]:
        """The arguments of the run, with its seed."""
        return {**self.config, "seed": self.seed}

    def as_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "Job":
        """Read a line that `as_json` wrote."""
        fields = json.loads(line)
        fields["measures"] = Measures(**fields["measures"])
        return cls(**fields | {"trusted": tuple(fields["trusted"])})


def run_job(job: Job) -> dict[str, Any]:
    """Train and measure a run, or finish one that was cut off.

    The run folder is written in the study folder if this machine sees it, and is otherwise part of
    the result, as the content of its files with their SHA-256.

    Returns:
        ``status``, which is ``"finished"``, ``"paused"`` or ``"failed"``; a ``sentence`` that says
        why if it failed; and ``files`` of a run made elsewhere.
    """
    torch.set_num_threads(job.threads)
    if token_of(job) == job.token:
        return _run(job, Path(job.study) / job.place)
    with tempfile.TemporaryDirectory() as folder:
        result = _run(job, Path(folder) / "run")
        return result | {"files": pack(Path(folder) / "run")}


def token_of(job: Job) -> str | None:
    """The token that the study folder has now; ``None`` if this machine does not see it."""
    return read_token(Path(job.study))


def read_token(folder: Path) -> str | None:
    """The token of a study folder; ``None`` if there is none that can be read."""
    try:
        return (folder / "study.token").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _run(job: Job, folder: Path) -> dict[str, Any]:
    try:
        with trust.trusting(job.trusted):
            return {"status": "finished" if _train(job, folder) else "paused"}
    except Exception as error:  # a part of the user's own may raise anything
        if is_of_machine(error):
            raise
        return {"status": "failed", "sentence": sentence_of(error)}


def is_of_machine(error: Exception) -> bool:
    """Whether an error is of this machine, not of the run: another may do it.

    A file that is not found is of the run, such as data that are not there.
    """
    return isinstance(error, OSError) and not isinstance(error, FileNotFoundError)


def sentence_of(error: Exception) -> str:
    """What a run failed with, in a sentence."""
    if isinstance(error, KNOWN):
        return one_line(error)
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    where = f"{frame.f_code.co_filename}:{line}"
    return f"{type(error).__name__}: {one_line(error)} ({where})"


def planned(job: Job, data: Dataset) -> dict[str, Any]:
    """The configuration of a run, with the epochs that its steps are of these data."""
    config = job.seeded_config
    if job.steps is not None:
        config["epochs"] = whole_epochs(job.steps, steps_of(config, data))
    return config


def steps_of(config: Mapping[str, Any], data: Dataset) -> int:
    """The gradient steps of an epoch."""
    return -(-len(data.train) // config["batch_size"])


def _train(job: Job, folder: Path) -> bool:
    """Train a run and measure it; return whether it is finished, rather than paused."""
    vae, data = build_configured(job.seeded_config)
    config = planned(job, data)
    if config["compile"] == "auto" and config["epochs"] * steps_of(config, data) < COMPILED:
        config["compile"] = False  # "auto" would decide by measured times, and round accordingly
    resume = (folder / "run.json").exists()

    history = fit_configured(
        vae, data, config, folder, resume, pause=lambda h: reached(job, h, config["epochs"])
    )
    if history.stopped == "interrupted" and (
        job.pause is not None or not reached(job, history, config["epochs"])
    ):
        return False  # a run that Ctrl-C has cut off is not measured
    run = Run(folder, trust=job.trusted)
    began = time.monotonic()
    print(f"measuring {', '.join(job.measures.metrics)}", file=sys.stderr, flush=True)
    with considerate(), seeded(job.seed, vae.device):
        measured = measure(vae, data, job.measures)
    last = history.rows[-1] if history.rows else {}
    costs = {
        "parameters": sum(p.numel() for p in vae.parameters()),
        "epochs": last.get("epoch", 0),
        "steps": last.get("step", 0),
        "train_seconds": last.get("seconds", 0.0),
        "measure_seconds": round(time.monotonic() - began, 3),
    }
    write_measures(run, job.measures, measured._replace(numbers=measured.numbers | costs))
    return True


def write_measures(run: Run, measures: Measures, measured: Measured) -> None:
    """Write what was measured of a run into its folder.

    The numbers name the items by their checksum, so that of a process that is killed in between
    nothing counts as measured, whatever was there before.
    """
    buffer = io.BytesIO()
    arrays: dict[str, Any] = measured.items
    np.savez(buffer, **arrays)
    record = measured._asdict() | {"measures": asdict(measures), "items": _sha(buffer.getvalue())}
    files.write(run.place(ITEMS), buffer.getvalue())
    run.write(NUMBERS, record)


def read_measures(folder: Path, measures: Measures) -> Measured | None:
    """What was measured of the run in a folder; ``None`` if that is not what is asked for.

    So is a damaged file, since what it held can be measured again.
    """
    try:
        record = json.loads((folder / NUMBERS).read_text(encoding="utf-8"))
        content = (folder / ITEMS).read_bytes()
    except (FileNotFoundError, ValueError):  # of text or JSON
        return None
    wanted = json.loads(json.dumps(asdict(measures)))
    # A version that measured less wrote fewer entries.
    if not isinstance(record, dict) or record.keys() != {*Measured._fields, "measures"}:
        return None
    if record.pop("measures") != wanted:
        return None
    if record["items"] != _sha(content):
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return Measured(**record | {"items": {name: arrays[name] for name in arrays.files}})


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def whole_epochs(steps: int, epoch: int) -> int:
    """The number of epochs, of so many steps each, whose steps are nearest; at least one."""
    return max(1, round(steps / epoch))


def reached(job: Job, history: History, epochs: int) -> bool:
    """Whether a run has got as far as its job asks.

    Args:
        job: the job.
        history: of the run.
        epochs: its planned epochs.
    """
    share = 1.0 if job.pause is None else job.pause
    if not history.rows:
        return False
    row = history.rows[-1]
    late = job.seconds is not None and row["seconds"] >= share * job.seconds
    return late or row["epoch"] >= math.ceil(share * epochs)


def pack(folder: Path) -> dict[str, tuple[bytes, str]]:
    """The files of a run folder: content and SHA-256 by path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    contents = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    return {name: (data, _sha(data)) for name, data in contents.items()}


def unpack(packed: Mapping[str, tuple[bytes, str]], folder: Path) -> None:
    """Write the files of a run folder that another machine made.

    Raises:
        ValueError: if a file did not arrive as it was sent, or would lie outside of the folder.
    """
    for name, (data, sha) in packed.items():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"The worker sent a file {name!r}, outside of the run folder.")
        if _sha(data) != sha:
            raise ValueError(f"{name} did not arrive as it was sent: the run is repeated.")
    for name, (data, _) in packed.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, data)
