"""Several plots side by side in one figure, or as the frames of an animation."""

import io
import os
from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import SubFigure
from PIL import Image

from pvae.plots.cells import wrapped
from pvae.plots.style import WIDTH, Canvas, canvas, inches, style
from pvae.storage.files import write

_MOST_COLUMNS = 4
_TITLE = 0.25  # inches
_FRAME_HEIGHT = 5.0  # inches
_TINT = 16  # a pixel whose channels differ by no more is grey
_NEAR = 8  # colours whose channels fall into the same steps of this size are shown as one
_LAST_FRAMES = 3  # how many frames' time the last one is shown, but at least
_LAST_SECONDS = 2.0
_MOST_BYTES = 1_500_000
# Greys and colours, as many as make a film of at most so many bytes.
_PALETTES = ((64, 160), (32, 160), (16, 160), (8, 56), (4, 28))


@style()
def side_by_side(
    pictures: Sequence[Callable[[SubFigure], Any]],
    titles: Sequence[str],
    *,
    aspect: float = 1.0,
    figure: Canvas | None = None,
) -> Canvas:
    """Place several pictures side by side, each under its title, at most four in a row.

    Titles that are wider than their pictures have several lines.

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
    width = (WIDTH if figure is None else inches(figure)[0]) / columns
    titles = [wrapped(title, 0.85 * width) for title in titles]
    titled = _TITLE * (1 + max(title.count("\n") for title in titles))
    figure = canvas(figure, WIDTH, rows * (WIDTH / columns / aspect + titled))
    heights = [titled, max(inches(figure)[1] / rows - titled, _TITLE)]
    parts = figure.subfigures(rows, columns, squeeze=False).flat
    for part, plot, title in zip(parts, pictures, titles, strict=False):
        # A title of the picture itself would take as much space as it needs, more than others.
        (above,), (below,) = part.subfigures(2, 1, squeeze=False, height_ratios=heights)
        above.text(0.5, 0.1, title, ha="center", va="bottom", fontsize=rcParams["figure.titlesize"])
        plot(below)
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

    The last frame is shown three times as long as the others, and at least two seconds. A film
    above 1.5 MB is written in fewer greys, and if that is not enough in fewer colours.
    The file appears, or replaces an earlier one, only when it is complete.

    Args:
        pictures: for each of two or more frames a function that plots it into the subfigure it is
            given.
        titles: the title of each.
        path: where to, with suffix ``.gif``; its folder is made if need be.
        seconds_per_frame: how long a frame is shown.
        aspect: width over height of each picture: about 1 of most, 2 of :func:`latent_plane`.

    Raises:
        ValueError: if there are fewer than two frames, the numbers of pictures and titles differ,
            the suffix is another, or ``seconds_per_frame`` or ``aspect`` is not positive.
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
    if len(pictures) < 2:
        raise ValueError(
            "A film needs at least 2 frames, but there is one picture: plot it into a figure, and "
            "save that as .png."
        )
    path = Path(path)
    if path.suffix.lower() != ".gif":
        raise ValueError(f"An animation is saved as .gif, but the path is {path}.")
    # A GIF counts in hundredths of a second, and browsers slow down what is below two.
    if not seconds_per_frame >= 0.02:
        raise ValueError(f"seconds_per_frame must be at least 0.02, but it is {seconds_per_frame}.")
    frames = [_frame(plot, title, aspect) for plot, title in zip(pictures, titles, strict=True)]
    film = np.stack(frames)
    for greys, colours in _PALETTES[:-1]:
        content = _as_gif(film, greys, colours, seconds_per_frame)
        if len(content) <= _MOST_BYTES:
            break
    else:
        content = _as_gif(film, *_PALETTES[-1], seconds_per_frame)
    write(path, content)


def _as_gif(film: np.ndarray, greys: int, colours: int, seconds_per_frame: float) -> bytes:
    """A looping GIF of frames ``(k, height, width, 3)`` in so many greys and colours."""
    first, *rest = _quantized(film, greys, colours)
    duration = 10 * round(100 * seconds_per_frame)
    last = max(_LAST_FRAMES * duration, round(1000 * _LAST_SECONDS))
    buffer = io.BytesIO()
    first.save(
        buffer,
        "GIF",
        save_all=True,
        append_images=rest,
        duration=[duration] * len(rest) + [last],
        loop=0,
    )
    return buffer.getvalue()


def _quantized(film: np.ndarray, greys: int, colours: int) -> list[Image.Image]:
    """The frames in one palette for all, so that unchanged parts do not flicker.

    Greys are apart, so that no grey picture is tinted and white stays white. The colours cover all
    that there are, however few pixels have them, so that classes can be told apart.
    """
    palette = np.repeat(np.linspace(0, 255, greys).round().astype(np.uint8), 3)
    indices = (film[..., 1] * ((greys - 1) / 255)).round().astype(np.uint8)
    coloured = film.max(-1) - film.min(-1) > _TINT
    if coloured.any():
        # One colour stands for those near it: quantizing a million takes many seconds.
        pixels = film[coloured]
        cells = (pixels // _NEAR).astype(np.int32) @ np.array([2**16, 2**8, 1], np.int32)
        _, first, cell = np.unique(cells, return_index=True, return_inverse=True)
        found = Image.fromarray(pixels[first][None]).quantize(colours, Image.Quantize.MAXCOVERAGE)
        palette = np.concatenate([palette, np.array(found.getpalette(), np.uint8)])
        indices[coloured] = greys + np.asarray(found)[0, cell]
    frames = [Image.fromarray(frame) for frame in indices]
    for frame in frames:
        frame.putpalette(palette.tolist())
    return frames


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
