import gzip
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pvae.data import NAMES, ImageFiles
from pvae.data.named import _FILES, read_named

DOWNLOADS = {
    "mnist": "mnist.download_and_extract_archive",
    "fashion-mnist": "mnist.download_and_extract_archive",
    "kmnist": "mnist.download_and_extract_archive",
    "emnist": "mnist.download_and_extract_archive",
    "omniglot": "omniglot.download_and_extract_archive",
    "cifar10": "cifar.download_and_extract_archive",
    "svhn": "svhn.download_url",
    "celeba": "celeba.download_file_from_google_drive",
}


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    return header + array.astype(np.uint8).tobytes()


def write_mnist(raw, rng, prefixes=("train", "t10k"), counts=(6, 3)):
    """Writes files as MNIST has them, and returns the images and labels of both parts."""
    raw.mkdir(parents=True, exist_ok=True)
    parts = []
    for prefix, count in zip(prefixes, counts, strict=True):
        x, y = rng.integers(0, 256, (count, 28, 28)), rng.integers(0, 10, count)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(idx(x))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(y))
        parts.append((x, y))
    return parts


@pytest.fixture
def trusting(monkeypatch):
    """Has torchvision take files without their checksums, which no file made here has."""

    def exists(path, md5=None):
        return os.path.isfile(path)

    for module in ("mnist", "omniglot", "cifar", "svhn", "celeba"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", exists)


@pytest.fixture
def offline(monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("no route\nto the host")

    for target in set(DOWNLOADS.values()):
        monkeypatch.setattr(f"torchvision.datasets.{target}", fail)


def test_digits_have_seventeen_levels():
    dataset = read_named("digits")
    assert dataset.train.x.shape == (1797, 1, 8, 8)
    assert dataset.train.x.dtype == torch.uint8
    assert dataset.train.x.max() == 16
    assert dataset.levels == 17
    assert dataset.classes == tuple("0123456789")
    assert read_named("digits", size=(4, 4)).train.x.max() <= 16


@pytest.mark.parametrize(
    ("name", "folder"),
    [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST"), ("kmnist", "KMNIST")],
)
def test_the_family_of_mnist_is_read_from_its_files(tmp_path, rng, offline, name, folder):
    (train, test) = write_mnist(tmp_path / folder / "raw", rng)
    dataset = read_named(name, tmp_path)
    assert np.array_equal(dataset.train.x.squeeze(1), train[0])
    assert np.array_equal(dataset.test.x.squeeze(1), test[0])
    assert dataset.train.y.tolist() == train[1].tolist()
    assert (dataset.domain, dataset.value_range) == ("bytes", (0, 255))
    assert len(dataset.classes) == 10
    assert dataset.validation is None
    small = read_named(name, tmp_path, size=(14, 7), channels=3)
    assert small.event_shape == (3, 14, 7)
    assert small.test.x.shape == (3, 3, 14, 7)


def test_letters_of_emnist_stand_upright(tmp_path, rng, offline):
    names = ("emnist-balanced-train", "emnist-balanced-test")
    (train, _) = write_mnist(tmp_path / "EMNIST" / "raw", rng, names)
    dataset = read_named("emnist", tmp_path)
    assert np.array_equal(dataset.train.x.squeeze(1), train[0].transpose(0, 2, 1))
    assert len(dataset.classes) == 47


def test_cifar10(tmp_path, rng, offline, trusting):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = rng.integers(0, 256, (6, 2, 3, 32, 32), dtype=np.uint8)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for name, x in zip(names, pixels, strict=True):
        batch = {"data": x.reshape(2, -1), "labels": [3, 8]}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    dataset = read_named("cifar10", tmp_path)
    assert np.array_equal(dataset.train.x, pixels[:5].reshape(10, 3, 32, 32))
    assert np.array_equal(dataset.test.x, pixels[5])
    assert dataset.test.y.tolist() == [3, 8]
    assert dataset.classes == tuple("abcdefghij")


def test_svhn(tmp_path, rng, offline, trusting):
    from scipy.io import savemat

    pixels = rng.integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
    for split in ("train", "test"):
        savemat(tmp_path / f"{split}_32x32.mat", {"X": pixels, "y": [[1], [2], [10], [9]]})
    dataset = read_named("svhn", tmp_path)
    assert np.array_equal(dataset.train.x, pixels.transpose(3, 2, 0, 1))
    assert dataset.test.y.tolist() == [1, 2, 0, 9]


def test_omniglot(tmp_path, offline, trusting):
    folder = tmp_path / "omniglot-py"
    for part, alphabet in (("background", "Greek"), ("evaluation", "Atlantean")):
        for character in ("character02", "character01"):
            where = folder / f"images_{part}" / alphabet / character
            where.mkdir(parents=True)
            for drawer in range(2):
                image = Image.new("1", (105, 105), 1)
                image.paste(0, (0, 0, 105, 52))
                image.save(where / f"{drawer}.png")
        (folder / f"images_{part}.zip").touch()
    dataset = read_named("omniglot", tmp_path)
    assert dataset.event_shape == (1, 28, 28)
    assert dataset.classes[0] == "Atlantean/character01"
    assert dataset.train.y.tolist() == [2, 2, 3, 3]
    assert dataset.test.y.tolist() == [0, 0, 1, 1]
    ink, paper = dataset.train.x[0, 0, 0], dataset.train.x[0, 0, -1]
    assert ink.unique().tolist() == [255]
    assert paper.unique().tolist() == [0]
    assert read_named("omniglot", tmp_path, size=(105, 105)).event_shape == (1, 105, 105)

    (folder / "images_background/Greek/character01/0.png").write_text("")
    with pytest.raises(ValueError, match="1 images of omniglot"):
        read_named("omniglot", tmp_path)


@pytest.fixture
def faces(tmp_path, rng):
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{i:06}.jpg" for i in range(1, 5)]
    for name in names:
        pixels = rng.integers(0, 256, (218, 178, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "img_align_celeba" / name)
    lines = {
        "list_eval_partition.txt": [f"{n} {p}" for n, p in zip(names, "0012", strict=True)],
        "identity_CelebA.txt": [f"{n} 5" for n in names],
        "list_attr_celeba.txt": ["4", "Bald Young", *(f"{n} -1  1" for n in names)],
        "list_bbox_celeba.txt": ["4", "image_id x_1", *(f"{n}  7" for n in names)],
        "list_landmarks_align_celeba.txt": ["4", "lefteye_x", *(f"{n} 7" for n in names)],
    }
    for name, text in lines.items():
        (folder / name).write_text("\n".join(text) + "\n")
    return folder


def test_celeba_is_streamed_in_its_parts(faces, offline, trusting):
    dataset = read_named("celeba", faces.parent)
    parts = (dataset.train, dataset.validation, dataset.test)
    assert [[Path(p).name[5] for p in part.x.paths] for part in parts] == [["1", "2"], ["3"], ["4"]]
    assert isinstance(dataset.train.x, ImageFiles)
    assert dataset.event_shape == tuple(dataset.train.x[0].shape) == (3, 64, 64)
    assert dataset.train.x.crop
    assert read_named("celeba", faces.parent, size=(32, 32), channels=1).event_shape == (1, 32, 32)


def test_celeba_must_be_complete(faces, offline, trusting):
    (faces / "img_align_celeba/000002.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="img_align_celeba"):
        read_named("celeba", faces.parent)


@pytest.mark.parametrize("name", sorted(DOWNLOADS))
def test_an_absent_data_set_says_which_files_go_where(tmp_path, name, offline, fails):
    root = tmp_path / "absent"
    folder, files = _FILES[name]
    with fails(
        FileNotFoundError, repr(name), str(root / folder), *files, "PVAE_DATA", "to the host"
    ):
        read_named(name, root)
    assert list(root.rglob("*")) == []


def test_every_name_is_known():
    offline = {"digits", "shapes", "tree", "seasonal"}
    assert set(NAMES) == offline | set(DOWNLOADS) == offline | set(_FILES)


@pytest.fixture
def mirror(tmp_path, rng, monkeypatch):
    """A download of MNIST that writes one file after another, the last of which may fail."""
    write_mnist(tmp_path / "mirror", rng)
    failure = []

    def download(url, download_root, filename, md5):
        name = filename.removesuffix(".gz")
        whole = (tmp_path / "mirror" / name).read_bytes()
        target = Path(download_root, name)
        target.with_suffix(".gz").write_bytes(gzip.compress(whole))
        if failure and "t10k-labels" in name:
            target.write_bytes(whole[:3])
            raise failure[0]
        target.write_bytes(whole)

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", download)
    return failure


def test_a_download_is_kept(tmp_path, mirror, monkeypatch):
    root = tmp_path / "new" / "root"
    downloaded = read_named("mnist", root)
    assert [path.name for path in root.iterdir()] == ["MNIST"]
    monkeypatch.undo()
    assert torch.equal(read_named("mnist", root).train.x, downloaded.train.x)


@pytest.mark.parametrize("failure", [OSError("cut off"), KeyboardInterrupt()])
def test_an_interrupted_download_leaves_nothing_behind(tmp_path, mirror, failure):
    mirror.append(failure)
    expected = FileNotFoundError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        read_named("mnist", tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []
    mirror.clear()
    assert len(read_named("mnist", tmp_path / "root").train) == 6


def test_a_damaged_file_is_downloaded_again(tmp_path, mirror):
    root = tmp_path / "root"
    x = read_named("mnist", root).train.x
    images = root / "MNIST/raw/train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:100])
    assert torch.equal(read_named("mnist", root).train.x, x)


def test_where_data_sets_are_kept(tmp_path, rng, offline, monkeypatch):
    write_mnist(tmp_path / "given/MNIST/raw", rng, counts=(1, 1))
    write_mnist(tmp_path / "variable/MNIST/raw", rng, counts=(2, 1))
    write_mnist(tmp_path / "cache/pvae/MNIST/raw", rng, counts=(3, 1))
    write_mnist(tmp_path / "home/.cache/pvae/MNIST/raw", rng, counts=(4, 1))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PVAE_DATA", str(tmp_path / "variable"))
    assert len(read_named("mnist", tmp_path / "given").train) == 1
    assert len(read_named("mnist").train) == 2
    monkeypatch.delenv("PVAE_DATA")
    assert len(read_named("mnist").train) == 3
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert len(read_named("mnist").train) == 4


@pytest.mark.skipif("PVAE_DATA" not in os.environ, reason="PVAE_DATA names no folder of data sets")
def test_the_real_mnist():
    dataset = read_named("mnist")
    assert (len(dataset.train), len(dataset.test)) == (60_000, 10_000)
    assert dataset.train.x.float().mean().item() == pytest.approx(33.318, abs=1e-3)
