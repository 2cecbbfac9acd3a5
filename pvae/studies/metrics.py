"""What a study measures of a trained VAE, item by item where there is a value of each."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pvae.data.batches import AT_ONCE, batches_for
from pvae.data.dataset import Dataset
from pvae.data.domains import DEQUANTIZED
from pvae.data.part import Part
from pvae.evaluation.ais import ais
from pvae.evaluation.batching import split
from pvae.evaluation.code_usage import code_usage
from pvae.evaluation.decomposition import active_units, kl_decomposition
from pvae.evaluation.disentanglement import DCI, dci, mig, sap
from pvae.evaluation.elbo import ELBO, elbo
from pvae.evaluation.inference_gap import inference_gap
from pvae.evaluation.k_hat import UNRELIABLE
from pvae.evaluation.log_likelihood import log_likelihood
from pvae.evaluation.representations import Representation, posterior_means, representation
from pvae.evaluation.sample_quality import SampleQuality, sample_quality
from pvae.interfaces import option
from pvae.messages import choices, one_line, shown
from pvae.seeds import choice, seeded
from pvae.studies.measures import Measures
from pvae.vae import VAE


class Metric(NamedTuple):
    """A figure of a study.

    Attributes:
        title: how tables call it.
        unit: its unit, empty for a number without one.
        lower_is_better: ``None`` if neither direction is better.
        digits: decimals in tables.
    """

    title: str
    unit: str
    lower_is_better: bool | None
    digits: int


METRICS: dict[str, Metric] = {
    "neg_elbo": Metric("test −ELBO", "nats", True, 2),
    "reconstruction": Metric("E[log p(x|z)]", "nats", None, 2),
    "kl": Metric("KL", "nats", None, 2),
    "log_prob": Metric("log p(x)", "nats", False, 2),
    "bits_per_dim": Metric("bits per dimension", "bits", True, 3),
    "unreliable_share": Metric("k-hat above 0.7", "", None, 3),
    "effective_sample_size": Metric("effective samples", "", None, 0),
    "active_units": Metric("active units", "", None, 1),
    "inference_gap": Metric("inference gap", "nats", True, 2),
    "approximation_gap": Metric("approximation gap", "nats", True, 2),
    "amortization_gap": Metric("amortization gap", "nats", True, 2),
    "mutual_information": Metric("I(x; z)", "nats", None, 2),
    "total_correlation": Metric("total correlation", "nats", None, 2),
    "code_usage": Metric("codes that occur, share", "", None, 3),
    "code_perplexity": Metric("code perplexity", "", None, 1),
    "classification_error": Metric("classification error", "", True, 3),
    "knn_accuracy": Metric("k-NN accuracy", "", False, 3),
    "linear_probe_accuracy": Metric("linear probe accuracy", "", False, 3),
    "adjusted_rand_index": Metric("adjusted Rand index", "", False, 3),
    "normalized_mutual_information": Metric("normalized mutual information", "", False, 3),
    "clustering_accuracy": Metric("clustering accuracy", "", False, 3),
    "mig": Metric("MIG", "", False, 3),
    "sap": Metric("SAP", "", False, 3),
    "disentanglement": Metric("DCI disentanglement", "", False, 3),
    "completeness": Metric("DCI completeness", "", False, 3),
    "informativeness": Metric("DCI informativeness", "", False, 3),
    "precision": Metric("precision", "", False, 3),
    "recall": Metric("recall", "", False, 3),
    "density": Metric("density", "", False, 3),
    "coverage": Metric("coverage", "", False, 3),
    "frechet_distance": Metric("Fréchet distance", "", True, 2),
}
"""The metrics by name, those of `pvae.evaluation`."""


class Measured(NamedTuple):
    """The measures of a run.

    Attributes:
        items: one value an item, by metric, with `ERRORS` of ``log_prob`` and of the gaps, and
            ``ais`` for the first items.
        numbers: of the whole run.
        data: of what data they are.
        values: of what values of these data: only measures of equal values compare.
        fingerprint: of the measured items, by which data of the same name differ.
        missing: why a metric does not apply to this VAE, by metric.
    """

    items: dict[str, np.ndarray]
    numbers: dict[str, float]
    data: str
    values: str
    fingerprint: str
    missing: dict[str, str]


def measure(vae: VAE, data: Dataset, measures: Measures) -> Measured:
    """Measure a trained VAE on the test part, or the last part if there is no test part.

    A metric that does not apply to this VAE, such as an evidence of a point mass, is missing.

    Raises:
        ValueError: if none applies, or one is not finite.
    """
    part = [*data.parts.values()][-1]
    wanted = set(measures.metrics)
    n = min(measures.items or len(part), len(part))
    x, *labels = batches_for(vae, data, part).choose(n, measures.seed)
    y = labels[0] if labels else None
    found: dict[str, Tensor] = {}
    size = vae.event_shape.numel()
    numbers: dict[str, float] = {"items": n, "event_size": size}
    # Unlike an estimate of log p(x), it is defined for a reconstruction loss as well.
    with vae.evaluating(), seeded(measures.seed, vae.device):
        chunks = [elbo(vae, xs, ys) for xs, ys in split(AT_ONCE, x, y)]
    bound = ELBO(*map(torch.cat, zip(*chunks, strict=True)))
    found["neg_elbo"], found["reconstruction"] = -bound.elbo, bound.log_likelihood
    found["kl"] = bound.kl
    missing: dict[str, str] = {}
    if of_evidence := wanted & {"log_prob", "bits_per_dim", *RELIABILITY}:
        with _applying(missing, of_evidence):
            found |= _evidence(vae, x, y, measures)
    if "bits_per_dim" in wanted - missing.keys():
        with _applying(missing, {"bits_per_dim"}):
            found["bits_per_dim"] = _bits_per_dim(vae, data, -found["log_prob"] / size)
    if "active_units" in wanted:
        with _applying(missing, {"active_units"}):
            numbers["active_units"] = float(active_units(vae, x, y).count)
    if "classification_error" in wanted:
        with _applying(missing, {"classification_error"}):
            found["classification_error"] = _misclassified(vae, data, part, n, measures.seed)
    part_name = next(name for name, each in data.parts.items() if each is part)
    for names, compute in TOGETHER.items():
        if asked := wanted & {*names}:
            with _applying(missing, asked):
                for name, value in zip(names, compute(vae, data, part_name, x, y), strict=True):
                    if isinstance(value, Tensor):
                        found[name] = value
                    else:
                        numbers[name] = value
    if missing and wanted <= missing.keys():
        raise ValueError(next(iter(missing.values())))
    kept = wanted | {"log_prob", "ais", *ERRORS["log_prob"], *ERRORS["gaps"]}
    arrays = {name: v.double().cpu().numpy() for name, v in found.items() if name in kept}
    for name in wanted & set(arrays):
        if not np.isfinite(arrays[name]).all():
            raise ValueError(
                f"{METRICS[name].title} is not finite for {(~np.isfinite(arrays[name])).sum():,} "
                f"of {n:,} items: the model does not cover them."
            )
    described = f"{data.name}, {n:,} of {len(part):,} items {tuple(vae.event_shape)}"
    fingerprint = fingerprint_of(part, n, measures.seed)
    return Measured(arrays, numbers, described, values_of(vae, data), fingerprint, missing)


@contextmanager
def _applying(missing: dict[str, str], names: Iterable[str]) -> Iterator[None]:
    """Note why metrics do not apply, rather than end a run for which others do."""
    try:
        yield
    except ValueError as error:
        missing |= dict.fromkeys(names, one_line(error))


def _evidence(vae: VAE, x: Tensor, y: Tensor | None, measures: Measures) -> dict[str, Tensor]:
    """log p(x) of each item, with its errors, and by AIS for the first items."""
    estimate = log_likelihood(
        vae, x, y, num_samples=measures.num_samples, seed=measures.seed, progress=False
    )
    found = {
        "log_prob": estimate.log_prob,
        "pareto_k": estimate.pareto_k,
        "standard_error": estimate.standard_error,
        "unreliable_share": ~(estimate.pareto_k <= UNRELIABLE),
        "effective_sample_size": estimate.effective_sample_size,
    }
    if measures.ais_items:
        first = slice(0, measures.ais_items)
        found["ais"] = ais(
            vae,
            x[first],
            None if y is None else y[first],
            num_chains=8,
            num_steps=200,
            seed=measures.seed,
            progress=False,
        ).log_prob
    return found


def _bits_per_dim(vae: VAE, data: Dataset, nats: Tensor) -> Tensor:
    """Bits per dimension of bytes, from nats of the likelihood's values per dimension."""
    if data.levels is None or vae.likelihood.domain not in ("bytes", *DEQUANTIZED):
        raise ValueError(
            "bits_per_dim does not apply: it needs data that are bytes, and a likelihood of "
            "bytes or a density; leave it out."
        )
    if vae.likelihood.domain in DEQUANTIZED:
        nats = nats + math.log(data.levels)
    return nats / math.log(2)


def _misclassified(vae: VAE, data: Dataset, part: Part, n: int, seed: int) -> Tensor:
    """1 for each item whose most probable class by q(y|x) is another than its own, else 0."""
    x, y = batches_for(vae, data, part, labels=True).choose(n, seed)
    if (y < 0).any():
        raise ValueError("classification_error needs the labels of all test data; leave it out.")
    with vae.evaluating():
        return torch.cat(
            [vae.classify(xs).probs.argmax(-1) != ys for xs, ys in split(AT_ONCE, x, y)]
        )


def _gaps(vae: VAE, data: Dataset, part: str, x: Tensor, y: Tensor | None) -> Sequence[Tensor]:
    few = slice(0, REFINED_TWICE)
    found = inference_gap(vae, x, y, steps=STEPS, progress=False)
    half = inference_gap(
        vae, x[few], None if y is None else y[few], steps=STEPS // 2, progress=False
    )
    late = found.refined_elbo[few] - half.refined_elbo
    return *found[:3], found.pareto_k, found.standard_error, late


def _shared(vae: VAE, data: Dataset, part: str, x: Tensor, y: Tensor | None) -> tuple[float, float]:
    found = kl_decomposition(vae, x, y, progress=False)
    if found.total_correlation is None:
        raise ValueError(
            "total_correlation does not apply: the posterior has no density of each single latent; "
            "leave it out, and mutual_information with it."
        )
    return float(found.mutual_information), float(found.total_correlation)


def _codes(vae: VAE, data: Dataset, part: str, x: Tensor, y: Tensor | None) -> Sequence[float]:
    return code_usage(vae, x, y, progress=False)[1:]


def _represented(
    vae: VAE, data: Dataset, part: str, x: Tensor, y: Tensor | None
) -> Sequence[float]:
    return representation(vae, data, part)


def _disentangled(score: Callable[[Tensor, Tensor], Any]) -> Callable[..., Sequence[float]]:
    """A score of posterior means and factors, as one of a VAE on a part of the data."""

    def compute(vae: VAE, data: Dataset, part: str, x: Tensor, y: Tensor | None) -> Sequence[float]:
        found = score(*_factors(vae, data, data.part(part)))
        return found if isinstance(found, tuple) else (found,)

    return compute


def _of_several(z: Tensor, factors: Tensor) -> tuple[float]:
    if factors.shape[1] == 1:
        raise ValueError(
            "disentanglement is 1 for a single factor, whatever the latents are: give the data "
            "several columns of labels, or leave it out."
        )
    return (dci(z, factors).disentanglement,)


def _factors(vae: VAE, data: Dataset, part: Part) -> tuple[Tensor, Tensor]:
    """Posterior means, and the factors that made the data: their labels, a column for each."""
    factors = part.y
    if factors is None or (factors != factors.round()).any():
        have = "none" if factors is None else "continuous ones"
        raise ValueError(
            f"Disentanglement is measured by labels that are factors of a few values each, and "
            f"the data {data.name} have {have}: leave mig, sap and the measures of DCI out."
        )
    known = factors >= 0 if factors.dim() == 1 else torch.ones(len(factors), dtype=torch.bool)
    z, factors = posterior_means(vae, data, part)[known], factors[known].long()
    return z, factors[:, None] if factors.dim() == 1 else factors


def _sampled(vae: VAE, data: Dataset, part: str, x: Tensor, y: Tensor | None) -> Sequence[float]:
    return sample_quality(vae, data, part, n=len(x))


# Of an estimate of log p(x): k-hat of its weights, and its standard error. Of the gaps also by how
# much the second half of the steps of refinement raised the ELBO of the first items.
ERRORS = {
    "log_prob": ("pareto_k", "standard_error"),
    "gaps": ("gap_pareto_k", "gap_standard_error", "gap_late_gain"),
}
RELIABILITY = ("unreliable_share", "effective_sample_size")  # of the same estimate
STEPS = 400  # of refinement
REFINED_TWICE = 100  # items that are refined by half of the steps as well
# What one computation gives, each a value an item or a number.
TOGETHER: dict[tuple[str, ...], Callable[..., Sequence[Tensor | float]]] = {
    ("inference_gap", "approximation_gap", "amortization_gap", *ERRORS["gaps"]): _gaps,
    ("mutual_information", "total_correlation"): _shared,
    ("code_usage", "code_perplexity"): _codes,
    Representation._fields: _represented,
    ("mig",): _disentangled(mig),
    ("sap",): _disentangled(sap),
    ("disentanglement",): _disentangled(_of_several),
    ("completeness", "informativeness"): _disentangled(lambda z, factors: dci(z, factors)[1:]),
    SampleQuality._fields: _sampled,
}


def values_of(vae: VAE, data: Dataset) -> str:
    """The values that a VAE has a density or mass of, in words, and what it is given."""
    given = ", given labels" if vae.labels is not None and vae.classifier is None else ""
    return _values_of(vae, data) + given


def _values_of(vae: VAE, data: Dataset) -> str:
    domain = str(vae.likelihood.domain)
    if option(vae.likelihood, "relaxed"):
        return "grey values under a reconstruction loss, which is no density"
    if domain == "binary":
        return f"binary values, {data.binarization} binarization"
    if domain in DEQUANTIZED and data.levels is not None:
        return f"densities of dequantized bytes ({domain})"
    return {"bytes": "bytes", "counts": "counts"}.get(domain, f"densities ({domain})")


def fingerprint_of(part: Part, n: int, seed: int) -> str:
    """A short hash of the items of a part that are measured, as they are stored."""
    items = part.subset(choice(len(part), n, seed).tolist()).x
    found = hashlib.sha256()
    if isinstance(items, Tensor):
        found.update(str(items.dtype).encode())
        found.update(items.contiguous().cpu().numpy().tobytes())
    else:  # the files, since decoding them takes much longer
        found.update(repr((items.size, items.crop, items.channels)).encode())
        for path in items.paths:
            found.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return found.hexdigest()[:8]


FACTORED = ("mig", "sap", *DCI._fields)  # by labels that are factors
LABELLED = {"classification_error", *Representation._fields, *FACTORED}


def check_labelled(data: Dataset, metrics: Sequence[str]) -> None:
    """Raise if no metric can be measured as the data have no labels, before anything is trained.

    Raises:
        ValueError: if all metrics need labels, and there are none.
    """
    if data.train.y is None and LABELLED.issuperset(metrics):
        raise ValueError(
            f"{metrics[0]} is measured by labels, and the data {data.name} have none: load them "
            "with labels=, or choose other metrics."
        )


def check_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of metrics as a tuple.

    Raises:
        TypeError: if they are not a list of names.
        ValueError: if there is none, or no such metric.
    """
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TypeError(f"metrics is {shown(names)}: give a list of names, such as ['neg_elbo'].")
    if not names:
        raise ValueError("metrics is empty: name at least one, such as neg_elbo.")
    for name in names:
        if name not in METRICS:
            raise ValueError(f"There is no metric {shown(name)}: {choices(str(name), METRICS)}")
    return tuple(dict.fromkeys(names))
