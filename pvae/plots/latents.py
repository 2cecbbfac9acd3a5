"""Scatter plots of the posterior means of two latents."""

from collections.abc import Sequence

import numpy as np
from matplotlib.collections import EllipseCollection

from pvae.plots.arrays import Array, as_posteriors
from pvae.plots.classes import Classes
from pvae.plots.scatter import plot_outlines, plot_points, show_square, spread
from pvae.plots.style import Canvas, canvas, style


@style()
def latent_scatter(
    mean: Array,
    labels: Array | None = None,
    scale: Array | None = None,
    classes: Sequence[str] | None = None,
    *,
    figure: Canvas | None = None,
) -> Canvas:
    """The posterior means of two latents, coloured by class, both axes to the same scale.

    Means that coincide, such as those of data of one code, are spread over a disk around their
    place.

    Args:
        mean: the mean of q(z|x) for each datum, shape ``(n, 2)``.
        labels: the class of each datum, integers of shape ``(n,)``.
        scale: the standard deviations of q(z|x), shape ``(n, 2)``: an ellipse one standard
            deviation around each mean is then shown as well.
        classes: the name of class 0, 1, ...; by default each label is its own name.
        figure: the figure or subfigure to plot into, by default a new one.

    Returns:
        The figure.

    Raises:
        TypeError: if an array does not hold real numbers, or ``labels`` not integers.
        ValueError: if there are not two latents, an array is empty or not finite, their lengths
            differ, a scale is not positive, or a label has no name.

    Example:
        >>> import torch
        >>> from pvae import plots
        >>> mean, labels = torch.randn(500, 2), torch.randint(10, (500,))
        >>> figure = plots.latent_scatter(mean, labels, scale=torch.full((500, 2), 0.1))
    """
    mean, scale = as_posteriors(mean, scale)
    n = len(mean)
    if scale is None:
        mean = spread(mean)
    members = Classes(n, labels, classes)
    figure = canvas(figure, 5.5, 5.8 if members.names else 5.5)
    axes = figure.subplots()
    plot_points(axes, mean, members.of_points, small=scale is not None)
    if scale is None:
        show_square(axes, mean.min(0), mean.max(0))
    else:
        ellipses = EllipseCollection(
            2 * scale[:, 0],
            2 * scale[:, 1],
            np.zeros(n),
            units="xy",
            offsets=mean,
            offset_transform=axes.transData,
        )
        plot_outlines(axes, ellipses, members.of_points)
        show_square(axes, (mean - scale).min(0), (mean + scale).max(0))
    axes.set(xlabel="$z_1$", ylabel="$z_2$")
    members.add_key(figure, [axes])
    return figure
