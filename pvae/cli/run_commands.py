"""The commands that read a run: what they print and draw of it.

As in `pvae.cli.commands`, signatures are options, and slow modules are imported when a command
runs.
"""

import io
from typing import Any, Literal

from pvae.cli.command_io import (
    check_out,
    choose_label,
    destination,
    open_model,
    open_run,
    write_values,
)

PartName = Literal["train", "validation", "test"]


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
    opened, vae, dataset, _ = open_run(run, data, device, wanted)
    if data is None:
        opened.place("evaluation.json")  # refused before any work
    parts = [*dataset.parts] if wanted == "all" else [wanted]
    if part is None and data is not None and dataset.test is not None:
        parts = ["test"]
    record: dict[str, Any] = {}
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
    anomalous: int | str | list[int | str] | None = None,
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
        anomalous: label of the anomalies, by number or class name, or a list of labels such as
            [0,3], to be told from the others: draws the ROC curve into the run's figures.
        num_samples: importance samples for each item.
        out: .csv file; scores.csv in the run folder otherwise, or scores- and the name of other
            data.
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
    check_out(out, [".csv"], "The scores are a table")
    check_size("num_samples", num_samples)
    opened, vae, dataset, chosen = open_run(run, data, device, part)
    suffix = "" if data is None else f"-{dataset.name}"
    path = Path(out) if out else opened.place(f"scores{suffix}.csv")
    picture = None if anomalous is None else opened.place(f"figures/roc{suffix}.png")
    held = dataset.part(chosen)
    positive = None
    if anomalous is not None:
        labels = anomalous if isinstance(anomalous, list) else [anomalous]
        positive = reports.members(dataset, held, labels)
    reference = None
    if correction == "typicality":
        reference = gallery.head(vae, opened.data(), 1000, "train")
    found = anomaly_score(
        vae,
        *batches_for(vae, dataset, held).choose(None, seed),
        num_samples=num_samples,
        correction=correction,
        reference=reference,
        background=None if background is None else open_model(background, device)[1],
        levels=dataset.levels or 256,
        seed=seed,
    )
    replaced = ", in place of an earlier one" if path.exists() else ""
    files.write(path, reports.scores_csv(held, found, positive).encode())
    print(reports.scores_table(vae, dataset, chosen, found, correction, num_samples, seed))
    if picture is not None and positive is not None:
        curve = roc(found.score, positive)
        print(f"AUROC {curve.area:.4f}, {int(positive.sum()):,} anomalies of {len(held):,} items")
        rates = (curve.false_positive_rate, curve.true_positive_rate)
        plots.save(plots.roc(*rates, curve.area), picture)
        print(picture)
    print(f"{path}{replaced}")


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

    opened, vae, dataset, chosen = open_run(run, data, device, part)
    if data is None:
        opened.place("compression.json")  # refused before any work
    found = compression(vae, dataset, chosen, seed=seed)
    record = reports.compression(vae, dataset, chosen, found, seed)
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
    check_out(out)
    opened, vae = open_model(run, device)
    path = destination(opened, out, "samples.png")
    y = choose_label(vae, label, n)
    x = vae.sample(n, y, seed=seed, draw=draw).cpu()
    known = opened.info["data"]
    limits = gallery.value_range(vae, known["domain"], known["value_range"])
    names = None
    if vae.labels is not None and vae.labels.classes is not None:
        names = gallery.class_names(vae.labels, vae.labels.each(y, n))

    def picture() -> Any:
        return plots.samples(x, labels=names, value_range=limits)

    write_values(path, x, picture)


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
    check_out(out)
    opened, vae, dataset, chosen = open_run(run, data, device, part)
    path = destination(opened, out, "reconstructions.png")
    x, y = gallery.head(vae, dataset, n, chosen)
    with seeded(seed, vae.device):
        means = vae.reconstruct(x, y, draw=draw).cpu()
    limits = gallery.value_range(vae, dataset.domain, dataset.value_range)
    write_values(path, means, lambda: plots.reconstructions(x.cpu(), means, value_range=limits))


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
    check_out(out)
    opened, vae, dataset, chosen = open_run(run, data, device, part)
    path = destination(opened, out, "interpolations.png")
    with seeded(seed, vae.device):
        x = gallery.interpolate(vae, dataset, n, chosen, steps=steps, spherical=spherical).cpu()
    limits = gallery.value_range(vae, dataset.domain, dataset.value_range)
    write_values(path, x, lambda: plots.interpolations(x, value_range=limits))


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

    check_out(out, [".npz"], "The latents are arrays by name")
    opened, vae, dataset, chosen = open_run(run, data, device, part, seen_by=("posterior",))
    path = Path(out) if out else files.free(opened.place("latents.npz"))
    with seeded(seed, vae.device):
        mean, stddev, labels = gallery.latents(vae, dataset, [dataset.part(chosen)])
    arrays: dict[str, Any] = {"mean": mean.numpy(), "stddev": stddev.numpy()}
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

    opened, vae, dataset, _ = open_run(run, data, device, "all")
    opened.check_places()
    folder = None if data is None else files.free(opened.figures / dataset.name)
    for path in gallery.draw(opened, vae, dataset, ellipses=ellipses, folder=folder):
        print(path)
