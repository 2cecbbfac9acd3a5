"""The pictures of a trained VAE: from a model and data to the arrays that `pvae.plots` draws."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from pvae import plots
from pvae.data.dataset import Dataset, Part
from pvae.data.domains import Domain
from pvae.evaluation.summary import batches_for
from pvae.inference.checkpoint import weights_of
from pvae.inference.runs import Run
from pvae.seeds import seeded
from pvae.vae import VAE

BATCH = 500
TILES = 20  # tiles a side of the manifold
POINTS = 5000  # posterior means drawn at the most
EPOCHS = 6  # epochs in a row


def draw(run: Run, vae: VAE, data: Dataset, ellipses: bool = False) -> list[Path]:
    """Draw every picture that a run and its data allow, into the run's figures.

    Args:
        run: the run; its history and snapshots are drawn too.
        vae: its VAE.
        data: the data to reconstruct and encode.
        ellipses: whether two latents show each posterior as an ellipse.

    Returns:
        The paths of the pictures.
    """
    limits = value_range(vae, data.domain, data.value_range)
    with seeded(0, vae.device), vae.evaluating():
        x = head(vae, data, 20)
        x0, x1 = pairs(vae, data, 6)
        mean, stddev, labels = latents(vae, data, parts_of(data), most=POINTS)
        pictures = {
            "reconstructions": plots.reconstructions(
                x.cpu(), vae.reconstruct(x).cpu(), value_range=limits
            ),
            "samples": plots.samples(vae.sample(64, seed=0).cpu(), value_range=limits),
            "interpolations": plots.interpolations(
                vae.interpolate(x0, x1).cpu(), value_range=limits
            ),
        }
        scale = stddev if ellipses else None
        if mean.shape[1] == 2:
            pictures["latents"] = plots.latent_scatter(mean, labels, scale, data.classes)
            pictures["plane"] = plots.latent_plane(
                mean, *manifold(vae), labels, scale, data.classes, value_range=limits
            )
        elif mean.shape[1] > 2 and len(mean) >= 10:
            pictures["tsne"] = plots.tsne(mean, labels, data.classes)
    if run.history.rows:
        pictures["loss"] = run.history.plot()
    paths = []
    for name, figure in pictures.items():
        paths.append(run.figures / f"{name}.png")
        plots.save(figure, paths[-1])
    return paths + _over_training(run, vae, data)


def _over_training(run: Run, vae: VAE, data: Dataset) -> list[Path]:
    """The latent scatter or prior samples at a few epochs in a row, and at all kept as a GIF."""
    weights = run.snapshots | {run.info["epochs"]: "last.safetensors"}
    if len(weights) < 2:
        return []
    draws, titles = [], []
    now = weights_of(vae)
    for epoch, name in weights.items():
        run.restore(vae, name)
        draws.append(_snapshot(vae, data))
        titles.append(f"epoch {epoch}")
    vae.load_state_dict(now)
    row = sorted({round(i * (len(draws) - 1) / (EPOCHS - 1)) for i in range(EPOCHS)})
    figure = plots.side_by_side([draws[i] for i in row], [titles[i] for i in row])
    paths = [run.figures / "epochs.png", run.figures / "training.gif"]
    plots.save(figure, paths[0])
    plots.animate(draws, titles, paths[1])
    return paths


def _snapshot(vae: VAE, data: Dataset) -> Callable:
    """What is drawn of one epoch: the latent scatter for two latents, else prior samples."""
    limits = value_range(vae, data.domain, data.value_range)
    if vae.prior().event_shape == (2,):
        with seeded(0, vae.device):
            mean, _, labels = latents(vae, data, parts_of(data), most=2000)
        return partial(_in_figure, plots.latent_scatter, mean, labels, classes=data.classes)
    samples = vae.sample(25, seed=0).cpu()
    return partial(_in_figure, plots.samples, samples, value_range=limits)


def _in_figure(plot: Callable, *args: object, **kwargs: object) -> object:
    *arrays, figure = args
    return plot(*arrays, figure=figure, **kwargs)


def manifold(vae: VAE, tiles: int = TILES) -> tuple[Tensor, Tensor]:
    """Decode a grid of evenly spaced percentiles of N(0, 1) in two latents.

    Returns:
        Images (tiles, tiles, *event_shape), and the coordinates (tiles,) of rows and columns.
    """
    z = plots.percentiles(tiles)
    grid = torch.stack(torch.meshgrid(z, z, indexing="xy"), dim=-1)
    with vae.evaluating():
        return vae.decode(grid.to(vae.device, vae.dtype)).mean.cpu(), z


def choose(data: Dataset, part: str | None = None) -> Part:
    """A part of the data: the one named, else test, or what there is.

    Raises:
        ValueError: if there is no part of that name.
    """
    if part is None:
        return parts_of(data)[0]
    if getattr(data, part) is None:
        raise ValueError(f"The data set {data.name} has no {part} part: choose another.")
    return getattr(data, part)


def parts_of(data: Dataset) -> list[Part]:
    """The parts that there are, what the model has seen least first."""
    return [part for part in (data.test, data.validation, data.train) if part is not None]


def head(vae: VAE, data: Dataset, n: int, part: str | None = None) -> Tensor:
    """The first data of a part in the likelihood's domain, at most n, on the VAE's device.

    Raises:
        ValueError: if n is below 1.
    """
    if n < 1:
        raise ValueError(f"n is {n}: ask for at least 1.")
    held = choose(data, part)
    return batches_for(vae, data, held, n).head(n)


def pairs(vae: VAE, data: Dataset, n: int, part: str | None = None) -> tuple[Tensor, Tensor]:
    """The two halves of the first n pairs of a part, or of as many as it has; one may meet itself.

    Raises:
        ValueError: if n is below 1.
    """
    x = head(vae, data, 2 * n, part)
    x = x if len(x) > 1 else x.expand(2, *x.shape[1:])
    return x[0 : len(x) // 2 * 2 : 2], x[1::2]


def latents(
    vae: VAE, data: Dataset, parts: Sequence[Part], most: int | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Posterior means and standard deviations of the data, and their labels.

    Args:
        vae: the VAE.
        data: the data set.
        parts: parts of it, one after another.
        most: take only the first so many.

    Returns:
        Mean and standard deviation, each (n, latent_dim), and labels (n,) or None, on the CPU.
    """
    means, stddevs, labels = [], [], []
    left = sum(map(len, parts)) if most is None else most
    with vae.evaluating():
        for part in parts:
            n = min(left, len(part))
            left -= n
            for x in batches_for(vae, data, part, BATCH).epoch(torch.arange(n)):
                q = vae.encode(x)
                means.append(q.mean.cpu())
                stddevs.append(q.stddev.cpu())
            labels.append(None if part.y is None else part.y[:n])
    y = None if any(label is None for label in labels) else torch.cat(labels)
    return torch.cat(means), torch.cat(stddevs), y


def value_range(vae: VAE, domain: Domain, value_range: tuple[float, float]) -> tuple[float, float]:
    """The values shown as black and white, for data of a domain and range."""
    if vae.likelihood.domain in ("binary", "unit interval"):
        return (0.0, 1.0)
    if vae.likelihood.domain == "reals" and domain in ("binary", "unit interval", "bytes"):
        return (0.0, 1.0)
    return tuple(value_range)
