"""The pictures of a trained VAE: computes the arrays and plots them by `pvae.plots`."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pvae import moments, plots
from pvae.cli import reports
from pvae.cli.colours import add_title, coloured, labels_of
from pvae.data.batches import batches_for
from pvae.data.dataset import Dataset
from pvae.data.domains import picture_range
from pvae.data.part import Part
from pvae.distributions import PoincareBall, TopDown
from pvae.evaluation.level_kl import kl_by_level, levels_of
from pvae.evaluation.predictive import predictive
from pvae.evaluation.summary import part_of
from pvae.labels import Labels
from pvae.plots.images import square
from pvae.plots.style import Canvas
from pvae.seeds import seeded
from pvae.training.runs import Run
from pvae.vae import VAE
from pvae.weights import over_weights

TILES = 20  # tiles along each side of the manifold
POINTS = 5000  # maximum number of posterior means in a scatter plot
ITEMS = 500  # data whose KL is averaged for each level
DRAWS = 12  # of the lower levels with the upper ones held
OF_A_CLASS = 8  # samples in a row
MOST_CLASSES = 16  # with rows of their own


def plot(
    run: Run, vae: VAE, data: Dataset, ellipses: bool = False, folder: Path | None = None
) -> list[Path]:
    """Plot every picture that applies to a run and its data.

    Args:
        run: the run; its history is plotted too.
        vae: its VAE.
        data: the data to reconstruct and encode.
        ellipses: whether two latents show each posterior as an ellipse.
        folder: where to save them; the run's figures if ``None``.

    Returns:
        The paths of the pictures.
    """
    folder = run.figures if folder is None else folder
    limits = picture_range(vae.likelihood, data.domain, data.value_range)
    with seeded(0, vae.device), vae.evaluating():
        x, y = head(vae, data, 20)
        parts, labels, classes, title = coloured(vae, data, POINTS)
        mean, stddev, _ = latents(vae, data, parts, most=POINTS)
        pictures = {
            "reconstructions": plots.reconstructions(
                x.cpu(), vae.reconstruct(x, y).cpu(), value_range=limits
            ),
            "samples": plots.samples(**drawn(vae, data, 64), value_range=limits),
            "interpolations": plots.interpolations(
                interpolate(vae, data, 6).cpu(), value_range=limits
            ),
        }
        if vae.weights is not None:
            pictures |= of_weights(vae, data, limits)
        scale = stddev if ellipses else None
        if mean.shape[1] == 2:
            pictures["latents"] = plots.latent_scatter(mean, labels, scale, classes)
            pictures["plane"] = plots.latent_plane(
                mean, *manifold(vae, data), labels, scale, classes, value_range=limits
            )
        elif mean.shape[1] > 2 and len(mean) >= 10:
            pictures["tsne"] = plots.tsne(mean, labels, classes)
        for name in pictures.keys() & {"latents", "plane", "tsne"}:
            add_title(pictures[name], title)
        pictures |= hierarchy(vae, data, limits)
    if found := reports.classes(vae, data, [*data.parts][-1]):
        pictures["reliability"] = plots.reliability(*found[3:])
    if run.history.rows:
        pictures["loss"] = plots.loss_curves(run.history)
    paths = []
    for name, figure in pictures.items():
        paths.append(folder / f"{name}.png")
        plots.save(figure, paths[-1])
    return paths


def hierarchy(vae: VAE, data: Dataset, limits: tuple[float, float] | None) -> dict[str, Canvas]:
    """The pictures of a hierarchy: the KL of its levels, and draws with upper levels held."""
    pictures: dict[str, Canvas] = {}
    if "prior" in vae.conditional:  # such a prior is of one level
        return pictures
    p = vae.p_z()
    if levels_of(p) == 1:
        return pictures
    x, y = head(vae, data, ITEMS)
    with suppress(ValueError):  # of a point mass, or a likelihood that is no density
        pictures["levels"] = plots.level_kl(kl_by_level(vae, x, y, progress=False).kl.cpu())
    if isinstance(p, TopDown):
        z = p.sample().expand(DRAWS, -1)
        rows = torch.cat([p.redraw(z, level) for level in range(1, levels_of(p))])
        y = None if y is None else y[:1].expand(len(rows), *y.shape[1:])
        decoded = moments.mean(vae.decode(rows, y)).cpu().unflatten(0, (-1, DRAWS))
        pictures["held"] = plots.redraws(decoded, value_range=limits)
    return pictures


def of_weights(vae: VAE, data: Dataset, limits: tuple[float, float] | None) -> dict[str, Any]:
    """Pictures of uncertain weights: deviations of each pixel, and samples of equal latents."""
    x, y = head(vae, data, 10)
    found = predictive(vae, x, y, progress=False)
    deviations = found.weights.sqrt(), (found.latents + found.noise).sqrt()
    shown = (tensor.cpu() for tensor in (x, found.mean, *deviations))
    with over_weights(vae, 5, seed=0) as draws:
        drawn = [samples(use(), data, 10) for use in draws]
    return {
        "uncertainty": plots.uncertainty_maps(*shown, value_range=limits),
        "weights": plots.samples_by_weights(torch.stack(drawn), value_range=limits),
    }


def samples(vae: VAE, data: Dataset, n: int, seed: int = 0, draw: bool = False) -> Tensor:
    """Sample from a VAE; from a conditional one, given the labels of the first data."""
    y, given = None, choose(data).y
    if vae.labels is not None and vae.labels.classes is not None:
        y = torch.arange(n) % vae.labels.classes
    elif vae.labels is not None and given is not None:
        y = given[torch.arange(n) % len(given)]
    return vae.sample(n, y, seed=seed, draw=draw).cpu()


def drawn(vae: VAE, data: Dataset, n: int) -> dict[str, Any]:
    """About n samples, as arguments of `plots.samples`: of a VAE with classes, rows of each."""
    if vae.labels is None or vae.labels.classes is None:
        columns = square(n, vae.event_shape)
        return {"x": samples(vae, data, n // columns * columns), "columns": columns}
    classes = vae.labels.classes
    shown = min(classes, MOST_CLASSES)
    rows = max(1, n // (OF_A_CLASS * classes))  # of each class
    y = torch.arange(shown).repeat_interleave(rows * OF_A_CLASS)
    return {
        "x": vae.sample(len(y), y, seed=0).cpu(),
        "labels": class_names(vae.labels, y),
        "columns": OF_A_CLASS,
        "title": f"the first {shown} of {classes:,} classes" if shown < classes else "",
    }


def columns_by_class(vae: VAE, classes: int, n: int) -> int:
    """How many of n samples are in a row of their picture, so that each row is of one class."""
    return max(1, min(square(n, vae.event_shape), n // classes))


def class_names(labels: Labels, y: Tensor) -> list[str]:
    """The names of classes, or their numbers where they have none."""
    names = labels.names or ()
    return [names[i] if i < len(names) else str(i) for i in y.tolist()]


def interpolate(vae: VAE, data: Dataset, n: int, part: str | None = None, **path: Any) -> Tensor:
    """Decode paths between the data of the first n pairs of a part, or as many as it has.

    A single datum is paired with itself. Further arguments are those of `VAE.interpolate`.

    Raises:
        ValueError: if n is below 1.
    """
    x, y = head(vae, data, 2 * n, part)
    first = slice(0, 2 * max(1, len(x) // 2), 2)
    second = slice(1, None, 2) if len(x) > 1 else slice(None)
    labels = (None, None) if y is None else (y[first], y[second])
    return vae.interpolate(x[first], x[second], **path, y=labels)


def manifold(vae: VAE, data: Dataset, tiles: int = TILES) -> tuple[Tensor, Tensor]:
    """Decode a grid of evenly spaced percentiles of N(0, 1) in two latents.

    A conditional VAE is given the label of the first datum throughout.

    Returns:
        Images (tiles, tiles, *event_shape), and the coordinates (tiles,) of rows and columns.
    """
    z = plots.percentiles(tiles)
    grid = torch.stack(torch.meshgrid(z, z, indexing="xy"), dim=-1).to(vae.device, vae.dtype)
    labels = choose(data).y
    unknown = vae.labels is None or vae.classifier is not None
    y = None if unknown or labels is None else labels[0]
    with vae.evaluating():
        support = vae.p_z(y if "prior" in vae.conditional else None).support
        if isinstance(support, PoincareBall):  # points beyond it are shown as those at its border
            grid = support.project(grid)
        p = vae.decode(grid, y)
        return moments.mean(p).cpu(), z


def choose(data: Dataset, part: str | None = None) -> Part:
    """Return a part of the data: the one named, else test, validation or train.

    Raises:
        ValueError: if there is no part of that name.
    """
    return part_of(data, [*data.parts][-1] if part is None else part)


def head(vae: VAE, data: Dataset, n: int, part: str | None = None) -> tuple[Tensor, Tensor | None]:
    """The first data of a part in the likelihood's domain, at most n, on the VAE's device.

    Returns:
        x, and their labels y, which are ``None`` unless the VAE is conditional.

    Raises:
        ValueError: if n is below 1.
    """
    if n < 1:
        raise ValueError(f"n is {n}: ask for at least 1.")
    held = choose(data, part)
    x, *y = batches_for(vae, data, held, n).first(n)
    return x, y[0] if y else None


def latents(
    vae: VAE, data: Dataset, parts: Sequence[Part], most: int | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Posterior means and standard deviations of the data, and their labels.

    Args:
        vae: the VAE.
        data: the data set.
        parts: parts of it, one after another.
        most: the maximum number of data.

    Returns:
        Mean and standard deviation, each (n, latent_dim), and labels (n,) or None, on the CPU.
    """
    means, stddevs = [], []
    left = sum(map(len, parts)) if most is None else most
    with vae.evaluating():
        for part in parts:
            n = min(left, len(part))
            if n == 0:
                break  # not every posterior takes an empty batch
            left -= n
            # If the posterior does not see labels, there may be other labels, or none.
            batches = batches_for(
                vae, data, part, labels=None if "posterior" in vae.conditional else False
            )
            for arguments in batches.arguments(torch.arange(n)):
                q = vae.encode(*arguments)
                means.append(moments.mean(q).cpu())
                stddevs.append(moments.stddev(q).cpu())
    return torch.cat(means), torch.cat(stddevs), labels_of(parts, most)
