"""Reading folders of images, decoded once into memory or each time they are read."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils import data as torch_data

from pvae.data.dataset import Dataset
from pvae.data.image_files import ImageFiles, opened, pixels, reason_of
from pvae.data.images import Channels, common_shape, is_grey, shape_of
from pvae.data.labels import encode
from pvae.data.part import Part
from pvae.data.workers import ignore_interrupts, worker_count
from pvae.progress_bar import bar

T = TypeVar("T")

RESIDENT_LIMIT = 2 * 2**30
"""Bytes of decoded images that are kept in memory; larger folders are decoded on each read."""

SUFFIXES = (
    ".bmp",
    ".gif",
    ".jpeg",
    ".jpg",
    ".pbm",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)
"""Suffixes of image files, in any case."""

# Supported formats. Pillow has others, some of which run programs, such as PostScript.
_PARTS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


def read_folder(
    folder: Path,
    size: tuple[int, int] | None = None,
    crop: bool = False,
    channels: Channels | None = None,
    skip_broken: bool = False,
) -> Dataset:
    """Read the images of a folder and of the folders in it, in the order of their paths.

    Hidden files are ignored. If every image lies in a folder of the folder, those are its classes;
    but if these are named ``train`` and ``test`` or ``val`` (``valid``, ``validation``), they are
    its parts, and the folders in them the classes.

    Args:
        folder: the folder of images.
        size: height and width to resize them to; needed if they differ.
        crop: whether to cut rather than stretch them to ``size``.
        channels: 1 for grey or 3 for colours; by default 1 if all images are grey.
        skip_broken: whether to leave out files that are not readable images.

    Returns:
        The parts that the folder has; all items in ``train`` if it has none.

    Raises:
        ValueError: if there are no images, if they differ in size and none is given, or if some
            cannot be read.
    """
    found = _find(folder)
    paths = [image.path for image in found]
    broken: dict[str, str] = {}
    if size is None or channels is None:
        heads = []
        for path, head, reason in _each(partial(_head, with_shape=size is None), paths):
            if head is None:
                broken[path] = reason
            else:
                heads.append(head)
        if heads:
            size = size or common_shape(shape for shape, _ in heads if shape is not None)
            channels = channels or (1 if all(grey for _, grey in heads) else 3)

    found = [image for image in found if image.path not in broken]
    x: Tensor | ImageFiles = torch.empty(0)  # if no image can be read, which is an error below
    # Both are known by now, unless no image could be read.
    if found and size is not None and channels is not None:
        x, unreadable = decode(ImageFiles([i.path for i in found], size, crop, channels))
        broken |= unreadable
        found = [image for image in found if image.path not in unreadable]
    if broken and not (skip_broken and found):
        first = min(broken)
        advice = "repair or remove them" + ("" if skip_broken else ", or pass skip_broken=True")
        raise ValueError(
            f"{len(broken):,} of {len(paths):,} images in {folder} cannot be read, the first of "
            f"them {first} ({broken[first]}); {advice}."
        )

    y, classes = None, None
    if all(image.label is not None for image in found):
        (y,), classes = encode([[image.label for image in found]])
    whole = Part(x, y, [image.path for image in found])
    parts: dict[str, Any] = {}
    for part in ("train", "validation", "test"):
        rows = [row for row, image in enumerate(found) if image.part == part]
        if rows:
            parts[part] = whole.subset(rows)
    if "train" not in parts:
        raise ValueError(f"No image in the train folder of {folder} can be read; repair them.")
    return Dataset(
        name=folder.name,
        domain="bytes",
        value_range=(0.0, 255.0),
        classes=classes,
        skipped=tuple(sorted(broken)),
        **parts,
    )


def decode(files: ImageFiles) -> tuple[Tensor | ImageFiles, dict[str, str]]:
    """Decode all images, and keep them in memory if they are smaller than `RESIDENT_LIMIT`.

    Args:
        files: the images.

    Returns:
        The readable images, as a ``uint8`` tensor of shape ``(N, C, H, W)`` or as files; and the
        paths of the others, each with the reason.
    """
    resident = math.prod(files.shape) <= RESIDENT_LIMIT
    x = torch.empty(files.shape if resident else 0, dtype=torch.uint8)
    decoded = partial(pixels, size=files.size, crop=files.crop, channels=files.channels)
    readable: list[int] = []
    broken: dict[str, str] = {}
    for row, (path, image, reason) in enumerate(_each(decoded, files.paths)):
        if image is None:
            broken[path] = reason
            continue
        if resident:
            x[len(readable)] = torch.from_numpy(image)
        readable.append(row)
    return x[: len(readable)] if resident else files.subset(readable), broken


class _Found(NamedTuple):
    path: str
    part: str
    label: str | None


def _find(folder: Path) -> list[_Found]:
    images: list[Path] = []
    seen: dict[tuple[int, int], str] = {}
    above = [os.stat(parent) for parent in folder.resolve().parents]
    for where, folders, names in os.walk(folder, followlinks=True):
        if any(os.path.samestat(os.stat(where), parent) for parent in above):
            raise ValueError(f"{where} leads to a folder around {folder}; remove the link.")
        _check_once(where, seen)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                path = Path(where, name)
                if path.exists():
                    _check_once(str(path), seen)
                images.append(path.relative_to(folder))
    if not images:
        raise ValueError(
            f"There are no images in {folder}; expected files whose names end in "
            f"{', '.join(SUFFIXES)}."
        )
    images.sort(key=lambda image: image.parts)
    tops = {image.parts[0] for image in images if len(image.parts) > 1}
    in_parts = "train" in tops and tops <= _PARTS.keys()
    for name in sorted(_PARTS.keys() - tops) if in_parts else ():
        if (folder / name).is_dir():
            raise ValueError(f"There are no images in {folder / name}; fill or remove that part.")
    if in_parts and any(len(image.parts) == 1 for image in images):
        raise ValueError(
            f"{folder} has images next to its folders {', '.join(sorted(tops))}; "
            f"move them into one of these."
        )
    found = []
    for image in images:
        part = _PARTS[image.parts[0]] if in_parts else "train"
        *folders, _ = image.parts[1:] if in_parts else image.parts
        found.append(_Found(str(folder / image), part, folders[0] if folders else None))
    return found


def _check_once(path: str, seen: dict[tuple[int, int], str]) -> None:
    """Raise if links lead to the same folder or file twice.

    A loop would not end, and a train item could be in the test part too.
    """
    found = os.stat(path)
    before = seen.setdefault((found.st_dev, found.st_ino), path)
    if before != path:
        raise ValueError(f"{path} and {before} are one and the same; remove the link.")


def _head(path: str, with_shape: bool) -> tuple[tuple[int, int] | None, bool]:
    with opened(path) as image:
        return shape_of(image) if with_shape else None, is_grey(image)


class _Attempts(torch_data.Dataset, Generic[T]):
    """The result of a function for each path, or its error."""

    def __init__(self, function: Callable[[str], T], paths: Sequence[str]) -> None:
        self.function = function
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[str, T | None, str]:
        path = self.paths[index]
        try:
            return path, self.function(path), ""
        except Exception as error:  # Pillow raises errors of many types
            return path, None, reason_of(error)


def _each(
    function: Callable[[str], T], paths: Sequence[str]
) -> Iterator[tuple[str, T | None, str]]:
    loader = torch_data.DataLoader(
        _Attempts(function, paths),
        batch_size=32,
        num_workers=worker_count(len(paths)),
        worker_init_fn=ignore_interrupts,
        collate_fn=list,
        generator=torch.Generator(),  # else the global one draws seeds for the workers
    )
    with bar(total=len(paths), desc="Reading images", delay=2, leave=False) as progress:
        for attempts in loader:
            yield from attempts
            progress.update(len(attempts))
