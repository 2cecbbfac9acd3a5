"""The commands: each calls the package as its users do, and prints what came of it.

Their signatures are the options of the command line. Nothing here imports torch before a command
really runs, so that help answers at once.
"""

import io
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pvae
from pvae.annotations import (
    Likelihood,
    NetworkFactory,
    Objective,
    Optimizer,
    Posterior,
    Prior,
    Scheduler,
    Shape,
)

if TYPE_CHECKING:
    from pvae.data import Dataset
    from pvae.training import Run

PartName = Literal["train", "validation", "test"]


def train(
    data: str | None = "digits",
    labels: str | None = None,
    size: int | tuple[int, int] | None = None,
    crop: bool = False,
    channels: int | None = None,
    event_shape: Shape | None = None,
    key: str | None = None,
    validation: float | int | None = None,
    test: float | int | None = None,
    binarization: Literal["dynamic", "static", "threshold"] = "dynamic",
    skip_broken: bool = False,
    root: str | None = None,
    latent_dim: int = 10,
    prior: Callable[[int], Prior] = "StandardNormal",
    likelihood: Callable[[int, Shape], Likelihood] = "Bernoulli",
    posterior: Callable[[Shape, int], Posterior] = "DiagonalNormal",
    network: NetworkFactory = "MLP",
    conditional: bool | list[str] = False,
    objective: Objective = "Trace_ELBO",
    optimizer: Callable[[Iterable], Optimizer] = "Adam",
    scheduler: Callable[[Optimizer], Scheduler] | None = None,
    epochs: int = 200,
    batch_size: int = 128,
    clip_norm: float | None = None,
    warmup: int | Literal["auto"] = "auto",
    monitor: Literal["objective", "neg_elbo", "log_likelihood", "bits_per_dim"] = "objective",
    keep: Literal["best", "last"] = "best",
    patience: int | Literal["auto"] | None = "auto",
    compile: bool | Literal["auto"] = "auto",
    device: str = "auto",
    seed: int = 0,
    run: str | None = None,
    resume: str | None = None,
) -> None:
    """Train a VAE; leave a run folder with its weights, figures and pictures.

    Parts are chosen by name or import path and take arguments of their own, as in
    --likelihood Gaussian --likelihood.scale learned, or --network my_module.MyNetwork.

    Args:
        data: name of a data set (digits, shapes, mnist, fashion-mnist, kmnist, emnist, omniglot,
            cifar10, svhn, celeba), folder of images, or .npy, .npz, .pt or .csv file.
        labels: .npy, .npz or .pt file of labels for data from a file.
        size: height and width that images are brought to.
        crop: cut images to the shape of the size before, rather than stretch them.
        channels: 1 for grey, 3 for colour.
        event_shape: shape of one datum, to fold rows of a table into images.
        key: name of the array in an .npz or .pt file that holds several.
        validation: fraction or number of data to validate with.
        test: fraction or number of data to test with, where the data have no test part.
        binarization: how grey values become 0 or 1 where the likelihood is binary.
        skip_broken: leave out images that cannot be read.
        root: folder that holds or receives named data sets; PVAE_DATA or a cache folder otherwise.
        latent_dim: number of latents.
        prior: p(z).
        likelihood: p(x|z).
        posterior: q(z|x).
        network: makes encoder and decoder.
        conditional: true for likelihood and posterior that see the labels, or a list of the parts
            that do, of prior, likelihood, posterior.
        objective: the loss, any Pyro ELBO.
        optimizer: any torch optimizer.
        scheduler: learning-rate schedule of torch, stepped each epoch.
        epochs: passes over the train part.
        batch_size: data per gradient step.
        clip_norm: largest norm of the gradient of the mean loss.
        warmup: gradient steps over which the weight of the KL rises from 0; 0 for none, auto for a
            share of those planned.
        monitor: validation figure that the best epoch is chosen by.
        keep: whose weights are kept, of the best epoch or the last.
        patience: epochs without a better figure before training stops early; null for never, auto
            for a share of those planned.
        compile: true, false, or auto for what the planned steps repay.
        device: auto, cpu, cuda, cuda:1, ...
        seed: of everything random, first weights and training.
        run: new folder to keep the run in; runs/ and the name of the data otherwise.
        resume: run folder to continue; takes all its arguments from there, but for --epochs,
            --patience, --compile and --device where they are given.
    """
    config = dict(locals())

    import pyro
    import torch
    from torch.optim.lr_scheduler import LRScheduler

    from pvae.cli import gallery, reports
    from pvae.data.loading import load
    from pvae.factories import restore
    from pvae.storage import trust
    from pvae.training import Run, runs

    if data is None:
        raise ValueError("This run was begun on data given by value: continue it from Python.")
    dataset = load(**runs.select(config, load))
    pyro.set_rng_seed(seed)
    sizes = {"event_shape": dataset.event_shape}
    if conditional:
        sizes |= dataset.label_sizes()
    vae = runs.build_from(config | sizes)
    folder = resume or run or runs.new_path(dataset.name)
    history = pvae.fit(
        vae,
        dataset,
        objective=restore("objective", objective, pyro.infer.ELBO)(),
        optimizer=restore("optimizer", optimizer, torch.optim.Optimizer),
        scheduler=scheduler and restore("scheduler", scheduler, LRScheduler),
        epochs=epochs,
        batch_size=batch_size,
        clip_norm=clip_norm,
        warmup=warmup,
        monitor=monitor,
        keep=keep,
        patience=patience,
        compile=compile,
        device=device,
        seed=seed,
        run=folder,
        resume=resume is not None,
    )
    needed = "".join(f" --trust {module}" for module in trust.outside(config))
    if history.stopped == "interrupted":
        print(f"Interrupted; everything is saved. Continue: pvae train --resume {folder}{needed}")
        sys.exit(130)
    opened = Run(folder)
    record = reports.bounds(vae, dataset, [*dataset.parts])
    opened.write("evaluation.json", record)
    print(reports.bounds_table(record))
    try:
        pictures = gallery.draw(opened, vae, dataset)
        print(f"\nPictures: {', '.join(path.name for path in pictures)}")
    except ValueError as error:  # such as of a likelihood without a mean
        print(f"\nNo pictures: {error}")
    print(f"Run folder: {opened.path}")
    if needed:
        print(f"It has parts of your own: give every command on it{needed}")


def evaluate(
    run: str,
    data: str | None = None,
    part: PartName | None = None,
    estimator: Literal["all", "elbo", "importance", "ais"] = "all",
    num_samples: int = 5000,
    items: int | Literal["all"] = 1000,
    seconds: float = 60.0,
    device: str = "auto",
    seed: int = 0,
) -> None:
    """Print the ELBO and the evidence of a run with their errors, and write them to its folder.

    The ELBO and its parts are of one sample of z for every item. log p(x) is of some items of one
    part, by importance sampling from the posterior, with how far it is to be trusted (k-hat), and
    of twenty-five of them by annealed importance sampling, with a sandwich of bounds on data drawn
    from the model. Each figure is printed when it is there. What takes longer than --seconds is of
    fewer items, chains and steps, which are printed beside it, or left out with a sentence.

    Args:
        run: the run folder.
        data: other data, by name or path; those of the run otherwise, and only these are written.
        part: part of the data; otherwise the ELBO is of all of them and the evidence of test, or
            where there is none, validation or train.
        estimator: what to estimate: the elbo alone, or beside it log p(x) by importance sampling,
            by ais, or both.
        num_samples: importance samples for each item.
        items: items that log p(x) is of, a fixed random choice, or all.
        seconds: about how long log p(x) may take.
        device: auto, cpu, cuda, cuda:1, ...
        seed: of the random draws.
    """
    from pvae.checks import check_size
    from pvae.cli import reports
    from pvae.evaluation.batching import check_seconds

    check_size("num_samples", num_samples)
    check_seconds(seconds)
    most = None if items == "all" else check_size("items", items)
    wanted = part or "all"
    opened, vae, dataset, _ = _open(run, data, device, wanted)
    parts = [*dataset.parts] if wanted == "all" else [wanted]
    if part is None and data is not None and dataset.test is not None:
        parts = ["test"]
    record = {}
    for name in parts:
        bounds = reports.bounds(vae, dataset, [name], seed)
        header = [] if record else [reports.bounds_header(bounds)]
        print(*header, *reports.bounds_rows(bounds), sep="\n", flush=True)
        record = bounds | {"parts": record.get("parts", {}) | bounds["parts"]}
    if estimator != "elbo":
        known = reports.evidence(
            vae, dataset, parts[-1], estimator, num_samples, most, seconds, seed
        )
        record["evidence"] = next(known)
        print(f"\n{reports.evidence_header(record['evidence'])}", flush=True)
        for found in known:
            print(*reports.evidence_lines(found), sep="\n", flush=True)
    if data is None:
        opened.write("evaluation.json", record)


def score(
    run: str,
    data: str | None = None,
    part: PartName | None = None,
    correction: Literal["typicality", "background", "complexity"] | None = None,
    background: str | None = None,
    anomalous: list[int | str] | None = None,
    num_samples: int = 100,
    out: str | None = None,
    device: str = "auto",
    seed: int = 0,
) -> None:
    """Write log p(x) and an anomaly score of every item, higher for what is more anomalous.

    Args:
        run: the run folder.
        data: other data, by name or path; those of the run otherwise.
        part: part of the data; test otherwise, or where there is none, validation or train.
        correction: of the score -log p(x): typicality, its distance from that of the train part;
            background, its difference to another run's; complexity, to a general compressor's.
        background: run folder of that other run, over the same values.
        anomalous: labels of anomalies, by number or class name, to be told from the others: draws
            the ROC curve into the run's figures.
        num_samples: importance samples for each item.
        out: .csv file; scores.csv in the run folder otherwise.
        device: auto, cpu, cuda, cuda:1, ...
        seed: of the random draws.
    """
    from pathlib import Path

    from pvae import plots
    from pvae.checks import check_size
    from pvae.cli import gallery, reports
    from pvae.data.batches import batches_for
    from pvae.evaluation import anomaly_score, roc
    from pvae.storage import files

    if (background is None) != (correction != "background"):
        raise ValueError("--correction background and --background RUN go together: give both.")
    _check_out(out, [".csv"], "The scores are a table")
    check_size("num_samples", num_samples)
    opened, vae, dataset, part = _open(run, data, device, part)
    path = Path(out or opened.path / "scores.csv")
    held = dataset.part(part)
    positive = None if anomalous is None else reports.members(dataset, held, anomalous)
    reference = None
    if correction == "typicality":
        reference = gallery.head(vae, opened.data(), 1000, "train")
    found = anomaly_score(
        vae,
        *batches_for(vae, dataset, held).choose(None, seed),
        num_samples=num_samples,
        correction=correction,
        reference=reference,
        background=background and _open_model(background, device)[1],
        levels=dataset.levels or 256,
        seed=seed,
    )
    files.write(path, reports.scores_csv(held, found, positive).encode())
    print(reports.scores_table(vae, dataset, part, found, correction, num_samples, seed))
    if positive is not None:
        curve = roc(found.score, positive)
        print(f"AUROC {curve.area:.4f}, {int(positive.sum()):,} anomalies of {len(held):,} items")
        picture = opened.figures / "roc.png"
        plots.save(plots.roc(*curve), picture)
        print(picture)
    print(path)


def compress(
    run: str,
    data: str | None = None,
    part: PartName | None = None,
    device: str = "auto",
    seed: int = 0,
) -> None:
    """Print the ideal code length of the data, -ELBO in bits, beside what PNG and gzip take.

    Args:
        run: the run folder.
        data: other data, by name or path; those of the run otherwise, and only these are written.
        part: part of the data; test otherwise, or where there is none, validation or train.
        device: auto, cpu, cuda, cuda:1, ...
        seed: of the random draws.
    """
    from pvae.cli import reports
    from pvae.evaluation import compression

    opened, vae, dataset, part = _open(run, data, device, part)
    found = compression(vae, dataset, part, seed=seed)
    record = reports.compression(vae, dataset, part, found, seed)
    print(reports.compression_table(record))
    if data is None:
        opened.write("compression.json", record)


def sample(
    run: str,
    n: int = 64,
    label: list[float] | str | None = None,
    out: str | None = None,
    draw: bool = False,
    device: str = "auto",
    seed: int = 0,
) -> None:
    """Draw from the prior and show the decoded means.

    Args:
        run: the run folder.
        n: how many.
        label: of a conditional run, what to draw: the name or number of a class, each in turn
            otherwise, or continuous labels.
        out: picture (.png, .pdf, .svg), or .npy for the values; a new file in the run's figures
            otherwise.
        draw: draw from the likelihood in place of its mean.
        device: auto, cpu, cuda, cuda:1, ...
        seed: of the random draws.
    """
    from pvae import plots
    from pvae.checks import check_size
    from pvae.cli import gallery

    check_size("n", n)
    _check_out(out)
    opened, vae = _open_model(run, device)
    y = _label(vae, label, n)
    x = vae.sample(n, y, seed=seed, draw=draw).cpu()
    known = opened.info["data"]
    limits = gallery.value_range(vae, known["domain"], known["value_range"])
    classes = vae.labels is not None and vae.labels.classes is not None
    names = gallery.class_names(vae, vae.labels.each(y, n)) if classes else None

    def picture() -> Any:
        return plots.samples(x, labels=names, value_range=limits)

    _leave(out, opened.figures / "samples.png", x, picture)


def reconstruct(
    run: str,
    data: str | None = None,
    part: PartName | None = None,
    n: int = 20,
    out: str | None = None,
    draw: bool = False,
    device: str = "auto",
    seed: int = 0,
) -> None:
    """Show data over their reconstructions.

    Args:
        run: the run folder.
        data: other data, by name or path; those of the run otherwise.
        part: part of the data; test otherwise, or where there is none, validation or train.
        n: how many.
        out: picture (.png, .pdf, .svg), or .npy for the values; a new file in the run's figures
            otherwise.
        draw: draw z and x in place of their means.
        device: auto, cpu, cuda, cuda:1, ...
        seed: of the random draws.
    """
    from pvae import plots
    from pvae.checks import check_size
    from pvae.cli import gallery
    from pvae.seeds import seeded

    check_size("n", n)
    _check_out(out)
    opened, vae, dataset, part = _open(run, data, device, part)
    x, *y = gallery.head(vae, dataset, n, part)
    with seeded(seed, vae.device):
        means = vae.reconstruct(x, *y, draw=draw).cpu()
    limits = gallery.value_range(vae, dataset.domain, dataset.value_range)
    path = opened.figures / "reconstructions.png"
    _leave(out, path, means, lambda: plots.reconstructions(x.cpu(), means, value_range=limits))


def interpolate(
    run: str,
    data: str | None = None,
    part: PartName | None = None,
    n: int = 6,
    steps: int = 10,
    spherical: bool = False,
    out: str | None = None,
    device: str = "auto",
    seed: int = 0,
) -> None:
    """Walk between pairs of data in latent space.

    Args:
        run: the run folder.
        data: other data, by name or path; those of the run otherwise.
        part: part of the data; test otherwise, or where there is none, validation or train.
        n: how many pairs.
        steps: pictures of each path, both ends counted.
        spherical: along great circles in place of straight lines.
        out: picture (.png, .pdf, .svg), or .npy for the values; a new file in the run's figures
            otherwise.
        device: auto, cpu, cuda, cuda:1, ...
        seed: of the random draws.
    """
    from pvae import plots
    from pvae.checks import check_size
    from pvae.cli import gallery
    from pvae.seeds import seeded

    check_size("n", n)
    if steps < 2:
        raise ValueError(f"steps is {steps}: a path has at least its 2 ends.")
    _check_out(out)
    opened, vae, dataset, part = _open(run, data, device, part)
    with seeded(seed, vae.device):
        path = gallery.interpolate(vae, dataset, n, part, steps=steps, spherical=spherical).cpu()
    limits = gallery.value_range(vae, dataset.domain, dataset.value_range)
    name = opened.figures / "interpolations.png"
    _leave(out, name, path, lambda: plots.interpolations(path, value_range=limits))


def encode(
    run: str,
    data: str | None = None,
    part: PartName | None = None,
    out: str | None = None,
    device: str = "auto",
    seed: int = 0,
) -> None:
    """Write the posterior of every datum: arrays mean, stddev and, where known, label.

    Args:
        run: the run folder.
        data: other data, by name or path; those of the run otherwise.
        part: part of the data; test otherwise, or where there is none, validation or train.
        out: .npz file; a new file latents.npz in the run folder otherwise.
        device: auto, cpu, cuda, cuda:1, ...
        seed: of the binarization where it is dynamic.
    """
    from pathlib import Path

    import numpy as np

    from pvae.cli import gallery
    from pvae.seeds import seeded
    from pvae.storage import files

    _check_out(out, [".npz"], "The latents are arrays by name")
    opened, vae, dataset, part = _open(run, data, device, part, seen_by=("posterior",))
    path = Path(out) if out else files.free(opened.path / "latents.npz")
    with seeded(seed, vae.device):
        mean, stddev, labels = gallery.latents(vae, dataset, [dataset.part(part)])
    arrays = {"mean": mean.numpy(), "stddev": stddev.numpy()}
    if labels is not None:
        arrays["label"] = labels.numpy()
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    files.write(path, buffer.getvalue())
    print(f"{path}: {', '.join(f'{k} {v.shape}' for k, v in arrays.items())}")


def plot(
    run: str,
    data: str | None = None,
    ellipses: bool = False,
    device: str = "auto",
) -> None:
    """Draw all pictures of a run anew, into its figures.

    Args:
        run: the run folder.
        data: other data, by name or path, whose pictures have a folder of their own among the
            figures; those of the run otherwise.
        ellipses: show the posterior of each datum as an ellipse where there are two latents.
        device: auto, cpu, cuda, cuda:1, ...
    """
    from pvae.cli import gallery
    from pvae.storage import files

    opened, vae, dataset, _ = _open(run, data, device, "all")
    folder = None if data is None else files.free(opened.figures / dataset.name)
    for path in gallery.draw(opened, vae, dataset, ellipses=ellipses, folder=folder):
        print(path)


def _open_model(run: str, device: str) -> tuple["Run", "pvae.VAE"]:
    """A run and its VAE."""
    from pvae.training import Run
    from pvae.training.trainer import choose_device

    opened = Run(run)
    return opened, opened.vae().to(choose_device(device))


def _open(
    run: str,
    data: str | None,
    device: str,
    part: str | None,
    seen_by: Sequence[str] = ("prior", "likelihood", "posterior"),
) -> tuple["Run", "pvae.VAE", "Dataset", str]:
    """A run, its VAE, the data to use with it, and the name of the part that is asked.

    Labels must be known to the VAE in that part alone (in each of them, where that is "all"), and
    only if they are seen by parts of the VAE that are asked.
    """
    from pvae.training import runs
    from pvae.training.trainer import check_fit

    opened, vae = _open_model(run, device)
    if data is None:
        dataset = opened.data()
    else:
        dataset = runs.load_like(data, opened.config, vae.event_shape)
    names = [*dataset.parts]
    asked = names if part == "all" else [part or names[-1]]
    for name in asked:
        dataset.part(name)
    labelled = asked if set(vae.conditional) & set(seen_by) else []
    classes = opened.info["data"].get("classes")
    if data is not None and labelled and classes is not None:
        dataset = dataset.with_classes(classes, labelled)
    check_fit(vae, dataset, labelled)
    return opened, vae, dataset, asked[-1]


def _label(vae: "pvae.VAE", label: list[float] | str | None, n: int) -> Any:
    """The labels that n samples are given, from what the command line was given."""
    from pvae.cli import gallery

    if vae.labels is None:
        if label is not None:
            raise ValueError(
                "--label says what a conditional VAE draws, and this run's has no labels: leave "
                "it out."
            )
        return None
    if label is None and vae.labels.classes is not None:
        return gallery.classes_in_rows(vae, n)
    if label is None:
        raise ValueError("The labels of this run are numbers: say by --label which to draw for.")
    if isinstance(label, str) and label not in (vae.labels.names or ()):
        try:
            return float(label)
        except ValueError:
            return label  # which the VAE will refuse, with the names that there are
    return label


def _check_out(
    out: str | None,
    suffixes: Sequence[str] = (".png", ".pdf", ".svg", ".npy"),
    what: str = "Samples are a picture (.png, .pdf, .svg) or values (.npy)",
) -> None:
    """Refuse, before any work, a file that could not be written.

    Raises:
        ValueError: if its name ends otherwise.
        IsADirectoryError: if it is a folder.
        NotADirectoryError: if it would be in a file.
    """
    from pathlib import Path

    if out is None:
        return
    path = Path(out)
    if path.is_dir():
        raise IsADirectoryError(
            f"--out {out} is a folder: give a file in it, such as {path / f'name{suffixes[0]}'}."
        )
    if path.suffix.lower() not in suffixes:
        stem = path.stem or "name"
        raise ValueError(f"{what}: choose a file {stem}{suffixes[0]}, not --out {out!r}.")
    above = next((p for p in path.parents if p.exists()), None)
    if above is not None and not above.is_dir():
        raise NotADirectoryError(
            f"--out {out} could not be written: {above} is a file, no folder; choose another."
        )


def _leave(out: str | None, default: Any, values: Any, draw: Callable[[], Any]) -> None:
    """Write values to an .npy file, or their picture to any other; by default to a new one."""
    from pathlib import Path

    import numpy as np

    from pvae import plots
    from pvae.storage import files

    path = files.free(default) if out is None else Path(out)
    if path.suffix.lower() == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, values.numpy())
        files.write(path, buffer.getvalue())
    else:
        plots.save(draw(), path)
    print(path)


COMMANDS = (train, evaluate, score, compress, sample, reconstruct, interpolate, encode, plot)
