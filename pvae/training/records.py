"""The records of a run folder: reading and checking run.json, config.yaml and metrics.jsonl."""

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, get_args

import torch
import yaml

from pvae import __version__
from pvae.data.dataset import Dataset
from pvae.data.domains import Domain
from pvae.inference.backends import Backend
from pvae.messages import brief
from pvae.storage import configuration, files, schema, tensors
from pvae.storage.schema import Count, Finite, Number
from pvae.training.history import METRICS

FORMAT = 1
BEFORE = {  # of versions without these options
    "warmup": 0,
    "monitor": "neg_elbo",
    "keep": "best",
    "snapshots": False,
}
SINCE = {
    "skip_norm": None,
    "spectral_limit": None,
}  # options of later versions, off in all runs without them
MLP_PATH = "pvae.networks.MLP"

_INFO = {
    "pvae?": str,
    "torch?": str,
    "python?": str,
    "device?": str,
    "dtype?": {None, "float16", "bfloat16", "float32", "float64"},
    "epochs": Count,
    "step?": Count,
    "stopped?": {None, "finished", "early", "interrupted", "failed"},
    "data": {
        "name": str,
        "domain": {*get_args(Domain)},
        "value_range": [Finite],
        "items": Count,
        "classes": list | None,
        "fingerprint": str,
    },
    "mode?": {"eager", *get_args(Backend)},
    "monitor?": {f"validation/{name}" for name in METRICS},
    "labels?": {"classes?": Count | None, "label_dim?": Count | None},
    "checksums?": {"*": [str]},
}
_PART = dict | None
_CONFIG = {
    "data": str | None,
    "labels?": str | None,
    "size?": Count | list | None,
    "crop?": bool,
    "channels?": Count | None,
    "event_shape": [Count],
    "key?": str | None,
    "validation?": Finite | None,
    "test?": Finite | None,
    "binarization?": str,
    "skip_broken?": bool,
    "root?": str | None,
    "labelled?": Count | None,
    "labelled_seed?": Count,
    "latent_dim": Count,
    "prior?": _PART,
    "likelihood?": _PART,
    "posterior?": _PART,
    "network?": _PART,
    "weights?": _PART,
    "conditional?": bool | list,
    "classifier?": _PART,
    "class_prior?": str,
    "objective?": _PART,
    "optimizer?": _PART,
    "scheduler?": _PART,
    "epochs?": Count,
    "batch_size?": Count,
    "clip_norm?": Finite | None,
    "skip_norm?": Finite | None,
    "spectral_limit?": Finite | None,
    "warmup?": Count,
    "patience?": Count | None,
    "compile?": bool | str,
    "device?": str,
    "seed?": Count,
    "monitor?": str,
    "keep?": {"best", "last"},
    "snapshots?": bool,
}
_ROW = {
    "epoch": Count,
    "step": Count,
    "seconds": Finite,
    "loss": Finite,
    "*": Number,
}
_SNAPSHOT = re.compile(r"(step|epoch)-(\d{6,12})\.safetensors")
_MOST_INFO = 2**24
_MOST_METRICS = 2**30


def read_info(path: Path) -> dict[str, Any]:
    """Read run.json.

    Raises:
        FileNotFoundError: if it is missing.
        ValueError: if it is damaged, or of a format that this version does not read.
    """
    info = _parse(files.read(path, _MOST_INFO), path)
    schema.check(info, {"format": int}, path)
    if info["format"] != FORMAT:
        raise ValueError(
            f"{path.parent} is a run folder of format {info['format']}, written by pvae "
            f"{brief(info.get('pvae', 'unknown'), 20)}: pvae {__version__} reads format "
            f"{FORMAT}."
        )
    schema.check(info, _INFO, path)
    if len(info["data"]["value_range"]) != 2:
        raise ValueError(f"{path} is damaged: data.value_range is not two numbers.")
    for name in info.get("checksums", {}):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(
                f"{path} is damaged: its checksums name {brief(name, 60)}, which is not a file of "
                "the run folder."
            )
    known = info.get("checksums", {}).get("run.json", ())
    if known and sealed(info)["checksums"]["run.json"] != known:
        raise ValueError(
            f"{path} differs from what the run wrote: its checksum does not match, so at least one "
            "entry has changed; restore the file from a copy."
        )
    return info


def read_config(path: Path) -> dict[str, Any]:
    """Read config.yaml, as it was written.

    Raises:
        FileNotFoundError: if it is missing.
        ValueError: if it is damaged.
    """
    config = configuration.read(path)
    schema.check(config, _CONFIG, path)
    return config


def lacking(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the version of a configuration did not have, with equivalent values."""
    return {k: v for k, v in BEFORE.items() if k not in config}


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with the options that its version did not have."""
    without = lacking(config)
    config = {**SINCE, **without, **config}
    network = config.get("network")
    if without and isinstance(network, dict) and network.get("class_path") == MLP_PATH:
        # Its default dropout was 0.
        arguments = {"dropout": 0.0} | (network.get("init_args") or {})
        config["network"] = network | {"init_args": arguments}
    return config


def same(own: Any, given: Any, older: bool) -> bool:
    """Whether an entry of a configuration is unchanged.

    Args:
        own: the entry in the run.
        given: the new entry.
        older: whether an earlier version, whose parts had fewer arguments, started the run.
    """
    if not (older and isinstance(own, dict) and isinstance(given, dict)):
        return own == given
    before, now = own.get("init_args") or {}, given.get("init_args") or {}
    alike = all(before[k] == now[k] for k in before.keys() & now.keys())
    return alike and own.get("class_path") == given.get("class_path")


def read_rows(path: Path, checksums: Iterable[str], begun: bool) -> list[dict[str, Any]]:
    """Read metrics.jsonl, one row per epoch.

    Args:
        path: the file.
        checksums: the checksums that it may have; empty for any.
        begun: whether an epoch was completed, so that the file must exist.

    Raises:
        FileNotFoundError: if it is missing.
        ValueError: if it is damaged.
    """
    if not begun and not os.path.lexists(path):
        return []
    content = files.read(path, _MOST_METRICS)
    rows = []
    for number, line in enumerate(content.splitlines(), 1):
        rows.append(_parse(line, f"{path}, line {number},"))
        check_row(rows[-1], number, path, "line")
    tensors.check_sum(path, content, tuple(checksums))
    return rows


def check_row(row: Any, number: int, source: object, where: str) -> None:
    """Check the metrics of an epoch.

    Args:
        row: the row.
        number: the number of the epoch.
        source: the file, for the error message.
        where: the kind of entry in the file, such as a line.

    Raises:
        ValueError: if they are not numbers, or are of another epoch.
    """
    schema.check(row, _ROW, f"{source}, {where} {number},")
    if row["epoch"] != number:
        raise ValueError(f"{source} is damaged: {where} {number} is not of epoch {number}.")


def snapshot_name(step: int) -> str:
    """The name of the snapshot with the weights after a gradient step."""
    return f"snapshots/step-{step:07d}.safetensors"


def snapshots(folder: Path, rows: Iterable[Mapping[str, Any]]) -> dict[int, str]:
    """The file names of the snapshots in a folder, by gradient step.

    Args:
        folder: the folder.
        rows: the metrics of the epochs. Earlier versions named snapshots by the epoch, and its row
            has the step.
    """
    step_after = {0: 0} | {row["epoch"]: row["step"] for row in rows}
    found = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if match := _SNAPSHOT.fullmatch(path.name):
            number = int(match[2])
            step = number if match[1] == "step" else step_after.get(number)
            if step is not None:
                found[step] = f"snapshots/{path.name}"
    return dict(sorted(found.items()))


def describe_data(data: Dataset) -> dict[str, Any]:
    """Describe data for the record of a run, with a fingerprint to recognize them."""
    return {
        "name": data.name,
        "domain": data.domain,
        "value_range": list(data.value_range),
        "items": len(data.train),
        "classes": None if data.classes is None else list(data.classes),
        "fingerprint": data.fingerprint(),
    }


def floating(weights: Mapping[str, torch.Tensor]) -> set[str]:
    """The names of the floating-point dtypes among weights."""
    dtypes = {w.dtype for w in weights.values() if w.is_floating_point()}
    return {str(dtype).removeprefix("torch.") for dtype in dtypes}


def as_json(info: Mapping[str, Any]) -> bytes:
    """Convert a record to JSON."""
    return (json.dumps(info, indent=2) + "\n").encode()


def as_yaml(config: Mapping[str, Any]) -> bytes:
    """Convert a configuration to YAML."""
    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True).encode()


def sealed(info: Mapping[str, Any]) -> dict[str, Any]:
    """The content of run.json with a checksum of its other entries, if it has checksums."""
    plain: dict[str, Any] = json.loads(json.dumps(info))
    if "checksums" in plain:
        plain["checksums"].pop("run.json", None)
        content = json.dumps(plain, sort_keys=True).encode()
        plain["checksums"]["run.json"] = [tensors.checksum(content)]
    return plain


def _parse(text: bytes, source: object) -> Any:
    """Read JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source} is damaged and cannot be read: {brief(error)}.") from error
