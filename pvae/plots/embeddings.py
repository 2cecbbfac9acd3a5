"""Maps of more than two latents in two dimensions, by t-SNE and by principal components."""

from collections.abc import Sequence

import numpy as np

from pvae.plots.arrays import Array, as_points, as_reals
from pvae.plots.classes import Classes
from pvae.plots.scatter import plot_points, show_square
from pvae.plots.style import Canvas, canvas, style

_MOST_POINTS = 2000
_LEAST_POINTS = 5
_ITERATIONS = 500  # after which maps of so few points change little


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
    n, _ = mean.shape
    _check_enough("mean", mean)
    members = Classes(n, labels, classes)
    shown = np.arange(n)
    if n > _MOST_POINTS:
        shown = np.random.default_rng(seed).choice(n, _MOST_POINTS, replace=False)
    if not np.ptp(mean[shown], axis=0).any():
        raise ValueError("All points of mean are the same: t-SNE has nothing to arrange.")
    points = _embed(mean[shown], "pca", seed)

    figure = canvas(figure, 5.5, 5.8 if members.names else 5.5)
    axes = figure.subplots()
    plot_points(axes, points, members.of_points[shown])
    show_square(axes, points.min(0), points.max(0))
    which = f"{n:,}" if len(shown) == n else f"a random {len(shown):,} of {n:,}"
    perplexity = _perplexity(len(shown))
    axes.set(xticks=[], yticks=[], title=f"t-SNE of {which} means, perplexity {perplexity:.3g}")
    axes.spines[:].set_visible(False)
    members.add_key(figure, [axes])
    return figure


def tsne_maps(means: Array, seed: int = 0) -> np.ndarray:
    """The t-SNE of the same data at several moments of training, aligned.

    The first map starts from the principal components, each later one from the map before it, and
    is then turned or mirrored to lie as near to that as it can (orthogonal Procrustes): so clusters
    stay about where they were and the eye can follow them. Means that are all the same are
    all mapped to the origin. Perplexity as in :func:`tsne`.

    Args:
        means: the mean of q(z|x) for each of n data at each of k moments, shape
            ``(k, n, latent_dim)``. The time is about proportional to k and n: 500 data suffice.
        seed: the same seed gives the same maps.

    Returns:
        The maps, shape ``(k, n, 2)``, for :func:`over_training`.

    Raises:
        TypeError: if ``means`` does not hold real numbers.
        ValueError: if it is empty, not finite or of another shape, or there are fewer than two
            latents or five points.

    Example:
        >>> import torch
        >>> from pvae import plots
        >>> plots.tsne_maps(torch.randn(2, 50, 16)).shape
        (2, 50, 2)
    """
    means = _as_moments(means)
    _check_enough("means", means)
    maps: list[np.ndarray] = []
    for mean in means:
        start = maps[-1] if maps and maps[-1].any() else "pca"
        spread = np.ptp(mean, axis=0).any()
        found = _embed(mean, start, seed) if spread else np.zeros((len(mean), 2))
        found = found - found.mean(0)
        if maps:
            u, _, v = np.linalg.svd(found.T @ maps[-1])
            found = found @ u @ v
        maps.append(found)
    return np.stack(maps)


def pca_maps(means: Array) -> np.ndarray:
    r"""The means at several moments of training, in the principal components of the last.

    With the first two right singular vectors :math:`v_1, v_2` of the centred last means, a mean
    :math:`\mu` lies at :math:`(v_1^\top(\mu - c),\, v_2^\top(\mu - c))`, where c is the average of
    the last means. One linear map for all moments: what moves in the picture has moved in latent
    space. Each component points to where its largest coefficient is positive.

    Args:
        means: the mean of q(z|x) for each of n data at each of k moments, shape
            ``(k, n, latent_dim)``.

    Returns:
        The maps, shape ``(k, n, 2)``, for :func:`frames` and :func:`over_training`.

    Raises:
        TypeError: if ``means`` does not hold real numbers.
        ValueError: if it is empty, not finite or of another shape, or there are fewer than two
            latents or points.

    Example:
        >>> import torch
        >>> from pvae import plots
        >>> plots.pca_maps(torch.randn(5, 100, 16)).shape
        (5, 100, 2)
    """
    means = _as_moments(means)
    if min(means.shape[1:]) < 2:
        raise ValueError(
            f"Two principal components need at least 2 points of at least 2 latents, but means has "
            f"shape {means.shape}."
        )
    centre, axes = principal_axes(means[-1])
    return (means - centre) @ axes.T


def principal_axes(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The average of points, and their first two principal axes, one a row.

    Each axis points to where its largest coefficient is positive.
    """
    centre = points.mean(0)
    axes = np.linalg.svd(points - centre, full_matrices=False)[2][:2]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], axis=1)
    return centre, axes * np.sign(largest)


def _as_moments(means: Array) -> np.ndarray:
    means = as_reals("means", means)
    if means.ndim != 3:
        raise ValueError(
            f"means must have shape (k, n, latent_dim), n means at k moments, but its shape is "
            f"{means.shape}."
        )
    return means


def _check_enough(name: str, mean: np.ndarray) -> None:
    *_, n, latent_dim = mean.shape
    if n < _LEAST_POINTS or latent_dim < 2:
        raise ValueError(
            f"t-SNE needs at least {_LEAST_POINTS} points of at least 2 latents, but {name} has "
            f"shape {mean.shape}."
        )


def _perplexity(n: int) -> float:
    return min(30.0, (n - 1) / 3)


def _embed(mean: np.ndarray, start: np.ndarray | str, seed: int) -> np.ndarray:
    """The t-SNE of points ``(n, latent_dim)``, started from another map of them or from "pca"."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if not isinstance(start, str):  # as small as scikit-learn makes its own
        start = start / start[:, 0].std() * 1e-4
    embedding = TSNE(
        perplexity=_perplexity(len(mean)), init=start, random_state=seed, max_iter=_ITERATIONS
    )
    # The parallel loops are so short that threads on shared cores mostly wait for each other.
    with threadpool_limits(1):
        return embedding.fit_transform(mean)
