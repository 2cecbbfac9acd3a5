"""Whether uncertain weights find anomalies, and the pictures of their uncertainty.

::

    PVAE_DATA=DIR python -m results.uncertain_weights
    python -m results.uncertain_weights digits        the parts by name; this one needs no MNIST

=======  =================================================================================
part     what
=======  =================================================================================
digits   64-400-10, discretized logistic of 17 levels, 100 epochs; 300 test images
mnist    784-400-20, Bernoulli, 6 epochs of the first 30,000 images; 300 test images
=======  =================================================================================

The five posteriors over the weights of the decoder:

===========  =============================================================================
point        the trained weights
mean field   `AutoNormal`, begun at a standard deviation of 0.01, prior N(0, 1 / inputs)
Laplace      of the biases of the decoder, by the Hessian; its other weights are trained
sampler      `SGHMC`: 10 draws of the last halves of two cycles
ensemble     5 VAEs of other seeds
===========  =============================================================================

Scores are by 50 importance samples for each of at most 10 draws of the weights. Anomalies are the
test images with a quarter of their contrast, a blank image, test images with permuted pixels, and
random curves in place of the characters of another script.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pyro.infer.autoguide import AutoDelta, AutoLaplaceApproximation, AutoNormal
from torch import Tensor

import pvae
from pvae import plots
from pvae.data import Dataset
from pvae.evaluation import LogLikelihood, log_likelihood, predictive, roc
from pvae.weights import SGHMC, Weights, ensemble
from results.anomalies import DIGITS, MNIST, Kind, converted, load_digits, load_mnist, nonsense
from results.frame import fit, run_parts, timed

ITEMS = 300
DRAWS = 50
NUM_WEIGHTS = 10
MEMBERS = 5
SCORES = ("plain", "expected", "waic", "disagreement")
SHOWN = 8
LEFT_OUT = {("mnist", "Laplace")}


def train(
    kind: Kind, data: Dataset, weights: Any = None, seed: int = 0, **options: Any
) -> pvae.VAE:
    """Train a model."""
    vae = kind.build(data.event_shape, weights=weights, seed=seed)
    arguments = {"epochs": kind.epochs, "batch_size": kind.batch_size, "compile": kind.compile}
    fit(vae, replace(data, test=None), seed=seed, **(arguments | options))
    return vae


def point(kind: Kind, data: Dataset) -> pvae.VAE:
    """Trained weights."""
    return train(kind, data)


def mean_field(kind: Kind, data: Dataset) -> pvae.VAE:
    """Independent normal weights."""
    return train(kind, data, partial(Weights, posterior=AutoNormal))


def laplace(kind: Kind, data: Dataset) -> pvae.VAE:
    """The Laplace approximation of the decoder's biases."""
    vae = kind.build(data.event_shape)
    biases = [n for n, p in vae.likelihood.named_parameters() if p.dim() == 1]
    parts = [f"likelihood.{name}" for name in biases]
    return train(kind, data, partial(Weights, parts=parts, posterior=AutoLaplaceApproximation))


def sampler(kind: Kind, data: Dataset) -> pvae.VAE:
    """Draws of stochastic-gradient Hamiltonian Monte Carlo, in two cycles."""
    cycle = kind.epochs * -(-len(data.train) // kind.batch_size) // 2
    optimizer = partial(SGHMC, cycle_steps=cycle, draws_per_cycle=NUM_WEIGHTS // 2)
    weights = partial(Weights, posterior=AutoDelta, draws=NUM_WEIGHTS)
    return train(kind, data, weights, optimizer=optimizer, keep="last")


def members(kind: Kind, data: Dataset) -> pvae.VAE:
    """An ensemble."""
    return ensemble([train(kind, data, seed=seed) for seed in range(MEMBERS)])


POSTERIORS: dict[str, Callable[[Kind, Dataset], pvae.VAE]] = {
    "point": point,
    "mean field": mean_field,
    "Laplace": laplace,
    "sampler": sampler,
    "ensemble": members,
}


def curves(n: int, size: int, high: int, seed: int = 0) -> Tensor:
    """Images of random smooth curves of two strokes, of levels from 0 to ``high``."""
    generator = torch.Generator().manual_seed(seed)
    ends = torch.rand(n, 2, 4, 2, generator=generator) * 0.8 + 0.1
    t = torch.linspace(0, 1, 40)
    # Cubic Bézier curves.
    basis = torch.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    points = torch.einsum("kt,nskd->nstd", basis, ends).flatten(1, 2)
    at = (torch.arange(size) + 0.5) / size
    grid = torch.cartesian_prod(at, at)
    distance = torch.stack([torch.cdist(grid, one).min(1).values for one in points])
    width = 1.2 / size
    ink = (1.5 - distance / width).clamp(0, 1)
    return (high * ink).round().to(torch.uint8).view(n, 1, size, size)


def scores(found: LogLikelihood) -> dict[str, Tensor]:
    """The scores of `anomaly_score` that need nothing else, from one estimate of log p(x|w)."""
    plain, given = {"plain": -found.log_prob}, found.over_weights
    if given.shape[1] == 1:
        return plain
    return plain | {
        "expected": -given.mean(1),
        "waic": given.var(1) - given.mean(1),
        "disagreement": -1 / given.softmax(1).square().sum(1),
    }


def found_by(vae: pvae.VAE, data: Dataset, seconds: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """The area under the ROC of each score and kind of anomaly."""
    normal = data.test.x[:ITEMS]
    kinds = nonsense(normal, data.levels)
    del kinds["uniform noise"]  # which every score finds
    kinds["random curves"] = curves(ITEMS, normal.shape[-1], int(normal.max()))
    for name, anomalies in kinds.items():
        x = converted(vae, data, torch.cat([normal, anomalies]))
        truth = torch.arange(len(x)) >= len(normal)
        options = {"num_samples": DRAWS, "num_weights": NUM_WEIGHTS, "progress": False}
        found = log_likelihood(vae, x, **options)
        row: dict[str, Any] = {
            "seconds": seconds,
            "normal": found.log_prob[~truth].mean().item(),
            "anomalies": found.log_prob[truth].mean().item(),
        }
        for score, values in scores(found).items():
            row[score] = roc(values, truth).area
        yield name, row


def table(kind: Kind, data: Dataset, folder: Path, name: str) -> Iterator[tuple[str, Any]]:
    """All posteriors, and pictures of the ensemble."""
    for posterior, make in POSTERIORS.items():
        if (name, posterior) in LEFT_OUT:
            continue
        vae, seconds = timed(partial(make, kind, data))
        for anomaly, row in found_by(vae, data, seconds):
            yield f"{posterior}: {anomaly}", row
        if posterior == "ensemble":
            picture(vae, data, folder / f"uncertain-{name}.png")


def picture(vae: pvae.VAE, data: Dataset, file: Path) -> None:
    """Epistemic and aleatoric deviations of test images and of random curves."""
    normal = data.test.x[: SHOWN // 2]
    odd = curves(SHOWN // 2, normal.shape[-1], int(normal.max()))
    x = converted(vae, data, torch.cat([normal, odd]))
    found = predictive(vae, x, num_weights=NUM_WEIGHTS, progress=False)
    aleatoric = found.latents + found.noise
    high = float(x.max())
    figure = plots.uncertainty_maps(
        x, found.mean, found.weights.sqrt(), aleatoric.sqrt(), value_range=(0, high)
    )
    plots.save(figure, file)


def digits(folder: Path) -> Iterator[tuple[str, Any]]:
    """Of scikit-learn."""
    return table(DIGITS, load_digits(), folder, "digits")


def mnist(folder: Path) -> Iterator[tuple[str, Any]]:
    """The first images of MNIST, whose Laplace approximation would take an hour."""
    return table(MNIST, load_mnist(), folder, "mnist")


PARTS = {"digits": digits, "mnist": mnist}


def show(results: Mapping[str, Any]) -> None:
    """Print the tables."""
    for part in PARTS:
        print(f"\n{part:<30}" + "".join(f"{name:>14}" for name in SCORES))
        for name, row in results.get(part, {}).items():
            cells = [f"{row[s]:>14.3f}" if s in row else f"{'':>14}" for s in SCORES]
            print(f"{name:<30}" + "".join(cells))


def main() -> None:
    """Measure, print, and write the JSON and the figures."""
    show(run_parts(__doc__, PARTS, "uncertain_weights.json"))


if __name__ == "__main__":
    main()
