"""Embeddings of more than two latents in two dimensions, by t-SNE."""

from collections.abc import Sequence

import numpy as np

from pvae.plots.arrays import Array, as_points
from pvae.plots.classes import Classes
from pvae.plots.scatter import plot_points, show_square
from pvae.plots.style import Canvas, canvas, style

_MOST_POINTS = 2000
_LEAST_POINTS = 5


@style()
def tsne(
    mean: Array,
    labels: Array | None = None,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    *,
    figure: Canvas | None = None,
) -> Canvas:
    """A t-SNE of the posterior means: neighbours in latent space are neighbours in the picture.

    Distances between far points, the sizes of clusters and the axes mean nothing. Of more than
    2,000 points a random 2,000 are shown, and the caption says so. The map starts from the
    principal components, with perplexity 30, less for fewer than 91 points (van der Maaten and
    Hinton 2008; Kobak and Berens 2019).

    Args:
        mean: the mean of q(z|x) for each datum, shape ``(n, latent_dim)``.
        labels: the class of each datum, integers of shape ``(n,)``.
        classes: the name of class 0, 1, ...; by default each label is its own name.
        seed: the same seed gives the same choice of points and the same picture.
        figure: the figure or subfigure to plot into, by default a new one.

    Returns:
        The figure.

    Raises:
        TypeError: if an array does not hold numbers, or ``labels`` not integers.
        ValueError: if there are fewer than two latents or five points, an array is empty or not
            finite, all points are the same, their lengths differ, or a label has no name.

    Example:
        >>> import torch
        >>> from pvae import plots
        >>> figure = plots.tsne(torch.randn(100, 16), torch.randint(10, (100,)))
    """
    mean = as_points("mean", mean)
    n, latent_dim = mean.shape
    if n < _LEAST_POINTS or latent_dim < 2:
        raise ValueError(
            f"t-SNE needs at least {_LEAST_POINTS} points of at least 2 latents, but mean has "
            f"shape {mean.shape}."
        )
    members = Classes(n, labels, classes)
    shown = np.arange(n)
    if n > _MOST_POINTS:
        shown = np.random.default_rng(seed).choice(n, _MOST_POINTS, replace=False)
    if not np.ptp(mean[shown], axis=0).any():
        raise ValueError("All points of mean are the same: t-SNE has nothing to arrange.")

    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(30.0, (len(shown) - 1) / 3)
    embedding = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    # The parallel loops are so short that threads on shared cores mostly wait for each other.
    with threadpool_limits(1):
        points = embedding.fit_transform(mean[shown])

    figure = canvas(figure, 5.5, 5.8 if members.names else 5.5)
    axes = figure.subplots()
    plot_points(axes, points, members.of_points[shown])
    show_square(axes, points.min(0), points.max(0))
    which = f"{n:,}" if len(shown) == n else f"a random {len(shown):,} of {n:,}"
    axes.set(xticks=[], yticks=[], title=f"t-SNE of {which} means, perplexity {perplexity:.3g}")
    axes.spines[:].set_visible(False)
    members.add_key(figure, [axes])
    return figure
