"""Input and output of the commands on a run: open it and its data, check and write files."""

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pathlib import Path

    import pvae
    from pvae.data import Dataset
    from pvae.training import Run

PartName = Literal["train", "validation", "test"]


def open_model(run: str, device: str) -> tuple["Run", "pvae.VAE"]:
    """Open a run, and load its VAE."""
    from pvae.training import Run
    from pvae.training.device import choose_device

    opened = Run(run)
    return opened, opened.vae().to(choose_device(device))


def open_run(
    run: str,
    data: str | None,
    device: str,
    part: str | None,
    seen_by: Sequence[str] = ("prior", "likelihood", "posterior"),
) -> tuple["Run", "pvae.VAE", "Dataset", str]:
    """Open a run, its VAE and its data or others, and choose a part of them.

    The labels of that part (of every part, for "all") must be labels of the VAE, if one of the
    parts of the VAE in ``seen_by`` sees labels.
    """
    from pvae.training import rebuild
    from pvae.training.arguments import check_dataset

    opened, vae = open_model(run, device)
    if data is None:
        dataset = opened.data()
    else:
        dataset = rebuild.load_like(data, opened.config, vae.event_shape)
    names = [*dataset.parts]
    asked = names if part == "all" else [part or names[-1]]
    for name in asked:
        dataset.part(name)
    sees = vae.classifier is None and set(vae.conditional) & set(seen_by)
    labelled = asked if sees else []
    if data is not None and any(dataset.part(name).y is None for name in labelled):
        raise ValueError(
            f"--data {data} has no labels, which this conditional run needs: give an .npz file "
            "with an array y, a .csv file with a column label, or a folder of a folder for each "
            "class."
        )
    classes = opened.info["data"].get("classes")
    if data is not None and labelled and classes is not None:
        dataset = dataset.with_classes(classes, labelled)
    check_dataset(vae, dataset, labelled)
    return opened, vae, dataset, asked[-1]


def choose_label(vae: "pvae.VAE", label: list[float] | str | None, n: int) -> Any:
    """Return the labels of n samples, from the option of the command line."""
    import torch

    from pvae.cli import gallery
    from pvae.messages import shorten

    if vae.labels is None:
        if label is not None:
            raise ValueError(
                "--label chooses what a conditional VAE samples, but this VAE has no labels: leave "
                "it out."
            )
        return None
    if label is None and vae.labels.classes is not None:
        columns = gallery.columns_by_class(vae, vae.labels.classes, n)
        return torch.arange(n) // columns % vae.labels.classes
    if label is None:
        raise ValueError("The labels of this run are numbers: give --label to choose one.")
    names, classes = vae.labels.names or (), vae.labels.classes
    if isinstance(label, str) and label not in names:
        try:
            number = float(label)
        except ValueError:
            return label  # the VAE raises, and lists the names
        if classes is not None and number not in range(classes):
            known = f", or names: {shorten(', '.join(names), 150)}" if names else ""
            raise ValueError(
                f"--label {label} is not a class of this run: choose a whole number from 0 to "
                f"{classes - 1}{known}."
            )
        return number
    return label


def check_out(
    out: str | None,
    suffixes: Sequence[str] = (".png", ".pdf", ".svg", ".npy"),
    what: str = "Samples are a picture (.png, .pdf, .svg) or values (.npy)",
) -> None:
    """Raise, before any work, if a file cannot be written.

    Raises:
        ValueError: if its suffix is not one of these.
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
            f"--out {out} could not be written: {above} is a file, not a folder; choose another."
        )


def destination(opened: "Run", out: str | None, name: str) -> "Path":
    """The path for a picture or its values: ``out``, or a new file in the run's figures."""
    from pathlib import Path

    from pvae.storage import files

    return files.free(opened.place(f"figures/{name}")) if out is None else Path(out)


def write_values(path: "Path", values: Any, plot: Callable[[], Any]) -> None:
    """Write values to an .npy file, or a plot of them to any other."""
    import numpy as np

    from pvae import plots
    from pvae.storage import files

    if path.suffix.lower() == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, values.numpy())
        files.write(path, buffer.getvalue())
    else:
        plots.save(plot(), path)
    print(path)
