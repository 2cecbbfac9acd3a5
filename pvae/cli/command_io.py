"""What commands on a run have in common: the run, its data, labels, and files to write."""

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import pvae
    from pvae.data import Dataset
    from pvae.training import Run


def open_model(run: str, device: str) -> tuple["Run", "pvae.VAE"]:
    """A run and its VAE."""
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
    """A run, its VAE, the data to use with it, and the name of the part that is asked.

    Labels must be known to the VAE in that part alone (in each of them, where that is "all"), and
    only if they are seen by parts of the VAE that are asked.
    """
    from pvae.training import rebuild
    from pvae.training.arguments import check_data

    opened, vae = open_model(run, device)
    if data is None:
        dataset = opened.data()
    else:
        dataset = rebuild.load_like(data, opened.config, vae.event_shape)
    names = [*dataset.parts]
    asked = names if part == "all" else [part or names[-1]]
    for name in asked:
        dataset.part(name)
    labelled = asked if set(vae.conditional) & set(seen_by) else []
    if data is not None and any(dataset.part(name).y is None for name in labelled):
        raise ValueError(
            f"--data {data} has no labels, which this conditional run needs: give an .npz file "
            "with an array y, a .csv file with a column label, or a folder of a folder for each "
            "class."
        )
    classes = opened.info["data"].get("classes")
    if data is not None and labelled and classes is not None:
        dataset = dataset.with_classes(classes, labelled)
    check_data(vae, dataset, labelled)
    return opened, vae, dataset, asked[-1]


def choose_label(vae: "pvae.VAE", label: list[float] | str | None, n: int) -> Any:
    """The labels that n samples are given, from what the command line was given."""
    from pvae.cli import gallery
    from pvae.messages import shorten

    if vae.labels is None:
        if label is not None:
            raise ValueError(
                "--label says what a conditional VAE draws, and this run's has no labels: leave "
                "it out."
            )
        return None
    if label is None and vae.labels.classes is not None:
        return gallery.classes_in_rows(vae, vae.labels.classes, n)
    if label is None:
        raise ValueError("The labels of this run are numbers: say by --label which to draw for.")
    names, classes = vae.labels.names or (), vae.labels.classes
    if isinstance(label, str) and label not in names:
        try:
            number = float(label)
        except ValueError:
            return label  # which the VAE will refuse, with the names that there are
        if classes is not None and number not in range(classes):
            known = f", or names: {shorten(', '.join(names), 150)}" if names else ""
            raise ValueError(
                f"--label {label} is no class of this run: choose from the whole numbers from 0 to "
                f"{classes - 1}{known}."
            )
        return number
    return label


def check_out(
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


def destination(opened: "Run", out: str | None, name: str) -> "Path":
    """Where a picture or its values go: a new file in the run's figures, unless one is named."""
    from pathlib import Path

    from pvae.storage import files

    return files.free(opened.place(f"figures/{name}")) if out is None else Path(out)


def write_values(path: "Path", values: Any, draw: Callable[[], Any]) -> None:
    """Write values to an .npy file, or their picture to any other."""
    import numpy as np

    from pvae import plots
    from pvae.storage import files

    if path.suffix.lower() == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, values.numpy())
        files.write(path, buffer.getvalue())
    else:
        plots.save(draw(), path)
    print(path)
