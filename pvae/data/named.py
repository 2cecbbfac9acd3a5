"""Data sets by name: four that need no download, and those that torchvision can download."""

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from pvae.data.dataset import Dataset
from pvae.data.image_files import ImageFiles
from pvae.data.image_folder import decode
from pvae.data.images import Channels, resize
from pvae.data.labels import encode
from pvae.data.part import Part
from pvae.data.seasonal import seasonal
from pvae.data.sprites import CLASSES, SIZE, shapes
from pvae.data.tree import DEPTH, levels_of, tree
from pvae.messages import brief

T = TypeVar("T")

NAMES = (
    "digits",
    "shapes",
    "tree",
    "seasonal",
    "mnist",
    "fashion-mnist",
    "kmnist",
    "emnist",
    "omniglot",
    "cifar10",
    "svhn",
    "celeba",
)
"""The names that `pvae.data.load` accepts."""

_DIGITS = tuple("0123456789")

_IDX = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

# The folder and files of each under torchvision's root.
_FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "mnist": ("MNIST/raw", _IDX),
    "fashion-mnist": ("FashionMNIST/raw", _IDX),
    "kmnist": ("KMNIST/raw", _IDX),
    "emnist": (
        "EMNIST/raw",
        ("emnist-balanced-{train,test}-{images-idx3,labels-idx1}-ubyte",),
    ),
    "omniglot": (
        "omniglot-py",
        ("images_background.zip", "images_evaluation.zip", "the folders in them"),
    ),
    "cifar10": (
        "cifar-10-batches-py",
        ("data_batch_1 to data_batch_5", "test_batch", "batches.meta"),
    ),
    "svhn": (".", ("train_32x32.mat", "test_32x32.mat")),
    "celeba": (
        "celeba",
        ("the four list_*.txt", "identity_CelebA.txt", "the folder img_align_celeba"),
    ),
}


def read_named(
    name: str,
    root: str | Path | None = None,
    size: tuple[int, int] | None = None,
    crop: bool = False,
    channels: Channels | None = None,
) -> Dataset:
    """Read a data set by name, and download it if necessary.

    Args:
        name: one of `NAMES`.
        root: the folder for torchvision's data sets; by default the environment
            variable ``PVAE_DATA``, else ``pvae`` in the user's cache folder.
        size: height and width of the images, if not the original; 28 by 28 for omniglot, 64 by 64
            for celeba by default. Shapes are drawn at the larger of the two.
        crop: whether to cut rather than stretch them to ``size``. Faces of celeba are always cut.
        channels: 1 for grey or 3 for colours, if not the original.

    Returns:
        The parts that the data set comes with; all items in ``train`` if it has none.

    Raises:
        FileNotFoundError: if the data are missing and cannot be downloaded.

    Example:
        >>> from pvae.data.named import read_named
        >>> read_named("digits").train
        Part(1,797 items of shape (1, 8, 8) with labels)
    """
    folder = _root(root)
    if name == "omniglot":
        return _omniglot(folder, size or (28, 28), crop, channels or 1)
    if name == "celeba":
        return _celeba(folder, size or (64, 64), channels or 3)
    if name == "tree":
        return _tree()
    if name == "seasonal":
        x = seasonal().x
        ends = float(x.min()), float(x.max())
        return Dataset(name="seasonal", train=Part(x), domain="reals", value_range=ends)
    if name == "shapes":
        dataset = _shapes(max(size or (SIZE,)))
    else:
        dataset = _digits() if name == "digits" else _fetch(name, folder, _RESIDENT[name])
    if size is not None or channels is not None:
        for part in (dataset.train, dataset.test):
            if part is not None and isinstance(part.x, Tensor):
                part.x = resize(part.x, size, crop, channels)
    return dataset


def _root(root: str | Path | None) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "pvae")
    return Path(root or os.environ.get("PVAE_DATA") or cache).expanduser().absolute()


def _fetch(name: str, root: Path, read: Callable[[Path, bool], T]) -> T:
    """Read from the root, or download the files there first."""
    with suppress(Exception):  # torchvision raises errors of many types for missing or cut files
        return read(root, False)
    try:
        root.mkdir(parents=True, exist_ok=True)
        # torchvision assumes that existing files are complete. So files are moved here only after
        # all have arrived.
        with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as arrived:
            read(Path(arrived), True)
            _move(Path(arrived), root)
        return read(root, False)
    except Exception as error:
        folder, files = _FILES[name]
        said = (str(error).strip() or type(error).__name__).splitlines()[-1]
        reason = brief(said.removeprefix("<urlopen error ").removesuffix(">"), 70)
        raise FileNotFoundError(
            f"The data set {name!r} could not be downloaded ({reason}): put {', '.join(files)} in "
            f"{root / folder}, or name a root that has them by root= or PVAE_DATA."
        ) from error


def _move(source: Path, target: Path) -> None:
    if source.is_dir() and target.is_dir():
        for child in sorted(source.iterdir()):
            _move(child, target / child.name)
    else:
        source.replace(target)


def _digits() -> Dataset:
    # The file that sklearn.datasets.load_digits reads: to import sklearn would take two seconds.
    found = find_spec("sklearn")
    (folder,) = (found and found.submodule_search_locations) or ("",)
    numbers = np.loadtxt(Path(folder, "datasets", "data", "digits.csv.gz"), np.uint8, delimiter=",")
    return Dataset(
        name="digits",
        train=Part(
            torch.from_numpy(numbers[:, :-1].reshape(-1, 1, 8, 8)),
            torch.from_numpy(numbers[:, -1].astype(np.int64)),
        ),
        domain="bytes",
        value_range=(0.0, 16.0),
        classes=_DIGITS,
    )


def _shapes(size: int) -> Dataset:
    images, factors, _ = shapes(size)
    return Dataset(
        name="shapes",
        train=Part(images, factors[:, 0]),
        domain="binary",
        value_range=(0.0, 1.0),
        classes=CLASSES,
    )


def _tree() -> Dataset:
    x, nodes, _ = tree()
    return Dataset(
        name="tree",
        train=Part(x, levels_of(nodes)),
        domain="reals",
        value_range=(float(x.min()), float(x.max())),
        classes=tuple(f"level {level}" for level in range(DEPTH + 1)),
    )


def _pictures(
    name: str,
    parts: Sequence[Part],
    classes: tuple[str, ...] | None,
    validation: Part | None = None,
) -> Dataset:
    train, test = parts
    return Dataset(
        name=name,
        train=train,
        test=test,
        domain="bytes",
        value_range=(0.0, 255.0),
        classes=classes,
        validation=validation,
    )


def _mnist(
    name: str, class_name: str, root: Path, download: bool, classes: tuple[str, ...] | None = None
) -> Dataset:
    from torchvision import datasets

    make = getattr(datasets, class_name)
    sets = [make(root, train=train, download=download) for train in (True, False)]
    parts = [Part(s.data.unsqueeze(1), s.targets) for s in sets]
    return _pictures(name, parts, classes or tuple(sets[0].classes))


def _emnist(root: Path, download: bool) -> Dataset:
    from torchvision import datasets

    sets = [
        datasets.EMNIST(root, split="balanced", train=train, download=download)
        for train in (True, False)
    ]
    # The files hold the images with rows and columns exchanged.
    parts = [Part(s.data.transpose(1, 2).unsqueeze(1).contiguous(), s.targets) for s in sets]
    return _pictures("emnist", parts, tuple(sets[0].classes))


def _cifar10(root: Path, download: bool) -> Dataset:
    from torchvision import datasets

    sets = [datasets.CIFAR10(root, train=train, download=download) for train in (True, False)]
    parts = [
        Part(torch.from_numpy(s.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(s.targets))
        for s in sets
    ]
    return _pictures("cifar10", parts, tuple(sets[0].classes))


def _svhn(root: Path, download: bool) -> Dataset:
    from torchvision import datasets

    sets = [datasets.SVHN(root, split=split, download=download) for split in ("train", "test")]
    parts = [
        Part(torch.from_numpy(np.ascontiguousarray(s.data)), torch.from_numpy(s.labels))
        for s in sets
    ]
    return _pictures("svhn", parts, _DIGITS)


_RESIDENT: dict[str, Callable[[Path, bool], Dataset]] = {
    "mnist": partial(_mnist, "mnist", "MNIST", classes=_DIGITS),
    "fashion-mnist": partial(_mnist, "fashion-mnist", "FashionMNIST"),
    "kmnist": partial(_mnist, "kmnist", "KMNIST"),
    "emnist": _emnist,
    "cifar10": _cifar10,
    "svhn": _svhn,
}


def _omniglot(root: Path, size: tuple[int, int], crop: bool, channels: Channels) -> Dataset:
    def find(root: Path, download: bool) -> list[list[Path]]:
        from torchvision import datasets

        sets = [datasets.Omniglot(root, background=b, download=download) for b in (True, False)]
        # Sorted by path: torchvision's order depends on the file system.
        return [sorted(Path(s.target_folder).glob("*/*/*.png")) for s in sets]

    found = _fetch("omniglot", root, find)
    labels, classes = encode([[f"{p.parts[-3]}/{p.parts[-2]}" for p in paths] for paths in found])
    parts = []
    for paths, y in zip(found, labels, strict=True):
        x, broken = decode(ImageFiles([str(path) for path in paths], size, crop, channels))
        if broken:
            raise ValueError(
                f"{len(broken):,} images of omniglot in {root} cannot be read, the first of them "
                f"{min(broken)}; remove the folder omniglot-py to have it downloaded again."
            )
        if not isinstance(x, Tensor):
            raise ValueError(
                f"Omniglot at size={size} does not fit in memory; give a smaller size."
            )
        parts.append(Part(255 - x, y))  # the strokes are black on white
    return _pictures("omniglot", parts, classes)


def _celeba(root: Path, size: tuple[int, int], channels: Channels) -> Dataset:
    def find(root: Path, download: bool) -> list[list[str]]:
        from torchvision import datasets

        datasets.CelebA(root, split="all", target_type=[], download=download)
        folder = root / "celeba" / "img_align_celeba"
        partition = (root / "celeba" / "list_eval_partition.txt").read_text().split()
        names, numbers = partition[::2], partition[1::2]
        missing = set(names).difference(os.listdir(folder))
        if missing:  # torchvision checks only that the folder exists
            raise FileNotFoundError(f"{folder} lacks {len(missing):,} images")
        return [
            [
                str(folder / name)
                for name, number in zip(names, numbers, strict=True)
                if number == part
            ]
            for part in ("0", "1", "2")
        ]

    train, validation, test = (
        Part(ImageFiles(paths, size, crop=True, channels=channels))
        for paths in _fetch("celeba", root, find)
    )
    return _pictures("celeba", [train, test], None, validation)
