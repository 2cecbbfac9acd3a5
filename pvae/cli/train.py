"""`pvae train`: the command that starts and resumes runs.

Its signature is the options of the command line. Nothing here imports torch before a command
runs, so that help is printed at once.
"""

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Literal

from pvae.annotations import (
    Classifier,
    Likelihood,
    NetworkFactory,
    Objective,
    Optimizer,
    Posterior,
    Prior,
    Scheduler,
    Shape,
    UncertainWeights,
)


def train(
    data: str | None = "digits",
    labels: str | None = None,
    size: int | tuple[int, int] | None = None,
    crop: bool = False,
    channels: int | None = None,
    event_shape: Shape | None = None,
    key: str | None = None,
    validation: int | float | None = None,
    test: int | float | None = None,
    binarization: Literal["dynamic", "static", "threshold"] = "dynamic",
    skip_broken: bool = False,
    root: str | None = None,
    labelled: int | None = None,
    labelled_seed: int = 0,
    latent_dim: int = 10,
    # Defaults are names, and what the parser makes of them are configurations, to be restored.
    prior: Callable[[int], Prior] = "StandardNormal",  # type: ignore[assignment]
    likelihood: Callable[[int, Shape], Likelihood] = "Bernoulli",  # type: ignore[assignment]
    posterior: Callable[[Shape, int], Posterior] = "DiagonalNormal",  # type: ignore[assignment]
    network: NetworkFactory = "MLP",  # type: ignore[assignment]
    conditional: bool | list[str] = False,
    classifier: Callable[[Shape, int], Classifier] | None = None,
    class_prior: Literal["uniform", "learned"] = "uniform",
    weights: Callable[[Any], UncertainWeights] | None = None,
    objective: Objective = "Trace_ELBO",  # type: ignore[assignment]
    optimizer: Callable[[Iterable], Optimizer] = "Adam",  # type: ignore[assignment]
    scheduler: Callable[[Optimizer], Scheduler] | None = None,
    epochs: int = 200,
    batch_size: int = 128,
    clip_norm: float | None = None,
    skip_norm: float | None = None,
    spectral_limit: float | None = None,
    warmup: int | Literal["auto"] = "auto",
    monitor: Literal["objective", "neg_elbo", "log_likelihood", "bits_per_dim"] = "objective",
    keep: Literal["best", "last"] = "best",
    patience: int | Literal["auto"] | None = "auto",
    compile: bool | Literal["auto"] = "auto",
    device: str = "auto",
    seed: int = 0,
    run: str | None = None,
    snapshots: bool = True,
    resume: str | None = None,
) -> None:
    """Train a VAE and save a run folder with its weights, metrics and pictures.

    Parts are chosen by name or import path and take arguments of their own, as in
    --likelihood Gaussian --likelihood.scale learned, or --network my_module.MyNetwork.

    Args:
        data: name of a data set (digits, shapes, tree, seasonal, mnist, fashion-mnist, kmnist,
            emnist, omniglot, cifar10, svhn, celeba), folder of images, or .npy, .npz, .pt or .csv
            file.
        labels: .npy, .npz or .pt file of labels for data from a file.
        size: height and width to resize images to.
        crop: crop images to the proportions of size, rather than stretch them.
        channels: 1 for grey, 3 for colour.
        event_shape: shape of one datum, to fold rows of a table into images.
        key: name of the array in an .npz or .pt file with several.
        validation: fraction or number of data to validate with.
        test: fraction or number of data to test with, where the data have no test part.
        binarization: how grey values become 0 or 1 for a binary likelihood.
        skip_broken: leave out images that cannot be read.
        root: folder to read or download named data sets; by default PVAE_DATA or a cache folder.
        labelled: number of labels to train on, balanced over classes; the others are unknown,
            which needs a classifier. By default all.
        labelled_seed: of the choice of those labels.
        latent_dim: number of latents.
        prior: p(z).
        likelihood: p(x|z).
        posterior: q(z|x).
        network: class of the encoder and the decoder.
        conditional: true if likelihood and posterior see the labels, or a list of the parts that
            do: prior, likelihood, posterior.
        classifier: q(y|x), for labels of which some or all are unknown, -1 or NaN.
        class_prior: p(y) with a classifier, uniform or learned.
        weights: distribution over the weights of some parts, Weights; its prior and posterior are
            options of their own, as in --weights.posterior AutoNormal.
        objective: the loss, any Pyro ELBO.
        optimizer: any torch optimizer; SGHMC samples uncertain weights.
        scheduler: learning-rate schedule of torch, stepped each epoch.
        epochs: passes over the train part.
        batch_size: data per gradient step.
        clip_norm: maximum norm of the gradient of the mean loss.
        skip_norm: norm of that gradient above which a step is skipped.
        spectral_limit: largest spectral norm of a linear layer or convolution.
        warmup: gradient steps over which the weight of the KL rises from 0; 0 for none, auto for a
            fraction of the planned steps.
        monitor: validation metric by which the best epoch is chosen.
        keep: the weights to keep, of the best epoch or the last.
        patience: epochs without improvement before training stops early; null for never, auto
            for a fraction of the planned epochs.
        compile: true, false, or auto to compile when it pays off over the planned steps.
        device: auto, cpu, cuda, cuda:1, ...
        seed: of all randomness, in initial weights and training.
        run: new folder for the run; by default runs/ and the name of the data.
        snapshots: keep about 30 copies of the weights over training, at most 128 MiB in all, for
            training.gif and epochs.png.
        resume: run folder to continue; all arguments are taken from there, except --epochs,
            --patience, --compile and --device if they are given.
    """
    config = dict(locals())

    from pathlib import Path

    from pvae.cli import film, gallery, reports
    from pvae.storage import files, trust
    from pvae.training import Run
    from pvae.training.configured import build_configured, fit_configured

    vae, dataset = build_configured(config)
    folder = resume or run or files.free(Path("runs") / dataset.name)
    history = fit_configured(vae, dataset, config, folder, resume is not None)
    needed = "".join(f" --trust {module}" for module in trust.outside(config))
    if history.stopped == "interrupted":
        print(f"Interrupted; everything is saved. Continue: pvae train --resume {folder}{needed}")
        sys.exit(130)
    opened = Run(folder)
    record = reports.bounds(vae, dataset, [*dataset.parts])
    last = [*dataset.parts][-1]
    print(reports.bounds_table(record))
    if found := reports.classes(vae, dataset, last):
        record["classifier"] = reports.classes_record(found)
        print(reports.classes_line(found, last))
    opened.write("evaluation.json", record)
    try:
        pictures = gallery.plot(opened, vae, dataset)
        with suppress(film.TooShort):  # for example, as snapshots are false
            pictures += film.plot(opened, vae, dataset)
        print(f"\nPictures: {', '.join(path.name for path in pictures)}")
    except ValueError as error:  # for example, a likelihood without a mean
        print(f"\nNo pictures: {error}")
    print(f"Run folder: {opened.path}")
    if needed:
        print(f"It has parts of your own: give every command on it{needed}")
