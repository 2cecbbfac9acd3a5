"""What the commands print and write of a trained VAE: figures, and all that they depend on."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pvae.data.dataset import Dataset, Part
from pvae.evaluation import AnomalyScore, Compression
from pvae.evaluation import evaluate as evaluate_part
from pvae.evaluation.evidence import annealed, importance, some
from pvae.evaluation.summary import batches_for, bits_per_dim
from pvae.vae import VAE

BATCH = 500
_BOUNDS = {
    "neg_elbo": "−ELBO",
    "log_likelihood": "E[log p(x|z)]",
    "kl": "KL(q||p)",
    "bits_per_dim": "bits/dim",
}


def parts_of(dataset: Dataset) -> list[str]:
    """Names of the parts that there are, what the model has seen most first."""
    return [p for p in ("train", "validation", "test") if getattr(dataset, p) is not None]


# The ELBO -----------------------------------------------------------------------------------------


def bounds(vae: VAE, dataset: Dataset, parts: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """The ELBO of parts of the data and what it consists of."""
    rows = {part: evaluate_part(vae, dataset, part, seed=seed) for part in parts}
    return _settings(vae, dataset, seed) | {
        "samples": 1,
        "parts": {part: {"items": len(getattr(dataset, part)), **rows[part]} for part in parts},
    }


def bounds_table(record: dict[str, Any]) -> str:
    """A row for each part."""
    rows = record["parts"]
    columns = [name for name in _BOUNDS if name in next(iter(rows.values()))]
    lines = [f"{_named(record)}, 1 sample of z"]
    lines.append(f"{'part':<12}{'items':>8}" + "".join(f"{_BOUNDS[c]:>16}" for c in columns))
    for part, figures in rows.items():
        cells = "".join(f"{figures[c]:>16.3f}" for c in columns)
        lines.append(f"{part:<12}{figures['items']:>8}{cells}")
    return "\n".join(lines)


# log p(x) -----------------------------------------------------------------------------------------


def evidence(
    vae: VAE,
    dataset: Dataset,
    part: str,
    estimator: str,
    num_samples: int,
    items: int | None,
    seed: int,
) -> dict[str, Any]:
    """log p(x) of some items of a part, by one estimator or all that apply."""
    batches = batches_for(vae, dataset, getattr(dataset, part), BATCH)
    x, *y = some(batches, items, seed)
    label = y[0] if y else None
    record = _settings(vae, dataset, seed) | {"part": part}
    estimators = {
        "importance": lambda: importance(vae, x, label, num_samples, seed),
        "ais": lambda: annealed(vae, x, label, seed),
    }
    for name in estimators if estimator == "all" else [estimator]:
        try:
            figures = estimators[name]()
        except ValueError as error:
            if estimator != "all":
                raise
            record[name] = {"not_applicable": str(error)}
            continue
        bits = bits_per_dim(-figures["log_likelihood"], vae, batches)
        record[name] = figures if bits is None else figures | {"bits_per_dim": bits}
    return record


def evidence_table(record: dict[str, Any]) -> str:
    """A line for each figure."""
    lines = [f"{_named(record)}, {record['part']}"]

    def line(name: str, value: str) -> None:
        lines.append(f"{name:<58}{value}")

    for key, how in (("importance", "importance samples"), ("ais", "AIS")):
        figures = record.get(key)
        if figures is None:
            continue
        if "not_applicable" in figures:
            lines.append(f"No estimate by {how}: {figures['not_applicable']}")
            continue
        if key == "importance":
            how = f"{figures['num_samples']:,} {how}"
        else:
            how = f"{how}, {figures['num_chains']} chains of {figures['num_steps']} steps"
        line(
            f"log p(x), {figures['items']:,} items, {how}",
            f"{figures['log_likelihood']:.3f}{_within(figures['standard_error'], ' (samples)')}"
            f"{_within(figures['standard_error_of_data'], ' (items)')}",
        )
        if "bits_per_dim" in figures:
            line("  bits per dimension", f"{figures['bits_per_dim']:.3f}")
        if key == "importance":
            line("  effective sample size, median", f"{figures['effective_sample_size']:,.1f}")
            share = f"{100 * figures['pareto_k_above_0.7']:.1f} %"
            line(f"  items with k-hat above 0.7, {figures['pareto_samples']:,} samples", share)
            if "active_units" in figures:
                line("  active units", f"{figures['active_units']} of {figures['latents']}")
        else:
            s = figures["sandwich"]
            line(
                f"  sandwich on {s['items']} data drawn from the model",
                f"{s['lower']:.3f} to {s['upper']:.3f}, gap {s['gap']:.3f}"
                f"{_within(s['gap_standard_error'])}",
            )
            if s["importance"] is not None:
                line("  log p(x) of these, 5,000 importance samples", f"{s['importance']:.3f}")
    return "\n".join(lines)


def _within(error: float | None, of: str = "") -> str:
    return "" if error is None else f" ± {error:.3f}{of}"


# Anomaly scores -----------------------------------------------------------------------------------


def members(dataset: Dataset, part: Part, labels: Sequence[int | str]) -> Tensor:
    """Which items have one of the labels, given by number or class name.

    Raises:
        ValueError: if the data have no classes, there is no such label, or no item or every one
            has it.
    """
    if part.y is None or part.y.dim() > 1:
        raise ValueError(
            f"The data {dataset.name} have no classes, of which some could be anomalies: leave "
            "anomalous out."
        )
    names = {str(name): i for i, name in enumerate(dataset.classes or ())}
    known = {str(i): i for i in part.y.unique().tolist()} | names
    labels = [str(label) for label in labels]
    unknown = [label for label in labels if label not in known]
    if unknown:
        raise ValueError(f"There is no label {unknown[0]!r}: choose of {', '.join(known)}.")
    found = torch.isin(part.y, torch.tensor([known[label] for label in labels]).long())
    if found.all() or not found.any():
        raise ValueError(
            f"{int(found.sum()):,} of the {len(part):,} items are anomalous: give labels of some "
            "but not of all."
        )
    return found


def scores_table(
    vae: VAE,
    dataset: Dataset,
    part: str,
    found: AnomalyScore,
    correction: str | None,
    num_samples: int,
    seed: int,
) -> str:
    """Quartiles of the scores and of log p(x)."""
    how = f", corrected by {correction}" if correction else ""
    lines = [f"{_named(_settings(vae, dataset, seed))}, {part}, {len(found.score):,} items"]
    lines[0] += f", {num_samples:,} importance samples"
    lines.append(f"{'':<34}{'25 %':>12}{'median':>12}{'75 %':>12}")
    for name, values in (("log p(x)", found.log_prob), (f"anomaly score{how}", found.score)):
        quartiles = values.double().cpu().quantile(torch.tensor([0.25, 0.5, 0.75]).double())
        lines.append(f"{name:<34}" + "".join(f"{q:>12.3f}" for q in quartiles.tolist()))
    return "\n".join(lines)


def scores_csv(part: Part, found: AnomalyScore, positive: Tensor | None) -> str:
    """A row for each item: its file or number, log p(x), score, label and anomaly if known."""
    columns = {
        "item": part.files or range(len(part)),
        "log_prob": found.log_prob.tolist(),
        "score": found.score.tolist(),
    }
    if part.y is not None and part.y.dim() == 1:
        columns["label"] = part.y.tolist()
    if positive is not None:
        columns["anomalous"] = positive.int().tolist()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


# Compression --------------------------------------------------------------------------------------

_CODES = {
    "neg_elbo": "VAE, ideally (−ELBO)",
    "png": "PNG, one file",
    "gzip": "gzip, one file",
    "png_files": "PNG, a file each",
    "gzip_files": "gzip, a file each",
}


def compression(
    vae: VAE, dataset: Dataset, part: str, found: Compression, seed: int
) -> dict[str, Any]:
    """Code lengths, in bits."""
    codes = {name: code and code._asdict() for name, code in found._asdict().items()}
    known = {"part": part, "items": len(getattr(dataset, part)), "samples": 1}
    return _settings(vae, dataset, seed) | known | codes


def compression_table(record: dict[str, Any]) -> str:
    """A row for each code."""
    lines = [f"{_named(record, 'bits')}, {record['part']}, {record['items']:,} items"]
    lines.append(f"{'':<24}{'per item':>16}{'per dim':>12}")
    for name, text in _CODES.items():
        if code := record[name]:
            lines.append(f"{text:<24}{code['bits']:>16.1f}{code['bits_per_dim']:>12.3f}")
    return "\n".join(lines)


def _settings(vae: VAE, dataset: Dataset, seed: int) -> dict[str, Any]:
    """What every figure depends on."""
    domain = vae.likelihood.domain
    return {
        "data": dataset.name,
        "domain": domain,
        "binarization": dataset.binarization if domain == "binary" else None,
        "seed": seed,
    }


def _named(record: dict[str, Any], unit: str = "nats per datum") -> str:
    how = f", {record['binarization']} binarization" if record["binarization"] else ""
    return f"{record['data']}: {unit}{how}, seed {record['seed']}"
