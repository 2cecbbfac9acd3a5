"""Several plots side by side in one figure, or as the frames of an animation."""

import io
import os
from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import SubFigure
from PIL import Image

from pvae.plots.style import WIDTH, Canvas, canvas, style
from pvae.storage.files import write

_MOST_COLUMNS = 4
_TITLE = 0.25  # inches
_FRAME_HEIGHT = 5.0  # inches
_LAST_FRAMES = 3  # how many frames' time the last one is shown


@style()
def side_by_side(
    pictures: Sequence[Callable[[SubFigure], Any]],
    titles: Sequence[str],
    *,
    aspect: float = 1.0,
    figure: Canvas | None = None,
) -> Canvas:
    """Place several pictures side by side, each under its title, at most four in a row.

    Args:
        pictures: for each picture a function that plots it into the subfigure it is given.
        titles: the title of each.
        aspect: width over height of each picture, if the figure is a new one: about 1 of most, 2 of
            :func:`latent_plane`.
        figure: the figure or subfigure to plot into, by default a new one.

    Returns:
        The figure.

    Raises:
        ValueError: if there is nothing to plot, the numbers of pictures and titles differ, or
            ``aspect`` is not positive.

    Example:
        >>> import torch
        >>> from pvae import plots
        >>> x = {epoch: torch.rand(36, 1, 28, 28) for epoch in (1, 2, 4)}
        >>> figure = plots.side_by_side(
        ...     [lambda figure, x=x: plots.samples(x, figure=figure) for x in x.values()],
        ...     [f"epoch {epoch}" for epoch in x],
        ... )
    """
    _check(pictures, titles, aspect)
    rows = ceil(len(pictures) / _MOST_COLUMNS)
    columns = ceil(len(pictures) / rows)
    figure = canvas(figure, WIDTH, rows * (WIDTH / columns / aspect + _TITLE))
    parts = figure.subfigures(rows, columns, squeeze=False).flat
    for part, plot, title in zip(parts, pictures, titles, strict=False):
        plot(part)
        part.suptitle(title)
    return figure


def animate(
    pictures: Sequence[Callable[[SubFigure], Any]],
    titles: Sequence[str],
    path: str | os.PathLike[str],
    *,
    seconds_per_frame: float = 1.0,
    aspect: float = 1.0,
) -> None:
    """Write several pictures as the frames of a looping GIF, each under its title.

    The last frame is shown three times as long as the others. The file appears, or replaces an
    earlier one, only when it is complete.

    Args:
        pictures: for each frame a function that plots it into the subfigure it is given.
        titles: the title of each.
        path: where to, with suffix ``.gif``; its folder is made if need be.
        seconds_per_frame: how long a frame is shown.
        aspect: width over height of each picture: about 1 of most, 2 of :func:`latent_plane`.

    Raises:
        ValueError: if there is nothing to plot, the numbers of pictures and titles differ, the
            suffix is another, or ``seconds_per_frame`` or ``aspect`` is not positive.
        OSError: if the file cannot be written.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from pvae import plots
        >>> x = {epoch: torch.rand(36, 1, 28, 28) for epoch in (1, 2, 4)}
        >>> pictures = [lambda figure, x=x: plots.samples(x, figure=figure) for x in x.values()]
        >>> titles = [f"epoch {epoch}" for epoch in x]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plots.animate(pictures, titles, f"{folder}/samples.gif")
    """
    _check(pictures, titles, aspect)
    path = Path(path)
    if path.suffix.lower() != ".gif":
        raise ValueError(f"An animation is saved as .gif, but the path is {path}.")
    # A GIF counts in hundredths of a second, and browsers slow down what is below two.
    if not seconds_per_frame >= 0.02:
        raise ValueError(f"seconds_per_frame must be at least 0.02, but it is {seconds_per_frame}.")
    frames = [_frame(plot, title, aspect) for plot, title in zip(pictures, titles, strict=True)]
    # One palette for all frames, so that unchanged parts do not flicker; and one that covers all
    # colours, however few pixels have them, so that classes can be told apart.
    film = Image.fromarray(np.concatenate(frames)).quantize(method=Image.Quantize.MAXCOVERAGE)
    height, width, _ = frames[0].shape
    first, *rest = (
        film.crop((0, top, width, top + height)) for top in range(0, film.height, height)
    )
    duration = 10 * round(100 * seconds_per_frame)
    buffer = io.BytesIO()
    first.save(
        buffer,
        "GIF",
        save_all=True,
        append_images=rest,
        duration=[duration] * len(rest) + [_LAST_FRAMES * duration],
        loop=0,
    )
    write(path, buffer.getvalue())


def _frame(plot: Callable[[SubFigure], Any], title: str, aspect: float) -> np.ndarray:
    """The pixels of a frame, shape ``(height, width, 3)``."""
    width = min(WIDTH, _FRAME_HEIGHT * aspect)
    with style():
        figure = side_by_side([plot], [title], figure=canvas(None, width, width / aspect + _TITLE))
    agg = FigureCanvasAgg(figure)  # type: ignore[arg-type]  # `canvas` makes a whole figure
    agg.draw()
    return np.asarray(agg.buffer_rgba())[..., :3]


def _check(pictures: Sequence[object], titles: Sequence[str], aspect: float) -> None:
    for name, value in (("pictures", pictures), ("titles", titles)):
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise TypeError(f"{name} must be a list, but it is of type {type(value).__name__}.")
    if len(pictures) == 0:
        raise ValueError("There is nothing to plot: pictures is empty.")
    if len(pictures) != len(titles):
        raise ValueError(
            f"There must be a title for each picture, but there are {len(pictures)} pictures and "
            f"{len(titles)} titles."
        )
    if not aspect > 0:
        raise ValueError(f"aspect must be positive, but it is {aspect}.")
