"""The pictures of a trained VAE: from a model and data to the arrays that `pvae.plots` draws."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from pvae import plots
from pvae.data.batches import Batches
from pvae.data.dataset import Dataset, Part
from pvae.inference.runs import Run
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
    limits = value_range(vae, data)
    with torch.random.fork_rng(), vae.evaluating():
        torch.manual_seed(0)
        x = head(vae, data, 20)
        pairs = head(vae, data, 12)
        mean, stddev, labels = latents(vae, data, most=POINTS)
        pictures = {
            "reconstructions": plots.reconstructions(
                x.cpu(), vae.reconstruct(x).cpu(), value_range=limits
            ),
            "samples": plots.samples(vae.sample(64, seed=0).cpu(), value_range=limits),
            "interpolations": plots.interpolations(
                vae.interpolate(pairs[0::2], pairs[1::2]).cpu(), value_range=limits
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
    """Prior samples and reconstructions at a few epochs in a row, and as a GIF."""
    snapshots = run.snapshots
    if len(snapshots) < 2:
        return []
    draws, titles = [], []
    now = {name: w.clone() for name, w in vae.state_dict().items()}
    for epoch in snapshots:
        run.restore(vae, snapshots[epoch])
        draws.append(_snapshot(vae, data))
        titles.append(f"epoch {epoch}")
    vae.load_state_dict(now)
    row = [round(i * (len(draws) - 1) / (EPOCHS - 1)) for i in range(EPOCHS)]
    row = sorted(set(row))
    figure = plots.side_by_side([draws[i] for i in row], [titles[i] for i in row])
    paths = [run.figures / "epochs.png", run.figures / "training.gif"]
    plots.save(figure, paths[0])
    plots.animate(draws, titles, paths[1])
    return paths


def _snapshot(vae: VAE, data: Dataset) -> Callable:
    """What is drawn of one epoch: the latent scatter for two latents, else prior samples."""
    limits = value_range(vae, data)
    if vae.prior().event_shape == (2,):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            mean, _, labels = latents(vae, data, most=1000)
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
    device = next(vae.parameters()).device
    grid = torch.stack(torch.meshgrid(z, z, indexing="xy"), dim=-1)
    with vae.evaluating():
        return vae.decode(grid.to(device)).mean.cpu(), z


def choose(data: Dataset, part: str | None = None) -> Part:
    """A part of the data: the one named, else test, or what there is.

    Raises:
        ValueError: if there is no part of that name.
    """
    for name in [part] if part else ["test", "validation", "train"]:
        if getattr(data, name) is not None:
            return getattr(data, name)
    raise ValueError(f"The data set {data.name} has no {part} part.")


def head(vae: VAE, data: Dataset, n: int, part: str | None = None) -> Tensor:
    """The first data of a part in the likelihood's domain, at most n, on the VAE's device.

    Raises:
        ValueError: if n is below 1.
    """
    if n < 1:
        raise ValueError(f"n is {n}: ask for at least 1.")
    held = choose(data, part)
    device = next(vae.parameters()).device
    batches = Batches(data, held, vae.likelihood.domain, min(n, len(held)), device)
    return batches.head(min(n, len(held)))


def latents(
    vae: VAE, data: Dataset, part: str | None = None, most: int | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Posterior means and standard deviations of a part of the data, and its labels.

    Args:
        vae: the VAE.
        data: the data.
        part: its part.
        most: take only the first so many.

    Returns:
        Mean and standard deviation, each (n, latent_dim), and labels (n,) or None, on the CPU.
    """
    held = choose(data, part)
    n = len(held) if most is None else min(most, len(held))
    device = next(vae.parameters()).device
    batches = Batches(data, held, vae.likelihood.domain, min(BATCH, n), device)
    with vae.evaluating():
        qs = [vae.encode(x) for x in batches.epoch(torch.arange(n))]
        mean = torch.cat([q.mean.cpu() for q in qs])
        stddev = torch.cat([q.stddev.cpu() for q in qs])
    return mean, stddev, None if held.y is None else held.y[:n]


def value_range(vae: VAE, data: Dataset | None) -> tuple[float, float]:
    """The values shown as black and white."""
    if vae.likelihood.domain in ("binary", "unit interval") or data is None:
        return (0.0, 1.0)
    if vae.likelihood.domain == "reals" and data.domain != "reals":
        return (0.0, 1.0)
    return data.value_range
