"""The evidence of one model by every estimator, and diagnostics of its posterior.

    PVAE_DATA=DIR python -m results.evidence [estimators sandwich diagnostics]

DIR holds MNIST, or it is downloaded there. The model is 784-400-20 ReLU,
Bernoulli, standard normal prior, diagonal normal posterior; 30,000 images, dynamically binarized,
12 epochs at batch 100, Adam at 1e-3, seed 0, the weights of the last epoch.

===========  ======================================  ==============================================
part         data                                    measured
===========  ======================================  ==============================================
estimators   the first 100 test images               mean of log p(x), and the time it took
sandwich     50 images drawn from the model          its bounds by 16 chains; importance sampling
                                                     of the same images, from the posterior and
                                                     from the refined one
diagnostics  gaps: the same 100; KL, active units:   their parts, in nats
             all 10,000; calibration: 1,000 drawn
===========  ======================================  ==============================================

Test images are binarized once, by seed 0, the same for all. Standard errors are of the mean over
these images, and cover the draws of the estimator, not the choice of images; those of Pareto
smoothing and of the refined posterior are from the spread of three runs. Times are of the
processor: on one core (OMP_NUM_THREADS=1) the parts take 8, 4 and 1 minutes, of which half a minute
is training.

Results are written to evidence.json as they come; those of a part replace its earlier ones.
"""

import math
import statistics
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter
from torch import Tensor

import pvae
from pvae import networks
from pvae.evaluation import (
    active_units,
    ais,
    bidirectional,
    elbo,
    inference_gap,
    kl_decomposition,
    log_likelihood,
    monte_carlo,
    pareto_smoothed,
    simulation_based_calibration,
)
from pvae.plots import save
from pvae.plots.style import FAINT, PALETTE, WIDTH, Figure, style
from pvae.seeds import seeded
from results.frame import first_images, fit, options_of, read, run, test_images, timed
from results.machine import machine

TRAINING = {"training_images": 30_000, "epochs": 12, "batch_size": 100, "seed": 0}
IMAGES = 100
DRAWN = 50
CHAINS = 16
AIS_STEPS = (100, 500)
SANDWICH_STEPS = (100, 300)
ELBO_DRAWS = 100
RUNS = 3
BETWEEN = ("importance, 5,000", "refined posterior, 1,000")
KINDS = ("AIS", "importance", "refined posterior", "Pareto-smoothed", "ELBO")
ABOVE = ("importance, 500", "refined posterior, 1,000", "AIS, 500 steps")
COLOURS = dict(zip(KINDS, PALETTE, strict=False))


# Measuring ----------------------------------------------------------------------------------------


def train(data: pvae.data.Dataset) -> pvae.VAE:
    """Train the model on the first images."""
    network = partial(networks.MLP, hidden=[400])
    vae = pvae.build(data.event_shape, 20, network=network, seed=TRAINING["seed"])
    fit(
        vae,
        first_images(data, TRAINING["training_images"]),
        epochs=TRAINING["epochs"],
        batch_size=TRAINING["batch_size"],
        compile=True,
        seed=TRAINING["seed"],
    )
    return vae


def by_elbo(vae: pvae.VAE, x: Tensor) -> dict[str, Any]:
    """The ELBO, averaged over many draws so that it has an error."""
    with vae.evaluating(), seeded(0, vae.device):
        found = torch.stack([elbo(vae, x).elbo for _ in range(ELBO_DRAWS)])
    error = found.var(0).div(ELBO_DRAWS).sum().sqrt().item() / len(x)
    return {"mean": found.mean().item(), "standard_error": error, "draws": ELBO_DRAWS}


def with_error(estimate: Callable, vae: pvae.VAE, x: Tensor, **options: int) -> dict[str, Any]:
    """One run of an estimator that reports its standard error."""
    found = estimate(vae, x, **options)
    return {
        "mean": found.log_prob.mean().item(),
        # over the data whose error is known
        "standard_error": found.standard_error.nan_to_num().norm().item() / len(x),
        "effective_sample_size": found.effective_sample_size.median().item(),
        **({"acceptance": found.acceptance.mean().item()} if hasattr(found, "acceptance") else {}),
    }


def with_spread(estimate: Callable, vae: pvae.VAE, x: Tensor, **options: int) -> dict[str, Any]:
    """Runs of one that does not: their mean, and the error of a single one from their spread."""
    runs = [estimate(vae, x, seed=seed, **options) for seed in range(RUNS)]
    means = [found.log_prob.mean().item() for found in runs]
    shares = [found.unreliable_share for found in runs if hasattr(found, "unreliable_share")]
    return {
        "mean": statistics.mean(means),
        "standard_error": statistics.stdev(means),
        "runs": RUNS,
        **({"pareto_k_above_0.7": statistics.mean(shares)} if shares else {}),
    }


ESTIMATORS: dict[str, Callable[[pvae.VAE, Tensor], dict[str, Any]]] = {
    "ELBO": by_elbo,
    "draws of the prior, 5,000": partial(with_error, monte_carlo, num_samples=5000),
    **{
        f"importance, {k:,}": partial(with_error, log_likelihood, num_samples=k)
        for k in (50, 500, 5000)
    },
    "Pareto-smoothed, 1,000": partial(with_spread, pareto_smoothed, num_samples=1000),
    "refined posterior, 1,000": partial(with_spread, inference_gap, num_samples=1000),
    **{
        f"AIS, {steps} steps": partial(with_error, ais, num_chains=CHAINS, num_steps=steps)
        for steps in AIS_STEPS
    },
}


def estimators(vae: pvae.VAE, data: pvae.data.Dataset) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every estimator on the same test images."""
    x = test_images(vae, data, IMAGES)
    for name in ESTIMATORS:
        yield name, timed_estimate(name, vae, x)


def sandwich(vae: pvae.VAE, data: pvae.data.Dataset) -> Iterator[tuple[str, dict[str, Any]]]:
    """Both bounds on data drawn from the model, and other estimates of the same data."""
    for steps in SANDWICH_STEPS:
        # A seed draws the same data whatever the number of steps.
        both, seconds = timed(
            lambda steps=steps: bidirectional(vae, DRAWN, num_chains=CHAINS, num_steps=steps)
        )
        yield (
            f"{steps} steps",
            {
                "lower": both.lower.mean().item(),
                "upper": both.upper.mean().item(),
                "gap": both.gap.mean().item(),
                "gap_standard_error": both.gap.std().item() / math.sqrt(DRAWN),
                "largest_gap": both.gap.max().item(),
                "seconds": seconds,
            },
        )
    for name in BETWEEN:
        yield name, timed_estimate(name, vae, both.x)


def diagnostics(vae: pvae.VAE, data: pvae.data.Dataset) -> Iterator[tuple[str, dict[str, Any]]]:
    """Diagnostics of the posterior and the latents."""
    x = test_images(vae, data, IMAGES)
    gap, seconds = timed(lambda: inference_gap(vae, x))
    parts = [*gap._asdict().items()][:6]  # those in nats, without what is known of their error
    means = {name: part.mean().item() for name, part in parts}
    yield "inference gap", {**means, "seconds": seconds}
    x = test_images(vae, data, len(data.test))
    kl, seconds = timed(lambda: kl_decomposition(vae, x))
    yield (
        "kl decomposition",
        {
            "kl": kl.kl.mean().item(),
            "mutual_information": kl.mutual_information.item(),
            "log_n": math.log(len(x)),
            "marginal_kl": kl.marginal_kl.item(),
            "total_correlation": kl.total_correlation.item(),
            "dimension_wise": kl.dimension_wise.sum().item(),
            "seconds": seconds,
        },
    )
    units, seconds = timed(lambda: active_units(vae, x))
    least = units.variance.min().item()
    yield "active units", {"count": units.count, "least_variance": least, "seconds": seconds}
    found, seconds = timed(lambda: simulation_based_calibration(vae))
    ends = (found.ranks < found.num_samples / 20) | (found.ranks > found.num_samples * 19 / 20)
    yield (
        "calibration",
        {
            "largest_p_value": found.p_value.max().item(),
            "ranks_in_the_outer_tenth": ends.double().mean().item(),
            "seconds": seconds,
        },
    )


PARTS = {"estimators": estimators, "sandwich": sandwich, "diagnostics": diagnostics}


def timed_estimate(name: str, vae: pvae.VAE, x: Tensor) -> dict[str, Any]:
    """An estimate for the data, and the seconds that one run of it takes."""
    found, seconds = timed(lambda: ESTIMATORS[name](vae, x))
    return {**found, "seconds": seconds / found.get("runs", 1)}


# Showing ------------------------------------------------------------------------------------------


def show(results: Mapping[str, Any]) -> None:
    """Print the tables."""
    for name, row in results.get("estimators", {}).items():
        estimate = f"{row['mean']:9.2f} ± {row['standard_error']:.2f}"
        share = row.get("pareto_k_above_0.7")
        note = "" if share is None else f"  k-hat above 0.7: {share:.0%}"
        print(f"{name:<28}{estimate:>20}{row['seconds']:>9.1f} s{note}")
    for part in ("sandwich", "diagnostics"):
        for name, row in results.get(part, {}).items():
            print(f"{name}: " + ", ".join(f"{k} {v:.4g}" for k, v in row.items()))


@style()
def draw(results: Mapping[str, Any]) -> Figure:
    """Estimates over the time they took, and the bounds between which log p(x) lies.

    The estimate by draws of the prior is too low to be shown: an arrow points to it.
    """
    figure = Figure(figsize=(WIDTH, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    for kind, colour in COLOURS.items():
        rows = {n: r for n, r in results["estimators"].items() if n.startswith(kind)}
        points = [(r["seconds"], r["mean"], r["standard_error"]) for r in rows.values()]
        left.errorbar(*zip(*points, strict=True), fmt="o-", ms=4, lw=1, capsize=3, color=colour)
        for name, (seconds, mean, _) in zip(rows, points, strict=True):
            text = name if name == [*rows][-1] else name.removeprefix(f"{kind}, ")
            note(left, text, seconds, mean, colour, 1 if name in ABOVE else -1)
    left.margins(y=0.08)
    far = results["estimators"]["draws of the prior, 5,000"]
    bottom = left.get_ylim()[0] - 1
    left.set_ylim(bottom)
    left.annotate(
        f"draws of the prior,\n5,000: −{-far['mean']:.0f}",
        (far["seconds"], bottom),
        (0, 24),
        textcoords="offset points",
        ha="center",
        color=FAINT,
        arrowprops={"arrowstyle": "->", "color": FAINT},
    )
    bounds = {n: r for n, r in results["sandwich"].items() if "lower" in r}
    seconds, lower, upper = (
        [row[key] for row in bounds.values()] for key in ("seconds", "lower", "upper")
    )
    right.fill_between(seconds, lower, upper, color=COLOURS["AIS"], alpha=0.2, lw=0)
    first, *_, last = bounds
    for bound, values, side in (("lower", lower, -1), ("upper", upper, 1)):
        right.plot(seconds, values, "o-", ms=4, lw=1, color=COLOURS["AIS"])
        note(right, f"{bound} bound, {first}", seconds[0], values[0], COLOURS["AIS"], side)
    right.annotate(
        last,
        (seconds[-1], (lower[-1] + upper[-1]) / 2),
        (6, 0),
        textcoords="offset points",
        va="center",
        color=COLOURS["AIS"],
    )
    for name in BETWEEN:
        row, colour = results["sandwich"][name], COLOURS[name.split(",")[0]]
        at = (row["seconds"], row["mean"], row["standard_error"])
        right.errorbar(*at, fmt="o", ms=4, capsize=3, color=colour)
        right.axhline(row["mean"], color=colour, lw=0.8, ls=":")
        note(right, name, *at[:2], colour, 1 if name in ABOVE else -1)
    left.set(title=f"{IMAGES} test images", xscale="log", xlim=(0.02, 3000))
    right.set(title=f"{DRAWN} images drawn from the model", xscale="log", xlim=(0.2, 2500))
    right.margins(y=0.15)
    for axes in (left, right):
        axes.set(xlabel="seconds of one core", ylabel="mean of log p(x), nats")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid()
    return figure


def note(axes: Axes, text: str, x: float, y: float, colour: str, side: int = -1) -> None:
    """Annotate a point, below or above it."""
    axes.annotate(
        text,
        (x, y),
        (0, 8 * side),
        textcoords="offset points",
        ha="center",
        va="top" if side < 0 else "bottom",
        color=colour,
    )


def main() -> None:
    """Measure, print, and write the JSON and the figure."""
    options = options_of(__doc__, PARTS, Path(__file__).parent)
    file = options.out / "evidence.json"
    results = read(file)
    data = pvae.data.load("mnist", validation=0)
    vae, seconds = timed(lambda: train(data))
    results |= {
        "machine": machine(),
        "budget": {
            "model": "784-400-20 ReLU, Bernoulli",
            **TRAINING,
            "optimizer": "Adam, 1e-3",
            "training_s": round(seconds, 1),
            "images": IMAGES,
            "drawn": DRAWN,
            "chains": CHAINS,
        },
    }
    for part in options.parts:
        run(part, PARTS[part](vae, data), results, file)
    show(results)
    if results.keys() >= {"estimators", "sandwich"}:
        save(draw(results), options.out / "figures" / "evidence.png")


if __name__ == "__main__":
    main()
