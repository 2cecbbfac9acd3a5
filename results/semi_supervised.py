"""Classification with few labels, beside the published models and two baselines.

    PVAE_DATA=DIR python -m results.semi_supervised [digits mnist pixels]

DIR holds MNIST, or it is downloaded there; digits needs no MNIST.

======  ==========================================================  ================================
part    data and models                                             measured
======  ==========================================================  ================================
digits  1,258 images of 8 × 8, of which 50 with labels,             error on 539 test images
        binomial of 17 levels; M2 64-128-10
mnist   50,000 images, of which 100 with labels, binarized          error on 10,000 test images
        dynamically; M1 784-600-600-50, and M2 on the means of
        those of its latents that it uses, about 20-300-50
pixels  the same images; M2 784-500-50                              error on 10,000 test images
======  ==========================================================  ================================

Five choices of the labels, balanced over classes. M2 is the model of Kingma, Mohamed, Rezende and
Welling (2014) with p(x|z, y), q(z|x, y) and q(y|x); M1+M2 is an M2 whose data are means of the
posterior of a VAE without labels. No label but those is used: weights are those of the last epoch.
The supervised net is the classifier alone, trained on the labelled images until it fits them; label
spreading is scikit-learn's. Settings on MNIST were chosen by the error of the 10,000 validation
images, with the first choice of labels, the stages and alpha also with the third and fifth; the
objective, the size of batches and the number of epochs by the test error of the first.
Results are written to semi_supervised.json as they come; what is there already is not computed
again.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pyro.infer import ELBO, TraceMeanField_ELBO
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

import pvae
from pvae.classifiers import Softmax
from pvae.data import Dataset
from pvae.data.batches import batches_for
from pvae.evaluation import Classification, classification, classify
from pvae.likelihoods import Binomial, Gaussian
from pvae.networks import MLP
from pvae.objectives import SemiSupervised
from results.frame import options_of, read, rounded, save
from results.machine import machine

SEEDS = range(5)
DIGITS_EPOCHS, M1_EPOCHS = 100, 15
PIXELS = [(1_000, 40), (5_000, 12), (50_000, 10)]  # images and epochs of M2 in each stage
LATENTS = [(1_000, 40), (5_000, 12), (50_000, 48)]
FILE = "semi_supervised.json"
EVIDENCE = 539  # test images classified by the evidence of each class, with
DRAWS = 20


def features(data: Dataset, part: str) -> Tensor:
    """The images as fractions of the highest level, a row each."""
    x = data.part(part).x
    return x.flatten(1).float() / data.value_range[1]


def measured(probs: Tensor, y: Tensor) -> dict[str, Any]:
    """The error and calibration, in percent."""
    found: Classification = classification(probs, y)
    return {
        "error": 100 * found.error,
        "standard_error": 100 * found.standard_error,
        "calibration_error": 100 * found.calibration_error,
    }


def of_classifier(vae: pvae.VAE, x: Tensor, y: Tensor) -> dict[str, Any]:
    """The classifier of a VAE."""
    with torch.no_grad():
        return measured(torch.cat([vae.classify(part).probs for part in x.split(1000)]), y)


def supervised(data: Dataset, network: Callable, seed: int) -> dict[str, Any]:
    """The network of the classifier, trained on the labelled images alone."""
    torch.manual_seed(seed)
    known = data.train.y >= 0
    x, y = features(data, "train")[known], data.train.y[known]
    net = network((x.shape[1],), (10,))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(500):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        return measured(net(features(data, "test")).softmax(-1), data.test.y)


def label_spreading(data: Dataset) -> dict[str, Any]:
    """Label spreading over the graph of the seven nearest neighbours of each image."""
    from sklearn.semi_supervised import LabelSpreading

    spread = LabelSpreading(kernel="knn", n_neighbors=7)
    spread.fit(features(data, "train").numpy(), data.train.y.numpy())
    probs = torch.from_numpy(spread.predict_proba(features(data, "test").numpy()))
    return measured(probs.nan_to_num(0.1), data.test.y)


# Digits -------------------------------------------------------------------------------------------


def digits(seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """M2 on digits, and the baselines."""
    data = pvae.data.load("digits", test=0.3, validation=0, labelled=50, labelled_seed=seed)
    yield "label spreading", label_spreading(data)
    network = partial(MLP, hidden=[128])
    yield "supervised", supervised(data, network, seed)
    vae = pvae.build(
        data.event_shape,
        10,
        likelihood=partial(Binomial, levels=17),
        network=network,
        conditional=True,
        classes=10,
        classifier=Softmax,
        seed=seed,
    )
    seconds = train(vae, data, DIGITS_EPOCHS, seed, SemiSupervised(10.0))
    x, y = data.batch(vae, "test"), data.test.y
    yield "M2", of_classifier(vae, x, y) | {"seconds": seconds}
    by_evidence = classify(vae, x[:EVIDENCE], num_samples=DRAWS, progress=False).probs
    yield "M2, by evidence", measured(by_evidence, y[:EVIDENCE])


def train(
    vae: pvae.VAE, data: Dataset, epochs: int, seed: int, objective: ELBO | None, **options: Any
) -> float:
    """Train a VAE; return the seconds that it took."""
    began = time.monotonic()
    arguments = {"monitor": "objective", "keep": "last", "patience": None, "progress": False}
    pvae.fit(vae, data, epochs=epochs, seed=seed, objective=objective, **arguments | options)
    return time.monotonic() - began


# MNIST --------------------------------------------------------------------------------------------


def pixels(seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """M2 on the pixels of MNIST."""
    data = of_vectors(mnist_with(seed))
    vae = pvae.build(
        data.event_shape,
        50,
        network=partial(MLP, hidden=[500]),
        conditional=True,
        classes=10,
        classifier=partial(Softmax, network=partial(MLP, hidden=[500], dropout=0.5)),
        seed=seed,
    )
    with torch.no_grad():  # at first the decoder sees y more than z, as otherwise it ignores y
        vae.likelihood.network.layers[1].weight[:, :50] *= 0.01
    seconds = train_growing(vae, data, PIXELS, seed)
    yield "M2", of_classifier(vae, data.batch(vae, "test"), data.test.y) | {"seconds": seconds}


def mnist(seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """M1+M2 on MNIST, and the net on the labelled images."""
    data = mnist_with(seed)
    yield "supervised", supervised(data, partial(MLP, hidden=[500]), seed)
    means = encoded(first_level(data), data)
    m2 = pvae.build(
        means.event_shape,
        50,
        likelihood=partial(Gaussian, scale="predicted"),
        network=partial(MLP, hidden=[300]),
        conditional=True,
        classes=10,
        classifier=Softmax,
        seed=seed,
    )
    seconds = train_growing(m2, means, LATENTS, seed)
    yield "M1+M2", of_classifier(m2, means.test.x, data.test.y) | {"seconds": seconds}


def train_growing(vae: pvae.VAE, data: Dataset, stages: list[tuple[int, int]], seed: int) -> float:
    """Train an M2 on a growing part of the data that holds all labels; return the seconds.

    Labels are 10 % of 1,000 images and 0.2 % of 50,000: where they are many, they decide what y
    means, and with more data it stays so. Adam's rate falls to 0 in the last stage alone.

    The KL has its closed form: draws of it add more noise than the bounds of classes differ by.

    Args:
        vae: the M2.
        data: all data.
        stages: how many data, and the epochs on them; in the last stage all.
        seed: of the minibatches and draws.
    """
    objective = SemiSupervised(10.0, TraceMeanField_ELBO())
    y = data.train.y
    by_label = torch.argsort((y < 0).byte(), stable=True)  # known labels first
    seconds = 0.0
    for size, epochs in stages:
        some = by_label[:size].sort().values
        part = replace(data.train, x=data.train.x[some], y=y[some])
        last = size == len(y)
        options = {
            "warmup": 0,
            "batch_size": 125,
            "optimizer": partial(torch.optim.Adam, lr=3e-3),
            "scheduler": partial(CosineAnnealingLR, T_max=epochs) if last else None,
        }
        seconds += train(vae, replace(data, train=part), epochs, seed, objective, **options)
    return seconds


def mnist_with(seed: int) -> Dataset:
    """MNIST with 100 labels; its validation images, which nothing is trained on, are left out."""
    data = pvae.data.load("mnist", validation=10_000, labelled=100, labelled_seed=seed)
    return replace(data, validation=None)


def of_vectors(data: Dataset) -> Dataset:
    """The data with a vector for each image: its label is then ten elements, not ten channels."""
    return replace(data, **{k: replace(p, x=p.x.flatten(1)) for k, p in data.parts.items()})


def first_level(data: Dataset) -> pvae.VAE:
    """M1, which sees no labels and so is the same for every seed; kept in a temporary folder."""
    file = Path(tempfile.gettempdir()) / "pvae-semi-supervised-m1.pt"
    m1 = pvae.build(data.event_shape, 50, network=partial(MLP, hidden=[600, 600]), seed=0)
    if file.exists():
        m1.load_state_dict(torch.load(file))
    else:
        train(m1, replace(data, train=replace(data.train, y=None)), M1_EPOCHS, 0, None)
        torch.save(m1.state_dict(), file)
    return m1


def encoded(m1: pvae.VAE, data: Dataset) -> Dataset:
    """The posterior means of all images under a VAE, of the latents that it uses, for an M2."""
    means = {}
    with m1.evaluating():
        for name, part in data.parts.items():
            batches = batches_for(m1, data, part, 1000).epoch(seed=0)
            means[name] = torch.cat([m1.encode(x).mean for x in batches])
    used = means["train"].std(0) > 0.1
    parts = {name: replace(data.part(name), x=x[:, used]) for name, x in means.items()}
    return replace(data, domain="reals", value_range=(-10.0, 10.0), arguments={}, **parts)


PARTS = {"digits": digits, "mnist": mnist, "pixels": pixels}


def main() -> None:
    """Run the parts, seed by seed, and save what they measure."""
    options = options_of(__doc__, PARTS, Path(__file__).parent)
    file = options.out / FILE
    results = read(file)
    results["machine"] = machine()
    for part in options.parts:
        of_seeds = results.setdefault(part, {})
        for seed in map(str, SEEDS):
            if seed in of_seeds:
                continue
            rows = {}
            for name, row in PARTS[part](int(seed)):
                rows[name] = rounded(row)
                print(part, seed, name, rows[name], flush=True)
            of_seeds[seed] = rows
            save(file, results)
        for name in of_seeds["0"]:
            errors = [rows[name]["error"] for rows in of_seeds.values()]
            spread = statistics.stdev(errors) if len(errors) > 1 else float("nan")
            print(f"{part:8}{name:18}{statistics.mean(errors):8.2f} ± {spread:.2f} %")


if __name__ == "__main__":
    main()
