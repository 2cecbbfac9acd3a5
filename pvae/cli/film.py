"""Pictures of a VAE over its training: a film, and a row of its beginning, middle and end."""

from collections.abc import Callable, Sequence
from functools import partial
from math import ceil
from pathlib import Path

import torch
from matplotlib.figure import SubFigure
from torch import Tensor

from pvae import plots
from pvae.cli import gallery
from pvae.cli.colours import add_title, coloured
from pvae.data.dataset import Dataset
from pvae.data.domains import picture_range
from pvae.plots.style import Canvas
from pvae.seeds import seeded
from pvae.training.checkpoint import weights_of
from pvae.training.runs import Run
from pvae.vae import VAE

POINTS = 2000  # posterior means in a map
EMBEDDED = 300  # of these, how many t-SNE maps at three moments
RECONSTRUCTED = 6  # inputs
DRAWN = 30  # prior samples
LEAST = 10  # posterior means, below which t-SNE has too little to arrange
TILES = 15  # along each side of the manifold: more would make the film larger than 3 MB
SECONDS = 0.25  # of a frame
MOST_FRAMES = 16  # of more than two latents, whose frames take longer to plot


class TooShort(ValueError):
    """A run has fewer than two moments to show."""


def plot(run: Run, vae: VAE, data: Dataset, folder: Path | None = None) -> list[Path]:
    """Plot a VAE over its training as ``epochs.png`` and ``training.gif``.

    With two latents these are the posterior means and the manifold. With more they are a map of the
    means (t-SNE in the row; in the film the principal components of the last means, since it costs
    less and moves smoothly), reconstructions of the same inputs, and in the film samples from the
    same noise. With one latent there is no map.

    Args:
        run: the run; its snapshots are plotted.
        vae: its VAE, which has the same weights afterwards.
        data: the data to reconstruct and encode.
        folder: where to save them; the run's figures if ``None``.

    Returns:
        The paths of the pictures.

    Raises:
        TooShort: if the run kept no snapshots.
        ValueError: if its data cannot be plotted.
    """
    folder = run.figures if folder is None else folder
    now = weights_of(vae)
    try:
        with vae.evaluating():
            moments = Moments(run, vae, data)
            row, film = folder / "epochs.png", folder / "training.gif"
            pictured = _row(moments)
            if moments.latents > 1:
                add_title(pictured, moments.colours)
            plots.save(pictured, row)
            plots.animate(
                *_frames(moments),
                film,
                seconds_per_frame=SECONDS,
                aspect=2 if moments.latents > 1 else 1,
            )
    finally:
        vae.load_state_dict(now)
    return [row, film]


class Moments:
    """A VAE at the moments of its training that have a snapshot, and at the end.

    Args:
        run: the run.
        vae: its VAE.
        data: the data to reconstruct and encode.

    Raises:
        TooShort: if there are not two of them.
    """

    def __init__(self, run: Run, vae: VAE, data: Dataset) -> None:
        self.run, self.vae, self.data = run, vae, data
        rows = run.history.rows
        last = run.info.get("step", rows[-1]["step"] if rows else 0)
        # A run that failed may have snapshots after its last good state.
        weights = {step: name for step, name in run.snapshots.items() if step < last}
        weights[last] = "last.safetensors"
        if len(weights) < 2:
            raise TooShort(
                f"{run.path} has no snapshots of its weights over training: it was trained with "
                "snapshots false, by an earlier version, or its weights are above 128 MiB."
            )
        self.files = [*weights.values()]
        self.steps = [*weights]
        self.titles = [_title(step, rows[0]["step"] if rows else None) for step in weights]
        self.limits = picture_range(vae.likelihood, data.domain, data.value_range)
        with seeded(0, vae.device):
            self.x, self.y = gallery.head(vae, data, RECONSTRUCTED)
            self.parts, self.labels, self.classes, self.colours = coloured(vae, data, POINTS)
        self._encoded: dict[int, Tensor] = {}
        self.latents = self.means([0]).shape[2]

    def few(self) -> list[int]:
        """The first moment, one at about two thirds of the logarithm of time, and the last."""
        early = (self.steps[-1] + 1) ** (2 / 3)
        nearest = min(range(len(self.steps)), key=lambda i: abs(self.steps[i] - early))
        return sorted({0, nearest, len(self.steps) - 1})

    def _at(self, i: int) -> VAE:
        return self.run.restore(self.vae, self.files[i])

    def means(self, moments: Sequence[int]) -> Tensor:
        """The posterior means of the same data at some moments, shape (moments, n, latents)."""
        for i in moments:
            if i not in self._encoded:
                with seeded(0, self.vae.device):  # the same binarization at every moment
                    mean, *_ = gallery.latents(self._at(i), self.data, self.parts, most=POINTS)
                self._encoded[i] = mean.flatten(1)
        return torch.stack([self._encoded[i] for i in moments])

    # Each plots one moment into a figure. What it shows is computed when it is drawn, since the
    # images of all moments may be more than fits into memory.

    def plane(self, i: int, figure: SubFigure) -> None:
        """The posterior means of two latents beside the manifold."""
        (mean,) = self.means([i])
        images, z = gallery.manifold(self._at(i), self.data, TILES)
        plots.latent_plane(
            mean,
            images,
            z,
            self.labels,
            classes=self.classes,
            value_range=self.limits,
            figure=figure,
        )

    def manifold(self, i: int, figure: SubFigure) -> None:
        """The manifold of two latents."""
        images, z = gallery.manifold(self._at(i), self.data, TILES)
        plots.manifold(images, z, value_range=self.limits, figure=figure)

    def reconstructions(self, i: int, figure: SubFigure) -> None:
        """The same inputs and their reconstructions."""
        with seeded(0, self.vae.device):
            x_mean = self._at(i).reconstruct(self.x, self.y).cpu()
        plots.reconstructions(self.x.cpu(), x_mean, value_range=self.limits, figure=figure)

    def decoded(self, i: int, figure: SubFigure) -> None:
        """Reconstructions of the same inputs over prior samples from the same noise."""
        (above,), (below,) = figure.subfigures(2, 1, squeeze=False, height_ratios=[2, 5])
        self.reconstructions(i, above)
        drawn = gallery.drawn(self.vae, self.data, DRAWN)
        plots.samples(**drawn, value_range=self.limits, figure=below)
        below.supylabel("prior samples", fontsize="small")


def _row(moments: Moments) -> Canvas:
    """The first moment, an early one and the last in a row."""
    few = moments.few()
    titles = ["before training", *[moments.titles[i] for i in few[1:]]]
    if moments.latents < 2:
        return plots.side_by_side([partial(moments.decoded, i) for i in few], titles)
    if moments.latents == 2:
        manifolds = [partial(moments.manifold, i) for i in few]
        names = ("$z_1$", "$z_2$")
        return plots.over_training(
            moments.means(few),
            manifolds,
            titles,
            moments.labels,
            moments.classes,
            axis_labels=names,
        )
    means = moments.means(few)[:, :EMBEDDED]
    n = means.shape[1]
    maps = plots.tsne_maps(means) if n >= LEAST else plots.pca_maps(means)
    what = "t-SNE" if n >= LEAST else "principal components"
    labels = None if moments.labels is None else moments.labels[:EMBEDDED]
    reconstructions = [partial(moments.reconstructions, i) for i in few]
    return plots.over_training(
        maps,
        reconstructions,
        titles,
        labels,
        moments.classes,
        map_label=f"{what} of {n} means",
        aspect=2.7,
    )


def _frames(moments: Moments) -> tuple[list[Callable[[SubFigure], None]], list[str]]:
    """The pictures of the film, and their titles."""
    every = range(len(moments.steps))
    of_maps = [", ".join(filter(None, (title, moments.colours))) for title in moments.titles]
    if moments.latents == 2:
        return [partial(moments.plane, i) for i in every], of_maps
    last = every[-1]
    shown = sorted({round(i * last / (MOST_FRAMES - 1)) for i in range(MOST_FRAMES)})
    decoded: list[Callable[[SubFigure], None]] = [partial(moments.decoded, i) for i in shown]
    if moments.latents < 2:
        return decoded, [moments.titles[i] for i in shown]
    means = moments.means(shown)
    maps = plots.frames(
        plots.pca_maps(means),
        decoded,
        moments.labels,
        moments.classes,
        map_label=f"principal components of {means.shape[1]:,} means",
    )
    return maps, [of_maps[i] for i in shown]


def _title(step: int, steps_per_epoch: int | None) -> str:
    if steps_per_epoch is None or step == 0:
        return f"step {step:,}"
    return f"step {step:,}, epoch {ceil(step / steps_per_epoch):,}"
