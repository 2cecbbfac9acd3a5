"""Loading data by name, from a folder or a file, or by value as a `pvae.data.Dataset`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from torch import Tensor
from torch.utils import data as torch_data

from pvae.checks import check_flag, is_whole
from pvae.data.arrays import Arrays, as_items, from_arrays
from pvae.data.dataset import Dataset
from pvae.data.domains import Binarization
from pvae.data.files import read_file
from pvae.data.image_folder import read_folder
from pvae.data.images import Channels
from pvae.data.labels import Labels
from pvae.data.named import NAMES, read_named
from pvae.data.splits import split
from pvae.data.torch_dataset import read_items
from pvae.messages import brief, shorten

_VALIDATION = 1000  # items of the validation part of torchvision's data sets, if a tenth is more
_MOST_PIXELS = 2**26  # of one image, about what Pillow considers safe to decode

_NAMED = "a data set by name"
_FOLDER = "a folder of images"
_FILE = "a file of arrays"
_ARRAY = "an array"
_ITEMS = "a data set of torch"
_LOADED = "a data set that is loaded already"

_PARTS = {"validation", "test", "binarization", "event_shape", "labelled"}
_PICTURES = _PARTS | {"size", "crop", "channels"}
_APPLICABLE = {
    _NAMED: _PICTURES | {"root"},
    _FOLDER: _PICTURES | {"skip_broken"},
    _FILE: _PARTS | {"labels", "key"},
    _ARRAY: _PARTS | {"labels"},
    _ITEMS: _PICTURES,
    _LOADED: set(),
}


def load(
    data: str | Path | np.ndarray | Tensor | torch_data.Dataset[Any] | Dataset = "digits",
    *,
    labels: Labels | str | Path | None = None,
    size: int | Sequence[int] | None = None,
    crop: bool = False,
    channels: Channels | None = None,
    event_shape: Sequence[int] | None = None,
    key: str | None = None,
    validation: int | float | None = None,
    test: int | float | None = None,
    binarization: Binarization = "dynamic",
    skip_broken: bool = False,
    root: str | Path | None = None,
    labelled: int | None = None,
    labelled_seed: int = 0,
) -> Dataset:
    """Load data and split them in parts.

    Args:
        data: what to load:

            - a name: ``digits`` (8 by 8 pixels of 17 levels, no download), ``shapes`` (32 by 32
              binary pixels, no download, see `pvae.data.shapes`), ``tree`` (vectors on a tree, no
              download, see `pvae.data.tree`), ``seasonal`` (series of 24 steps of 3 values, no
              download, see `pvae.data.seasonal`), ``mnist``, ``fashion-mnist``, ``kmnist``,
              ``emnist`` (its balanced classes), ``omniglot`` (the background alphabets to train on,
              the evaluation alphabets to test on, bright strokes, 28 by 28), ``cifar10``,
              ``svhn``, ``celeba`` (64 by 64, decoded on each read);
            - the path of a folder of images, whose folders are classes, or else parts if they are
              named ``train``, ``val`` and ``test``, see `pvae.data.image_folder.read_folder`;
            - the path of an ``.npy``, ``.npz``, ``.pt`` or ``.csv`` file, see
              `pvae.data.files.read_file` and `pvae.data.tables.read_table`;
            - an array or a tensor of one of the shapes of `pvae.data.arrays.as_items`;
            - a map-style data set of torch, whose items are x or (x, label);
            - a data set that is loaded already, which is returned unchanged.

        labels: one whole number or string per item of an array or a file, or the path of an
            ``.npy``, ``.npz`` or ``.pt`` file that holds them; -1 or NaN for an unknown class.
        size: pixels to resize images to, as one number or as (height, width).
        crop: whether to keep the proportions of images and cut what exceeds ``size`` around the
            centre, rather than stretch them.
        channels: 1 for grey images or 3 for colours; by default those of the images.
        event_shape: shape of one item, if it differs from that of the data.
        key: the name of the data, if a file has several arrays.
        validation: number of items of the validation part, or their fraction of the items outside
            the test part that the data come with; 0 for none. By default the part the data come
            with, else 0.1, but at most 1,000 items of torchvision's data sets.
        test: the same for the test part, by default 0.1 if the data come without one.
        binarization: how grey becomes binary under a binary likelihood: ``"dynamic"`` draws anew
            each time with the grey as the probability, ``"static"`` draws once, ``"threshold"``
            gives 1 above one half.
        skip_broken: whether to leave out images of a folder that cannot be read.
        root: folder that holds torchvision's data sets, or where to download them; by default the
            environment variable ``PVAE_DATA``, else a folder ``pvae`` in the user's cache.
        labelled: number of labels of the train part to keep, balanced over classes; all others
            outside the test part become unknown. By default all are kept.
        labelled_seed: of the choice of those labels.

    Returns:
        The data set. Its parts do not depend on the seed of a training run.

    Raises:
        FileNotFoundError: if there is no such path, or a named data set is absent and cannot be
            downloaded.
        TypeError: if ``data`` is not one of the above.
        ValueError: if the data or an argument are invalid, or an argument does not apply to such
            data.

    Example:
        >>> import pvae.data
        >>> pvae.data.load("digits").validation
        Part(180 items of shape (1, 8, 8) with labels)
    """
    kind = _kind(data)
    check_flag("crop", crop)
    check_flag("skip_broken", skip_broken)
    given = {
        "labels": labels is not None,
        "size": size is not None,
        "crop": crop,
        "channels": channels is not None,
        "event_shape": event_shape is not None,
        "key": key is not None,
        "validation": validation is not None,
        "test": test is not None,
        "binarization": binarization != "dynamic",
        "skip_broken": skip_broken,
        "root": root is not None,
        "labelled": labelled is not None,
    }
    for name, is_given in given.items():
        if is_given and name not in _APPLICABLE[kind]:
            raise ValueError(f"{name} does not apply to {kind}; leave it out.")
    if isinstance(data, Dataset):
        return data
    source: Any = data  # of the type that its kind has

    if binarization not in get_args(Binarization):
        raise ValueError(
            f"binarization={binarization!r} is not possible; expected one of "
            f"{', '.join(get_args(Binarization))}."
        )
    if channels not in (None, *get_args(Channels)):
        raise ValueError(
            f"channels={channels!r} is not possible; expected 1 (grey) or 3 (colours)."
        )
    if crop and size is None:
        raise ValueError("crop=True needs a size to crop to; pass it, such as size=64.")
    pixels = _lengths("size", [size, size] if is_whole(size) else size)
    if pixels is not None and len(pixels) != 2:
        raise ValueError(f"size={size} is not possible; expected one number or (height, width).")
    if pixels is not None and pixels[0] * pixels[1] > _MOST_PIXELS:
        raise ValueError(f"size={size} is not possible; {_MOST_PIXELS:,} pixels are the most.")
    shape = _lengths("event_shape", event_shape)

    if kind == _NAMED:
        dataset = _reshape(read_named(source, root, pixels, crop, channels), shape)
    elif kind == _FOLDER:
        dataset = _reshape(read_folder(_path(source), pixels, crop, channels, skip_broken), shape)
    elif kind == _FILE:
        path = _path(source)
        dataset = from_arrays(path.stem, _with_labels(read_file(path, key), labels), shape)
    elif kind == _ARRAY:
        dataset = from_arrays("array", _with_labels({"train": Arrays(source)}, labels), shape)
    else:
        dataset = read_items(source, pixels, crop, channels, shape)

    cut = validation
    if cut is None and kind == _NAMED and dataset.test is not None and dataset.validation is None:
        cut = min(_VALIDATION, round(0.1 * len(dataset.train)))
    dataset = split(dataset, cut, test)
    if labelled is not None:
        dataset = dataset.with_labelled(labelled, labelled_seed)
    by_value = kind in (_ARRAY, _ITEMS) or not isinstance(labels, (str, Path, type(None)))
    return replace(
        dataset,
        binarization=binarization,
        arguments={
            "data": None if by_value else source if kind == _NAMED else str(_path(source)),
            "labels": str(_path(Path(labels))) if isinstance(labels, (str, Path)) else None,
            "size": None if pixels is None else list(pixels),
            "crop": crop,
            "channels": _plain(channels),
            "event_shape": None if shape is None else list(shape),
            "key": key,
            "validation": _plain(validation),
            "test": _plain(test),
            "binarization": binarization,
            "skip_broken": skip_broken,
            "root": None if root is None else str(Path(root).expanduser().absolute()),
            "labelled": _plain(labelled),
            "labelled_seed": _plain(labelled_seed),
        },
    )


def _kind(data: Any) -> str:
    if isinstance(data, Dataset):
        return _LOADED
    if isinstance(data, str) and data in NAMES:
        return _NAMED
    if isinstance(data, (str, Path)):
        return _FOLDER if _path(data).is_dir() else _FILE
    if isinstance(data, (np.ndarray, Tensor)):
        return _ARRAY
    if isinstance(data, torch_data.Dataset):
        return _ITEMS
    if hasattr(data, "toarray"):
        raise TypeError(
            f"The data are a sparse {type(data).__name__}, which is not supported: make it dense "
            f"by .toarray()."
        )
    raise TypeError(
        f"The data are a {type(data).__name__}; expected a name, a path, an array, a tensor or a "
        f"map-style data set of torch."
    )


def _path(data: str | Path) -> Path:
    try:
        path = Path(data).expanduser().absolute()
        if data != "" and path.exists():
            return path
    except (OSError, ValueError, RuntimeError) as error:  # such as too long, or an unknown user
        raise ValueError(
            f"{shorten(str(data), 80)} is not the path of a file or folder: {brief(error)}."
        ) from error
    if isinstance(data, Path) or path.suffix or data.startswith(("~", ".")) or "/" in data:
        raise FileNotFoundError(f"There is no file or folder {brief(path)}; correct the path.")
    close = difflib.get_close_matches(data.lower(), NAMES, n=1)
    raise ValueError(
        f"{shorten(data, 80)!r} is neither the path of a file or folder nor the name of a data set"
        f"{f' (did you mean {close[0]!r}?)' if close else ''}; the names are {', '.join(NAMES)}."
    )


def _lengths(name: str, value: int | Sequence[int] | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    if not isinstance(value, Sequence) or not all(
        is_whole(length) and length >= 1 for length in value
    ):
        raise ValueError(f"{name}={value!r} is not possible; expected whole numbers from 1.")
    return tuple(int(length) for length in value)


def _plain(number: int | float | None) -> int | float | None:
    return number.item() if isinstance(number, np.generic) else number


def _reshape(dataset: Dataset, event_shape: tuple[int, ...] | None) -> Dataset:
    if event_shape in (None, dataset.event_shape):
        return dataset
    parts = {}
    for name in ("train", "validation", "test"):
        part = getattr(dataset, name)
        if part is None or part.event_shape == event_shape:
            continue
        if not isinstance(part.x, Tensor):
            raise ValueError(
                f"event_shape does not apply to {dataset.name}, whose images are decoded as they "
                f"are drawn; leave it out."
            )
        parts[name] = replace(part, x=as_items(part.x, event_shape))
    return replace(dataset, **parts)


def _with_labels(parts: dict[str, Arrays], labels: Labels | str | Path | None) -> dict[str, Arrays]:
    if labels is None:
        return parts
    if len(parts) > 1:
        raise ValueError(
            "labels cannot be assigned to data that come in parts; leave them out, or put "
            "y_train and y_test in the file."
        )
    if isinstance(labels, (str, Path)):
        labels = read_file(_path(Path(labels)))["train"].x
    return {"train": parts["train"]._replace(y=labels)}
