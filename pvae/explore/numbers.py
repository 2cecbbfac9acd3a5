"""What is known of a run: its losses, its evaluation and what it was made with."""

import json
from pathlib import Path
from typing import Any

from pvae.interfaces import option
from pvae.messages import shorten
from pvae.storage import files
from pvae.training import Run
from pvae.vae import VAE

MOST_ROWS = 400  # points of a curve
MOST_BYTES = 2**20  # of an evaluation
_LEFT_OUT = {"run", "resume", "root", "snapshots", "event_shape"}
_BOUNDS = {
    "neg_elbo": "−ELBO",
    "log_likelihood": "E[log p(x|z)]",
    "kl": "KL(q||p)",
    "bits_per_dim": "bits/dim",
}


def numbers_of(run: Run, vae: VAE) -> dict[str, Any]:
    """The losses, the evaluation and the arguments of a run, as the page shows them.

    Args:
        run: the run.
        vae: its VAE.
    """
    return {
        "curves": curves(run),
        "evaluation": evaluation(run),
        "settings": settings(run, vae),
    }


def curves(run: Run) -> dict[str, Any] | None:
    """The −ELBO of the train and validation parts by epoch; ``None`` for a run without epochs."""
    rows = run.history.rows
    if not rows:
        return None
    step = -(-len(rows) // MOST_ROWS)
    kept = [*rows[:-1:step], rows[-1]] if step > 1 else rows
    lines = {}
    for name, column in (("training", "train/neg_elbo"), ("validation", "validation/neg_elbo")):
        values = [row.get(column) for row in kept]
        if any(isinstance(value, int | float) for value in values):
            lines[name] = [_known(value) for value in values]
    epochs = [row.get("epoch") for row in kept]
    return {"epochs": epochs, "lines": lines, "kept": run.history.kept_epoch}


def evaluation(run: Run) -> dict[str, Any] | None:
    """The results of `pvae evaluate`, as rows of a table; ``None`` if there are none."""
    try:
        record = json.loads(files.read(run.path / "evaluation.json", MOST_BYTES))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("parts"), dict):
        return None
    columns = [
        name
        for name in _BOUNDS
        if any(name in row for row in record["parts"].values() if isinstance(row, dict))
    ]
    rows = [
        [part, f"{row.get('items', 0):,}", *(_shown(row.get(name)) for name in columns)]
        for part, row in record["parts"].items()
        if isinstance(row, dict)
    ]
    how = f", {record['binarization']} binarization" if record.get("binarization") else ""
    return {
        "caption": f"{record.get('data')}: nats per datum{how}, seed {record.get('seed')}",
        "columns": ["part", "items", *(_BOUNDS[name] for name in columns)],
        "rows": rows,
        "evidence": _evidence(record.get("evidence")),
    }


def settings(run: Run, vae: VAE) -> list[list[str]]:
    """What the run was made with: names and values."""
    config = run.config
    info = run.info
    found = [["run", run.path.name]]
    idle = set()  # what this model has no use for
    if option(vae.likelihood, "domain") != "binary":
        idle.add("binarization")
    if vae.classifier is None:
        idle.add("class_prior")
    for name, value in config.items():
        if name not in _LEFT_OUT | idle and value not in (None, False, "auto", [], {}):
            # A page that is sent says nothing of the folders of this machine.
            shown = Path(value).name if name in ("data", "labels") else _in_words(value)
            found.append([name.replace("_", " "), shown])
    weights = sum(parameter.numel() for parameter in vae.parameters())
    found += [
        ["weights", f"{weights:,}"],
        ["epochs trained", f"{info.get('epochs', 0):,}"],
        ["stopped", str(info.get("stopped") or "interrupted")],
        ["trained on", str(info.get("device", "unknown"))],
        ["versions", f"pvae {info.get('pvae')}, torch {info.get('torch')}"],
    ]
    return found


def _evidence(record: Any) -> list[list[str]]:
    """log p(x) by each estimator, with its error."""
    names = {"importance": "importance sampling", "ais": "annealed importance sampling"}
    found = []
    for key, name in names.items():
        figures = record.get(key) if isinstance(record, dict) else None
        if not isinstance(figures, dict) or "log_likelihood" not in figures:
            continue
        error = _known(figures.get("standard_error"))
        value = _shown(figures["log_likelihood"])
        known = "a lower bound, its error unknown" if error is None else f"± {error:.3f}"
        found.append([f"log p(x), {name}", f"{figures.get('items', 0):,}", f"{value} {known}"])
    return found


def _in_words(value: Any) -> str:
    """An argument as the command line would name it."""
    if isinstance(value, dict) and "class_path" in value:
        name = str(value["class_path"]).rpartition(".")[2]
        own = not str(value["class_path"]).startswith("pyro.")  # whose options are technical
        options = value.get("init_args") or {} if own else {}
        inner = ", ".join(f"{k}={_in_words(v)}" for k, v in options.items() if v is not None)
        return shorten(f"{name}({inner})" if inner else name, 200)
    if isinstance(value, list):
        value = ", ".join(map(_in_words, value))
    return shorten(str(value), 200)


def _known(value: Any) -> float | None:
    finite = isinstance(value, int | float) and abs(value) < 1e30
    return round(float(value), 4) if finite else None


def _shown(value: Any) -> str:
    return f"{value:.3f}".replace("-", "−") if isinstance(value, int | float) else ""
