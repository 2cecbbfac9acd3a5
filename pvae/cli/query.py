"""The commands that sample, reconstruct, encode and plot with a run's VAE.

As in `pvae.cli.train`, signatures are options, and slow modules are imported when a command runs.
"""

import io
from typing import Any

from pvae.cli.run_io import (
    PartName,
    check_out,
    choose_label,
    destination,
    open_model,
    open_run,
    write_values,
)


def sample(
    run: str,
    n: int = 64,
    label: list[float] | str | None = None,
    out: str | None = None,
    draw: bool = False,
    device: str = "auto",
    seed: int = 0,
) -> None:
    """Sample from the prior and show the decoded means.

    Args:
        run: the run folder.
        n: how many.
        label: label to sample, if the run is conditional: the name or number of a class, by
            default each in turn, or continuous labels.
        out: picture (.png, .pdf, .svg), or .npy for the values; by default a new file in the run's
            figures.
        draw: sample from the likelihood instead of showing its mean.
        device: auto, cpu, cuda, cuda:1, ...
        seed: of the random draws.
    """
    from pvae import plots
    from pvae.checks import check_size
    from pvae.cli import gallery
    from pvae.data.domains import picture_range

    check_size("n", n)
    check_out(out)
    opened, vae = open_model(run, device)
    path = destination(opened, out, "samples.png")
    y = choose_label(vae, label, n)
    x = vae.sample(n, y, seed=seed, draw=draw).cpu()
    known = opened.info["data"]
    limits = picture_range(vae.likelihood, known["domain"], known["value_range"])
    rows: dict[str, Any] = {}
    if vae.labels is not None and vae.labels.classes is not None:
        rows["labels"] = gallery.class_names(vae.labels, vae.labels.each(y, n))
        if label is None:
            rows["columns"] = gallery.columns_by_class(vae, vae.labels.classes, n)

    def picture() -> Any:
        return plots.samples(x, **rows, value_range=limits)

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
    """Show data and their reconstructions.

    Args:
        run: the run folder.
        data: other data, by name or path; by default those of the run.
        part: part of the data; by default test, or if there is none, validation or train.
        n: how many.
        out: picture (.png, .pdf, .svg), or .npy for the values; by default a new file in the run's
            figures.
        draw: sample z and x instead of taking their means.
        device: auto, cpu, cuda, cuda:1, ...
        seed: of the random draws.
    """
    from pvae import plots
    from pvae.checks import check_size
    from pvae.cli import gallery
    from pvae.data.domains import picture_range
    from pvae.seeds import seeded

    check_size("n", n)
    check_out(out)
    opened, vae, dataset, chosen = open_run(run, data, device, part)
    path = destination(opened, out, "reconstructions.png")
    x, y = gallery.head(vae, dataset, n, chosen)
    with seeded(seed, vae.device):
        means = vae.reconstruct(x, y, draw=draw).cpu()
    limits = picture_range(vae.likelihood, dataset.domain, dataset.value_range)
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
    """Interpolate between pairs of data in latent space.

    Args:
        run: the run folder.
        data: other data, by name or path; by default those of the run.
        part: part of the data; by default test, or if there is none, validation or train.
        n: how many pairs.
        steps: number of pictures on each path, both ends included.
        spherical: follow great circles instead of straight lines.
        out: picture (.png, .pdf, .svg), or .npy for the values; by default a new file in the run's
            figures.
        device: auto, cpu, cuda, cuda:1, ...
        seed: of the random draws.
    """
    from pvae import plots
    from pvae.checks import check_size
    from pvae.cli import gallery
    from pvae.data.domains import picture_range
    from pvae.seeds import seeded

    check_size("n", n)
    if steps < 2:
        raise ValueError(f"steps is {steps}: a path has at least its 2 ends.")
    check_out(out)
    opened, vae, dataset, chosen = open_run(run, data, device, part)
    path = destination(opened, out, "interpolations.png")
    with seeded(seed, vae.device):
        x = gallery.interpolate(vae, dataset, n, chosen, steps=steps, spherical=spherical).cpu()
    limits = picture_range(vae.likelihood, dataset.domain, dataset.value_range)
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
        data: other data, by name or path; by default those of the run.
        part: part of the data; by default test, or if there is none, validation or train.
        out: .npz file; by default a new file latents.npz in the run folder.
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
    """Plot all pictures of a run again and save them in its figures.

    Args:
        run: the run folder.
        data: other data, by name or path, whose pictures get a folder of their own in the figures;
            by default those of the run.
        ellipses: show the posterior of each datum as an ellipse if there are two latents.
        device: auto, cpu, cuda, cuda:1, ...
    """
    from pvae.cli import film, gallery
    from pvae.storage import files

    opened, vae, dataset, _ = open_run(run, data, device, "all")
    opened.check_places()
    folder = None if data is None else files.free(opened.figures / dataset.name)
    for path in gallery.plot(opened, vae, dataset, ellipses=ellipses, folder=folder):
        print(path)
    try:
        for path in film.plot(opened, vae, dataset, folder):
            print(path)
    except film.TooShort as error:
        print(f"No film: {error}")
