"""The tables and records of the ELBO, classes, log p(x) and code lengths, with their settings."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from pvae.data.batches import batches_for
from pvae.data.dataset import Dataset
from pvae.evaluation import (
    Classification,
    Compression,
    classification,
    code_usage,
)
from pvae.evaluation import evaluate as evaluate_part
from pvae.evaluation.batching import OutOfTime, is_stopped
from pvae.evaluation.evidence import PLANS, annealed, best, importance, is_reliable
from pvae.evaluation.results import (
    LOWER_BOUND,
    crossed,
    estimate,
    interval,
    unreliable_items,
    within,
)
from pvae.evaluation.summary import bits_per_dim
from pvae.interfaces import option
from pvae.seeds import seeded
from pvae.vae import VAE

# The fraction of the time that importance sampling may take before AIS, if k-hat finds it reliable,
# and if not.
RELIABLE, UNRELIABLE = 0.6, 0.25
WIDE = 0.5  # nats: the gap of a sandwich above which more steps, or items, are proposed
_BOUNDS = {
    "neg_elbo": "−ELBO",
    "log_likelihood": "E[log p(x|z)]",
    "kl": "KL(q||p)",
    "bits_per_dim": "bits/dim",
    "code_usage": "codes used",
    "code_perplexity": "perplexity",
}
MOST_CODED = 10_000  # items whose codes are counted


# The ELBO -----------------------------------------------------------------------------------------


def bounds(vae: VAE, dataset: Dataset, parts: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """The ELBO and its terms on parts of the data, and the usage of codes if there are any."""
    rows = {
        part: evaluate_part(vae, dataset, part, seed=seed) | _codes(vae, dataset, part, seed)
        for part in parts
    }
    return settings(vae, dataset, seed) | {
        "samples": 1,
        "parts": {part: {"items": len(dataset.part(part)), **rows[part]} for part in parts},
    }


def _codes(vae: VAE, dataset: Dataset, part: str, seed: int) -> dict[str, float]:
    if option(vae.posterior, "codes") is None:
        return {}
    batches = batches_for(vae, dataset, dataset.part(part))
    x, *y = batches.choose(MOST_CODED, seed)
    found = code_usage(vae, x, y[0] if y else None, progress=False)
    return {"code_usage": found.usage, "code_perplexity": found.perplexity}


def bounds_table(record: dict[str, Any]) -> str:
    """A row for each part."""
    return "\n".join([bounds_header(record), *bounds_rows(record)])


def bounds_header(record: dict[str, Any]) -> str:
    """The settings of the results, and the names of the columns."""
    columns = "".join(f"{_BOUNDS[c]:>16}" for c in _columns(record))
    return f"{named(record)}, 1 sample of z\n{'part':<12}{'items':>8}{columns}"


def bounds_rows(record: dict[str, Any]) -> list[str]:
    """The results for each part."""
    return [
        f"{part:<12}{figures['items']:>8}"
        + "".join(f"{figures[c]:>16.3f}" for c in _columns(record))
        for part, figures in record["parts"].items()
    ]


def _columns(record: dict[str, Any]) -> list[str]:
    return [name for name in _BOUNDS if name in next(iter(record["parts"].values()))]


# Classes ------------------------------------------------------------------------------------------


def classes(vae: VAE, dataset: Dataset, part: str, seed: int = 0) -> Classification | None:
    """The error and calibration of the classifier; ``None`` without one, or without labels.

    If no label is known to train on, classes are clusters, which have no names to be wrong about.
    """
    y, trained = dataset.part(part).y, dataset.train.y
    if vae.classifier is None or y is None or trained is None:
        return None
    if not bool((y >= 0).any()) or not bool((trained >= 0).any()):
        return None
    batches = batches_for(vae, dataset, dataset.part(part))
    with vae.evaluating(), seeded(seed, vae.device):
        probs = torch.cat([vae.classify(x).probs for x in batches.epoch(seed=seed)])
    return classification(probs.cpu(), y)


def classes_line(found: Classification, part: str) -> str:
    """The error and calibration in words."""
    return (
        f"classifier on {int(found.counts.sum()):,} {part} items: error {100 * found.error:.2f} % "
        f"± {100 * found.standard_error:.2f} (items), calibration error "
        f"{100 * found.calibration_error:.2f} %"
    )


def classes_record(found: Classification) -> dict[str, Any]:
    """The error and calibration, to be saved."""
    names = ("error", "standard_error", "calibration_error")
    return {name: getattr(found, name) for name in names} | {"items": int(found.counts.sum())}


# log p(x) -----------------------------------------------------------------------------------------


def evidence(
    vae: VAE,
    dataset: Dataset,
    part: str,
    estimator: str,
    num_samples: int,
    items: int | None,
    seconds: float,
    seed: int,
    spent: float = 0.0,
) -> Iterator[dict[str, Any]]:
    """Estimate log p(x) of some items of a part, by one estimator or all that apply, in time.

    Of the time, some is spent already. AIS and its sandwich, which take longest, come last.

    Yields:
        The record so far, each time that an estimator is done; its last entry is new.
        The final entry is the best estimate, if there is any.

    Raises:
        ValueError: if the only estimator does not apply.
    """
    began = time.monotonic() - spent
    batches = batches_for(vae, dataset, dataset.part(part))
    x, *y = batches.choose(items or len(batches.part), seed)
    label = y[0] if y else None
    record = settings(vae, dataset, seed) | {"part": part, "seconds": seconds}
    yield record

    def left() -> float:
        return max(1.0, seconds - (time.monotonic() - began))

    estimators = {
        "importance": lambda available: importance(vae, x, label, num_samples, seed, available),
        "ais": lambda available: annealed(vae, x, label, seed, available),
    }
    names = [*estimators] if estimator == "all" else [estimator]
    shares = [1.0]
    if estimator == "all":
        shares = [RELIABLE if _relied_on(vae, x, label, seed) else UNRELIABLE, 1.0]
    found = {}
    for name, share in zip(names, shares, strict=True):
        available = share * left()
        try:
            found[name] = estimators[name](available)
            figures = {key: value for key, value in found[name].items() if key != "log_prob"}
            bits = bits_per_dim(-figures["log_likelihood"], vae, batches)
            record[name] = figures if bits is None else figures | {"bits_per_dim": bits}
        except OutOfTime:
            record[name] = {"stopped": True} if is_stopped() else {"out_of_time": available}
        except ValueError as error:
            if estimator != "all":
                raise
            record[name] = {"not_applicable": str(error)}
        yield record
    if chosen := best(found):
        record["best"] = chosen
        yield record


def _relied_on(vae: VAE, x: Tensor, label: Tensor | None, seed: int) -> bool:
    try:
        return is_reliable(vae, x, label, seed)
    except ValueError:  # the estimator will raise it
        return True


def evidence_header(record: dict[str, Any]) -> str:
    """The settings of the estimates of log p(x)."""
    return f"{named(record)}, {record['part']}"


_HOW = {"importance": "importance sampling", "ais": "AIS"}


def evidence_lines(record: dict[str, Any], took: float = 0.0) -> list[str]:
    """The lines for the new entry of a record: an estimator, which took some time, or the best."""
    key, figures = list(record.items())[-1]
    if key == "best":
        return _best_lines(record)
    if "not_applicable" in figures:
        return [f"No estimate by {_HOW[key]}: {figures['not_applicable']}"]
    if "out_of_time" in figures:
        return [
            f"No estimate by {_HOW[key]}: its shortest run takes longer than the "
            f"{figures['out_of_time']:.0f} s left for it; allow more by --seconds."
        ]
    if "stopped" in figures:
        return [f"No estimate by {_HOW[key]}: it was stopped."]
    if key == "importance":
        lines = _importance_lines(figures)
    else:
        lines = _ais_lines(figures, record["seconds"])
    if "bits_per_dim" in figures:
        lines.insert(1, _line("  bits per dimension", f"{figures['bits_per_dim']:.3f}"))
    if took >= 1:
        lines.append(_line("  time taken", f"{took:.0f} s"))
    return lines


def _best_lines(record: dict[str, Any]) -> list[str]:
    """The best estimate, the reason, and what was left out for lack of time."""
    name, reason = record["best"]["estimator"], record["best"]["reason"]
    plural = "" if record[name]["items"] == 1 else "s"
    value = _importance_value if name == "importance" else _ais_value
    lines = [
        f"\nBest estimate of log p(x): {value(record[name])}",
        f"It is by {_HOW[name]} of {record[name]['items']:,} item{plural}: {reason}.",
    ]
    short = [
        f"{_HOW[key]} of {figures['asked'] - figures['items']:,} of {figures['asked']:,} items"
        for key, figures in record.items()
        if key in _HOW and figures.get("asked", 0) > figures.get("items", 0)
    ]
    if short:
        lines.append(
            f"Left out for lack of time: {' and '.join(short)}; allow more by --seconds, or ask "
            "for fewer by --items."
        )
    return lines


def _importance_value(figures: dict[str, Any]) -> str:
    share = figures["pareto_k_above_0.7"] or 0.0
    mean = estimate(figures["log_likelihood"], figures["standard_error"], share)
    return mean + _other_errors(figures)


def _ais_value(figures: dict[str, Any]) -> str:
    error = figures["standard_error"]
    bound = f", {LOWER_BOUND}" if error is None else within(error, " (chains)")
    return f"{figures['log_likelihood']:.3f}{bound}{_other_errors(figures)}"


def _importance_lines(figures: dict[str, Any]) -> list[str]:
    n, samples = figures["items"], f"{figures['num_samples']:,}"
    if several := figures.get("num_weights"):
        samples += f" × {several}"
    share = figures["pareto_k_above_0.7"]
    lines = [
        _line(f"log p(x), {n:,} items, {samples} importance samples", _importance_value(figures)),
        _line("  effective sample size, median", f"{figures['effective_sample_size']:,.1f}"),
    ]
    if share is not None:
        lines.append(_line("  items with k-hat above 0.7", unreliable_items(share, n)))
    if "active_units" in figures:
        units = f"{figures['active_units']} of {figures['latents']}"
        lines.append(_line("  active units", units))
    if "level_kl" in figures:
        kl = ", ".join(f"{value:.2f}" for value in figures["level_kl"])
        lines.append(_line("  KL of the levels, from the top down", f"{kl} nats"))
    return lines


def _ais_lines(figures: dict[str, Any], seconds: float) -> list[str]:
    s = figures["sandwich"]
    lines = [
        _line(
            f"log p(x), {figures['items']:,} items, AIS, {figures['num_chains']} chains of "
            f"{figures['num_steps']} steps",
            _ais_value(figures),
        ),
        _line(
            f"  sandwich on {s['items']:,} data drawn from the model",
            interval(s["lower"], s["upper"], s["gap_standard_error"]),
        ),
    ]
    error = max(figures["standard_error_of_data"] or 0.0, s["gap_standard_error"] or 0.0)
    more = figures["num_chains"] < PLANS[-1][1]
    if more and crossed(s["gap"], s["gap_standard_error"]):
        lines.append(_line("  for more chains,", f"double the time: --seconds {2 * seconds:g}"))
    if s["gap"] > max(WIDE, error):
        proposed = f"double the steps: --seconds {2 * seconds:g}"
        lines.append(_line(f"  a gap of {s['gap']:.1f} nats: to halve it, about,", proposed))
    elif s["gap"] > WIDE and figures["items"] < figures["asked"]:
        proposed = f"four times the items: --seconds {4 * seconds:g}"
        lines.append(_line(f"  an error of {error:.1f} nats by few items: to halve it,", proposed))
    if s["importance"] is not None:
        said = f"{s['importance']:.3f}{_beside_sandwich(s)}"
        lines.append(_line("  log p(x) of these, 5,000 importance samples", said))
    return lines


def _beside_sandwich(s: dict[str, Any]) -> str:
    """Where importance sampling is in relation to the bounds, if not between them."""
    short, excess, error = s["lower"] - s["importance"], s["excess"], s["excess_standard_error"]
    if short > WIDE:
        return f", {short:.1f} nats below the sandwich"
    if excess <= 0:
        return ""
    agree = ": they agree within their errors" if error and excess <= 2 * error else ""
    return f", {excess:.3f}{within(error)} above the sandwich{agree}"


def _other_errors(figures: dict[str, Any]) -> str:
    """The errors by weights and items, apart from that of a bound, which is unknown."""
    error = within(figures.get("standard_error_of_weights"), " (weights)")
    error += within(figures["standard_error_of_data"], " (items)")
    return (";" if figures["standard_error"] is None and error else "") + error


def _line(name: str, value: str) -> str:
    return f"{name:<62} {value}"


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
    known = {"part": part, "items": len(dataset.part(part)), "samples": 1}
    return settings(vae, dataset, seed) | known | codes


def compression_table(record: dict[str, Any]) -> str:
    """A row for each code."""
    lines = [f"{named(record, 'bits')}, {record['part']}, {record['items']:,} items"]
    lines.append(f"{'':<24}{'per item':>16}{'per dim':>12}")
    for name, text in _CODES.items():
        if code := record[name]:
            lines.append(f"{text:<24}{code['bits']:>16.1f}{code['bits_per_dim']:>12.3f}")
    return "\n".join(lines)


def settings(vae: VAE, dataset: Dataset, seed: int) -> dict[str, Any]:
    """The settings that all results share."""
    domain = vae.likelihood.domain
    return {
        "data": dataset.name,
        "domain": domain,
        "binarization": dataset.binarization if domain == "binary" else None,
        "seed": seed,
    }


def named(record: dict[str, Any], unit: str = "nats per datum") -> str:
    """The settings of a record in words."""
    how = f", {record['binarization']} binarization" if record["binarization"] else ""
    return f"{record['data']}: {unit}{how}, seed {record['seed']}"
