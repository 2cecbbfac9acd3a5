"""Posteriors and likelihoods on MNIST, each kind with all else held fixed.

    PVAE_DATA=DIR python -m results.comparisons posteriors likelihoods

DIR holds MNIST, or it is downloaded there. The comparisons:

===========  =========================================  ==================================
comparison   model                                      training
===========  =========================================  ==================================
posteriors   784-400-20 ReLU, Bernoulli                 30,000 images, 12 epochs, batch 100
likelihoods  196-400-20, 20-400-100-196 ReLU, of bytes  12,000 images, 10 epochs, batch 100
===========  =========================================  ==================================

Adam runs at 1e-3, nothing is held out, and the weights are those of the last epoch. The test −ELBO
is of all test images with one sample of z; −log p(x) is bounded on the first 1,000 of them by 200
importance samples. Images are binarized dynamically, at test with the same draws for all. Only the
likelihoods are of bytes, of images of 14 × 14 pixels, and their −ELBO is in bits per dimension.

Rows are written to comparisons.json as they come: a second run measures those that are missing.
The figures are drawn from all rows.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

import pvae
from pvae import likelihoods, networks, objectives, plots, posteriors
from pvae.data.batches import batches_for
from pvae.plots.style import BLUE, FAINT, WIDTH, Figure, style
from pvae.seeds import seeded
from results.frame import first_images, fit, read, save
from results.machine import machine

LATENTS, BATCH = 20, 100
IMPORTANCE_SAMPLES = 200
IMPORTANCE_IMAGES = 1000
BOUND = f"neg_bound_{IMPORTANCE_SAMPLES}"
METRICS = {
    "neg_elbo": "test −ELBO, 1 sample\nnats per image",
    BOUND: f"−log p(x), by {IMPORTANCE_SAMPLES} importance samples\nnats per image",
    "bits_per_dim": "test −ELBO, 1 sample\nbits per dimension",
}


class Comparison(NamedTuple):
    """Models that differ in one part, and the budget that each is given.

    A cell is what `pvae.build` is given beyond ``common``.
    """

    cells: Mapping[str, Mapping[str, Any]]
    common: Mapping[str, Any]
    model: str
    size: int = 28
    images: int = 30_000
    epochs: int = 12
    metrics: Sequence[str] = ("neg_elbo", BOUND)

    def budget(self) -> dict[str, Any]:
        """The settings that all cells share, as written with the results."""
        images = min(self.images, IMPORTANCE_IMAGES)
        importance = {"importance_samples": IMPORTANCE_SAMPLES, "importance_images": images}
        return {
            "model": self.model,
            "pixels": [self.size, self.size],
            "training_images": self.images,
            "epochs": self.epochs,
            "batch_size": BATCH,
            "optimizer": "Adam, 1e-3",
            "test_images": min(self.images, 10_000),
            **(importance if BOUND in self.metrics else {}),
        }


COMPARISONS = {
    "posteriors": Comparison(
        {
            "diagonal normal": {},
            "full normal": {"posterior": posteriors.FullNormal},
            "8 planar steps": {"posterior": partial(posteriors.PlanarFlow, layers=8)},
            "2 IAF steps": {"posterior": posteriors.InverseAutoregressiveFlow},
            "2 spline steps": {"posterior": posteriors.SplineFlow},
        },
        {"network": partial(networks.MLP, hidden=[400])},
        "784-400-20 ReLU, Bernoulli",
    ),
    "likelihoods": Comparison(
        {
            "5 discretized logistics": {"likelihood": likelihoods.DiscretizedLogisticMixture},
            "categorical": {"likelihood": likelihoods.Categorical},
            "discretized Gaussian": {
                "likelihood": partial(likelihoods.DiscretizedGaussian, scale="predicted")
            },
        },
        {
            "posterior": partial(
                posteriors.DiagonalNormal, network=partial(networks.MLP, hidden=[400])
            ),
            # Narrow before the last layer: 256 logits a pixel are five million weights even so.
            "network": partial(networks.MLP, hidden=[400, 100]),
        },
        "196-400-20 and 20-400-100-196 ReLU, of bytes",
        size=14,
        images=12_000,
        epochs=10,
        metrics=("bits_per_dim",),
    ),
}


# Measuring ----------------------------------------------------------------------------------------


def load(comparison: Comparison) -> pvae.data.Dataset:
    """MNIST in a comparison's size, cut to the number of images that it takes."""
    data = pvae.data.load("mnist", size=comparison.size, validation=0)
    return first_images(data, comparison.images, comparison.images)


def measure(comparison: Comparison, name: str, seed: int, data: pvae.data.Dataset) -> dict:
    """Train one model from one seed, and evaluate it."""
    parts = {**comparison.common, **comparison.cells[name]}
    vae = pvae.build(data.event_shape, LATENTS, **parts, seed=seed)
    began = time.monotonic()
    history = fit(
        vae,
        data,
        epochs=comparison.epochs,
        batch_size=BATCH,
        compile=True,
        seed=seed,
    )
    trained = time.monotonic()
    figures = {"train_loss": history["loss"][-1]}
    figures |= pvae.evaluation.evaluate(vae, data, batch_size=BATCH)
    if BOUND in comparison.metrics:
        figures[BOUND] = neg_bound(vae, data)
    return {
        "name": name,
        "seed": seed,
        "training_s": round(trained - began, 1),
        "evaluation_s": round(time.monotonic() - trained, 1),
        **{figure: round(value, 4) for figure, value in figures.items()},
    }


def neg_bound(vae: pvae.VAE, data: pvae.data.Dataset) -> float:
    """Bound −log p(x) from above, on average over the first test images, by importance samples."""
    objective = objectives.ImportanceWeighted(IMPORTANCE_SAMPLES)
    first = torch.arange(min(IMPORTANCE_IMAGES, len(data.test)))
    batches = batches_for(vae, data, data.test, 5).arguments(first, seed=0)
    with vae.evaluating(), seeded(0, vae.device):
        losses = [objective.loss(vae.model, vae.guide, *arguments) for arguments in batches]
    return sum(losses) / len(first)


def summarize(comparison: Comparison, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and standard error over the seeds, the cells in the order of the last metric."""
    summary = {}
    for name in comparison.cells:
        if of_cell := [row for row in rows if row["name"] == name]:
            figures = {m: mean_and_error([row[m] for row in of_cell]) for m in comparison.metrics}
            seconds = round(statistics.mean(row["training_s"] for row in of_cell), 1)
            summary[name] = {"seeds": len(of_cell), "training_s": seconds, **figures}
    by = comparison.metrics[-1]
    return dict(sorted(summary.items(), key=lambda item: item[1][by]["mean"]))


def mean_and_error(values: Sequence[float]) -> dict[str, float | None]:
    """The mean, and its standard error where there is more than one value."""
    n = len(values)
    error = statistics.stdev(values) / math.sqrt(n) if n > 1 else None
    return {
        "mean": round(statistics.mean(values), 4),
        "standard_error": error if error is None else round(error, 4),
    }


# Showing ------------------------------------------------------------------------------------------


def show(name: str, comparison: Comparison, summary: Mapping[str, Any]) -> None:
    """Print the table of a comparison."""
    columns = "".join(f"{metric:>24}" for metric in comparison.metrics)
    print(f"\n{name}: {comparison.model}\n{'':<26}{columns}{'s of training':>16}")
    for cell, row in summary.items():
        figures = "".join(f"{text(metric, row[metric]):>24}" for metric in comparison.metrics)
        print(f"{cell:<26}{figures}{row['training_s']:>16}")


def text(metric: str, figure: Mapping[str, float | None]) -> str:
    """A mean with its standard error, to as many digits as are of interest."""
    digits = 3 if metric == "bits_per_dim" else 2
    error = figure["standard_error"]
    return f"{figure['mean']:.{digits}f}" + (f" ± {error:.{digits}f}" if error is not None else "")


@style()
def draw(
    comparison: Comparison, rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]
) -> Figure:
    """Means with their standard errors over the single seeds, a panel for each metric."""
    figure = Figure(figsize=(WIDTH, 1.1 + 0.44 * len(summary)), layout="constrained")
    panels = figure.subplots(1, len(comparison.metrics), sharey=True, squeeze=False)[0]
    for axes, metric in zip(panels, comparison.metrics, strict=True):
        for place, (name, row) in enumerate(summary.items()):
            values = [r[metric] for r in rows if r["name"] == name]
            below = [place + 0.17] * len(values)  # or they would hide behind a small error
            (dots,) = axes.plot(values, below, "o", color=FAINT, markersize=3.5, alpha=0.8)
            mean, error = row[metric]["mean"], row[metric]["standard_error"]
            bar = axes.errorbar(mean, place, xerr=error, fmt="o", color=BLUE, capsize=3)
            axes.annotate(
                text(metric, row[metric]),
                (mean, place),
                (0, 6),
                textcoords="offset points",
                ha="center",
                va="bottom",
            )
        axes.set_xlabel(METRICS[metric])
        axes.grid(axis="y")
        axes.margins(x=0.22)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    key = {"mean and standard error": bar, "one seed": dots}
    figure.legend(key.values(), key, loc="outside upper right", ncols=2)
    axes.set_yticks(range(len(summary)), list(summary))
    axes.set_ylim(len(summary) - 0.6, -0.7)  # the best at the top, with room for its numbers
    return figure


def main() -> None:
    """Measure what is missing, print, and write the JSON and the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("comparisons", nargs="+", choices=COMPARISONS)
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 0")
    parser.add_argument("--epochs", type=int, help="instead of those of the budget")
    parser.add_argument("--images", type=int, help="maximum number of each part")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent, help="folder of JSON and figures"
    )
    options = parser.parse_args()
    file = options.out / "comparisons.json"
    for name in options.comparisons:
        comparison = COMPARISONS[name]
        comparison = comparison._replace(
            epochs=options.epochs or comparison.epochs,
            images=min(options.images or comparison.images, comparison.images),
        )
        budget = comparison.budget()
        results = read(file)
        entry = results.setdefault(name, {"budget": budget, "machine": machine(), "rows": []})
        if entry["budget"] != budget:
            parser.error(
                f"{file} has {name} with the budget {entry['budget']}, not {budget}: "
                "give another folder by --out."
            )
        rows = entry["rows"]
        known = {(row["name"], row["seed"]) for row in rows}
        pairs = [(cell, seed) for seed in range(options.seeds) for cell in comparison.cells]
        missing = [pair for pair in pairs if pair not in known]
        data = load(comparison) if missing else None  # the figures need the rows alone
        for cell, seed in missing:
            rows.append(measure(comparison, cell, seed, data))
            print(json.dumps(rows[-1], ensure_ascii=False), flush=True)
            entry["summary"] = summarize(comparison, rows)
            save(file, results)
        show(name, comparison, entry["summary"])
        plots.save(
            draw(comparison, rows, entry["summary"]),
            options.out / "figures" / f"comparison-{name}.png",
        )


if __name__ == "__main__":
    main()
