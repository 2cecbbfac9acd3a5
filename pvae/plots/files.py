"""Saving figures to files."""

import io
import os
from pathlib import Path

from matplotlib.figure import FigureBase

from pvae.plots.style import SAVE_DPI, Canvas, style
from pvae.storage.files import write

# Time stamps are left out, so that equal figures give equal files.
_METADATA = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}


def save(figure: Canvas, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, PDF or SVG, by the suffix of the path.

    The file appears, or replaces an earlier one, only when it is complete.

    Args:
        figure: the figure; of a subfigure, the figure it is part of.
        path: where to, with suffix ``.png``, ``.pdf`` or ``.svg``; its folder is made if need be.

    Raises:
        ValueError: if the suffix is another.
        OSError: if the file cannot be written.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from pvae import plots
        >>> figure = plots.samples(torch.rand(64, 1, 28, 28))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plots.save(figure, f"{folder}/samples.png")
    """
    if not isinstance(figure, FigureBase):
        raise TypeError(f"figure must be a figure, but it is of type {type(figure).__name__}.")
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be the path of a file, but it is of {type(path).__name__}.")
    path = Path(path)
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in _METADATA:
        raise ValueError(f"A figure is saved as .png, .pdf or .svg, but the path is {path}.")
    buffer = io.BytesIO()
    with style():
        figure.figure.savefig(buffer, format=suffix, dpi=SAVE_DPI, metadata=_METADATA[suffix])
    write(path, buffer.getvalue())
