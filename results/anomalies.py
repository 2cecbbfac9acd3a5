"""Anomaly detection, imputation of missing pixels, and posteriors compared with exact ones.

    PVAE_DATA=DIR python -m results.anomalies [digits mnist gibberish missing posteriors]

DIR holds MNIST, or it is downloaded there; digits needs no MNIST.

==========  ====================================================  ==================================
part        model                                                 measured
==========  ====================================================  ==================================
digits      64-400-10, discretized logistic of 17 levels; 1,348   AUROC of each class, held out of
            images of 8 × 8 less one class, 100 epochs, batch     training, against the test images
            128                                                   of the others
mnist       784-400-20 ReLU, Bernoulli; 30,000 images less one    the same of three classes, 1,000
            class, 6 epochs, batch 100                            images of each kind
gibberish   both of these, of all classes                         AUROC of noise, permuted pixels,
                                                                  faint digits and a blank image
missing     784-400-20, of all classes, 12 epochs                 right halves filled in, and grey
                                                                  levels from binary pixels
posteriors  784-400-2, of all classes, 12 epochs                  NUTS, 4 chains of 250 draws after
                                                                  200; calibration of q(z|x)
==========  ====================================================  ==================================

Adam runs at 1e-3, seed 0, and the weights are those of the last epoch. MNIST is binarized, for
training dynamically, for tests once, by seed 0. Scores are by 100 importance samples. Typicality
is relative to the first 1,000 training images; the background is the same VAE trained on the same
images with a fifth of the pixels of digits, a tenth of those of MNIST, replaced by uniform noise
(Ren et al. 2019). AUROC is the probability that an anomaly has a higher score than a normal image.

On one core (OMP_NUM_THREADS=1) all parts take eight minutes. Results are written to anomalies.json
as they come; those of a part replace its earlier ones.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import pvae
from pvae import likelihoods, networks, plots
from pvae.data import Batches, Dataset, Part
from pvae.evaluation import (
    ROC,
    anomaly_score,
    denoise,
    impute,
    posterior_samples,
    roc,
    simulation_based_calibration,
)
from pvae.plots.style import PALETTE, WIDTH, Canvas, Figure, style
from pvae.seeds import seeded
from results.frame import first_images, fit, run_parts, timed

CORRECTIONS = {None: "plain", **{c: c for c in ("typicality", "complexity", "background")}}
DRAWS = 100
REFERENCE = 1000
MNIST_IMAGES = 30_000
MNIST_CLASSES = (1, 4, 8)
DRAWN_CLASSES = (1, 4, 8)
MOST = 1000  # images of each kind that are scored
SHOWN = 10
GUIDE_DRAWS = 100_000
PLANES = 4  # images whose posterior is sampled


class Kind(NamedTuple):
    """A model and its budget."""

    build: Callable[..., pvae.VAE]
    epochs: int
    batch_size: int
    compile: bool
    noise: float


DIGITS = Kind(
    partial(
        pvae.build,
        latent_dim=10,
        likelihood=partial(likelihoods.DiscretizedLogistic, levels=17),
    ),
    epochs=100,
    batch_size=128,
    compile=False,
    noise=0.2,
)
MNIST = Kind(
    partial(pvae.build, latent_dim=20, network=partial(networks.MLP, hidden=[400])),
    epochs=6,
    batch_size=100,
    compile=True,
    noise=0.1,
)
LONGER = MNIST._replace(epochs=12)
PLANE = LONGER._replace(
    build=partial(pvae.build, latent_dim=2, network=partial(networks.MLP, hidden=[400]))
)


# Data and models ----------------------------------------------------------------------------------


def load_digits() -> Dataset:
    """Digits, a quarter of them in the test part."""
    return pvae.data.load("digits", validation=0, test=0.25)


def load_mnist() -> Dataset:
    """The first images of MNIST."""
    data = pvae.data.load("mnist", validation=0)
    return first_images(data, MNIST_IMAGES)


def train(kind: Kind, data: Dataset) -> pvae.VAE:
    """Train a model."""
    vae = kind.build(data.event_shape)
    fit(
        vae,
        replace(data, test=None),
        epochs=kind.epochs,
        batch_size=kind.batch_size,
        compile=kind.compile,
        seed=0,
    )
    return vae


def perturbed(data: Dataset, part: float) -> Dataset:
    """Data with a part of their pixels replaced by random levels."""
    x, generator = data.train.x, torch.Generator().manual_seed(0)
    noise = torch.randint(data.levels, x.shape, generator=generator, dtype=torch.uint8)
    chosen = torch.rand(x.shape, generator=generator) < part
    return replace(data, train=Part(torch.where(chosen, noise, x)))


def converted(vae: pvae.VAE, data: Dataset, x: Tensor) -> Tensor:
    """Images as the VAE takes them."""
    return Batches(data, Part(x), vae.likelihood.domain, len(x)).head(len(x))


# Anomalies ----------------------------------------------------------------------------------------


class Found(NamedTuple):
    """How well each score separates anomalies from normal images, and log p(x) of both."""

    curves: dict[str, ROC]
    normal: Tensor
    anomalies: Tensor

    def row(self) -> dict[str, float]:
        """The area under each curve, and the means of log p(x)."""
        means = {"normal": self.normal.mean().item(), "anomalies": self.anomalies.mean().item()}
        return {name: curve.area for name, curve in self.curves.items()} | means


class Detector:
    """A VAE of normal data, and what its corrections need."""

    def __init__(self, kind: Kind, data: Dataset) -> None:
        self.data = data
        self.vae, self.background = train(kind, data), train(kind, perturbed(data, kind.noise))
        self.reference = converted(self.vae, data, data.train.x[:REFERENCE])

    def find(self, normal: Tensor, anomalies: Tensor) -> Found:
        """Score normal images and anomalies."""
        x = converted(self.vae, self.data, torch.cat([normal, anomalies]))
        truth = torch.arange(len(x)) >= len(normal)
        needed = {
            "typicality": {"reference": self.reference},
            "background": {"background": self.background},
        }
        curves = {}
        for correction, name in CORRECTIONS.items():
            more = needed.get(correction, {})
            found = anomaly_score(self.vae, x, num_samples=DRAWS, correction=correction, **more)
            curves[name] = roc(found.score, truth)
        return Found(curves, found.log_prob[~truth], found.log_prob[truth])


Rows = Iterator[tuple[str, dict[str, Any]]]


def held_out(kind: Kind, data: Dataset, held: int) -> Found:
    """A class that the model has not seen against test images of the others."""
    kept = (data.train.y != held).nonzero().squeeze(1).tolist()
    detector = Detector(kind, replace(data, train=data.train.subset(kept)))
    normal = data.test.x[data.test.y != held]
    anomalies = [part.x[part.y == held] for part in (data.test, data.train)]
    return detector.find(normal[:MOST], torch.cat(anomalies)[:MOST])


def digits(folder: Path) -> Rows:
    """Each class of digits held out in turn."""
    data, shown = load_digits(), {}
    for held in range(10):
        found = held_out(DIGITS, data, held)
        if held in DRAWN_CLASSES:
            shown[f"{held} held out"] = found.curves
        yield str(held), found.row()
    draw_roc(folder / "anomalies-digits.png", shown)


def mnist(folder: Path) -> Rows:
    """Some classes of MNIST held out."""
    data, shown = load_mnist(), {}
    for held in MNIST_CLASSES:
        found = held_out(MNIST, data, held)
        shown[f"{held} held out"] = found.curves
        yield str(held), found.row()
    draw_roc(folder / "anomalies-mnist.png", shown)


def gibberish(folder: Path) -> Rows:
    """Digits of both data sets against images that are not digits."""
    shown = {}
    for kind, data in ((DIGITS, load_digits()), (MNIST, load_mnist())):
        detector = Detector(kind, data)
        normal = data.test.x[:MOST]
        for name, anomalies in nonsense(normal, data.levels).items():
            found = detector.find(normal, anomalies)
            shown.setdefault(data.name, {})[name] = found
            yield f"{data.name}: {name}", found.row()
    plots.save(draw_likelihoods(shown), folder / "anomalies-likelihoods.png")


def nonsense(x: Tensor, levels: int) -> dict[str, Tensor]:
    """Images that are not digits, some of them made from digits."""
    generator = torch.Generator().manual_seed(0)
    order = torch.rand(x.flatten(1).shape, generator=generator).argsort(1)
    return {
        "uniform noise": torch.randint(levels, x.shape, generator=generator, dtype=torch.uint8),
        "permuted pixels": x.flatten(1).gather(1, order).view_as(x),
        "faint digits": x // 4,
        "blank": torch.zeros_like(x[:1]),
    }


def draw_roc(path: Path, shown: Mapping[str, Mapping[str, ROC]]) -> None:
    """The curves of all scores, a panel for each kind of anomaly."""

    def draw(figure: Canvas, curves: Mapping[str, ROC]) -> None:
        names = ROC._fields
        plots.roc(*({k: c[i] for k, c in curves.items()} for i in range(len(names))), figure=figure)

    panels = [partial(draw, curves=curves) for curves in shown.values()]
    plots.save(plots.side_by_side(panels, list(shown), aspect=0.8), path)


@style()
def draw_likelihoods(shown: Mapping[str, Mapping[str, Found]]) -> Figure:
    """Histograms of log p(x) of digits, whole and faint; noise is far off to the left."""
    figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
    for axes, (name, found) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
        blank = found["blank"].anomalies.item()
        kinds = {
            "test images": found["faint digits"].normal,
            "faint digits": found["faint digits"].anomalies,
        }
        values = torch.cat([*kinds.values(), found["blank"].anomalies])
        bins = torch.linspace(values.quantile(0.005).item(), values.max().item() + 5, 60)
        for colour, (kind, values) in zip(PALETTE, kinds.items(), strict=False):
            heights = values.histogram(bins).hist / len(values)
            axes.stairs(heights, bins, color=colour, fill=True, alpha=0.5, label=kind)
        axes.axvline(blank, color=PALETTE[3], ls="--", lw=1.2, label="a blank image")
        axes.set(title=name, xlabel="log p(x), nats", yticks=[])
        axes.spines["left"].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


# Missing pixels and posteriors --------------------------------------------------------------------


def missing(folder: Path) -> Rows:
    """Right halves of MNIST filled in, and grey levels from binary pixels."""
    data = load_mnist()
    vae = train(LONGER, data)
    x = converted(vae, data, data.test.x[:1000])
    mask = torch.arange(28) < 14
    found, seconds = timed(lambda: impute(vae, x[:SHOWN], mask, num_samples=1000, draws=4))
    picture = plots.imputations(x[:SHOWN], mask, found.x, found.draws, original=x[:SHOWN])
    plots.save(picture, folder / "mnist-imputations.png")
    yield (
        "right halves",
        {
            "images": SHOWN,
            "effective_sample_size": found.effective_sample_size.median().item(),
            "seconds": seconds,
        },
    )
    clean, seconds = timed(lambda: denoise(vae, x[:100], num_samples=1000))
    plots.save(plots.reconstructions(x[:SHOWN], clean.x[:SHOWN]), folder / "mnist-denoised.png")
    grey = data.test.x[:100] / 255
    given = {"noisy": x[:100], "denoised": clean.x, "reconstructed": vae.reconstruct(x[:100])}
    yield (
        "binarization",
        {
            "images": 100,
            **{
                name: (values - grey).square().mean().sqrt().item()
                for name, values in given.items()
            },
            "effective_sample_size": clean.effective_sample_size.median().item(),
            "seconds": seconds,
        },
    )


def posteriors(folder: Path) -> Rows:
    """Draws of NUTS and of the guide, both compared with a fine grid, and the guide's ranks."""
    data = load_mnist()
    vae = train(PLANE, data)
    x = converted(vae, data, data.test.x[:PLANES])
    options = {"num_chains": 4, "num_samples": 250, "warmup_steps": 200}
    found, seconds = timed(lambda: posterior_samples(vae, x, **options))
    with vae.evaluating(), seeded(0, vae.device):
        guide = vae.encode(x).sample((GUIDE_DRAWS,)).transpose(0, 1)
    names = [f"a {label}" for label in data.test.y[:PLANES].tolist()]
    plots.save(plots.posterior_draws(found.z, guide, names), folder / "mnist-posteriors.png")
    for i, name in enumerate(names):
        grid = torch.cartesian_prod(*2 * [torch.linspace(-5, 5, 501)])
        log_p, at_draws = (joint(vae, x[i], z) for z in (grid, found.z[i]))
        weight = log_p.softmax(0)
        mean = weight @ grid
        yield (
            name,
            {
                "r_hat": found.r_hat[i].item(),
                "effective_sample_size": found.effective_sample_size[i].item(),
                "divergences": found.divergences[i].item(),
                "nats_below_the_grid": (log_p.max() - at_draws.max()).item(),
                "mean": mean.tolist(),
                "mean_of_draws": found.z[i].mean(0).tolist(),
                "mean_of_guide": guide[i].mean(0).tolist(),
                "scale": (weight @ (grid - mean).square()).sqrt().tolist(),
                "scale_of_draws": found.z[i].std(0).tolist(),
                "scale_of_guide": guide[i].std(0).tolist(),
                "seconds": seconds / PLANES,
            },
        )
    ranks, seconds = timed(lambda: simulation_based_calibration(vae))
    picture = plots.rank_histograms(ranks.ranks, ranks.num_samples)
    plots.save(picture, folder / "mnist-calibration.png")
    yield "calibration", {"p_value": ranks.p_value.tolist(), "seconds": seconds}


def joint(vae: pvae.VAE, x: Tensor, z: Tensor) -> Tensor:
    """log p(x, z) of one image at many z."""
    with vae.evaluating():
        parts = z.split(10_000)
        return torch.cat([vae.p_z().log_prob(p) + vae.decode(p).log_prob(x) for p in parts])


# Showing ------------------------------------------------------------------------------------------

PARTS = {
    "digits": digits,
    "mnist": mnist,
    "gibberish": gibberish,
    "missing": missing,
    "posteriors": posteriors,
}


def show(results: Mapping[str, Any]) -> None:
    """Print the tables."""
    names = list(CORRECTIONS.values())
    for part in ("digits", "mnist", "gibberish"):
        rows = dict(results.get(part, {}))
        if rows and part != "gibberish":
            rows["mean"] = {n: statistics.mean(row[n] for row in rows.values()) for n in names}
        print(f"\n{part:<26}" + "".join(f"{name:>12}" for name in names))
        for name, row in rows.items():
            print(f"{name:<26}" + "".join(f"{row[score]:>12.3f}" for score in names))


def main() -> None:
    """Measure, print, and write the JSON and the figures."""
    show(run_parts(__doc__, PARTS, "anomalies.json"))


if __name__ == "__main__":
    main()
