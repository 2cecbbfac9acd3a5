import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

import pvae.data.image_folder
import pvae.data.workers
from pvae.data import ImageFiles
from pvae.data.image_folder import read_folder

# Python 3.12 and later warn of the way in which torch starts workers on Linux by default.
forks = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def test_images_come_in_the_order_of_their_paths(tmp_path, save_image):
    pixels = {
        name: save_image(tmp_path / name) for name in ("b.png", "a/z.PNG", "c.tif", "a/b.bmp")
    }
    dataset = read_folder(tmp_path)
    expected = np.stack([pixels[name] for name in ("a/b.bmp", "a/z.PNG", "b.png", "c.tif")])
    assert torch.equal(dataset.train.x, torch.from_numpy(expected).unsqueeze(1))
    assert dataset.train.y is None
    assert dataset.classes is None
    assert (dataset.domain, dataset.value_range) == ("bytes", (0, 255))
    assert dataset.name == tmp_path.name


def test_hidden_files_and_other_files_are_ignored(tmp_path, save_image):
    for name in ("a.png", ".b.png", ".cache/c.png", "__MACOSX/._d.png"):
        save_image(tmp_path / name)
    (tmp_path / "notes.txt").write_text("nothing")
    assert len(read_folder(tmp_path).train) == 1


def test_folders_are_classes(tmp_path, save_image):
    for name in ("dog/1.png", "cat/2.png", "cat/deep/3.png"):
        save_image(tmp_path / name)
    dataset = read_folder(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert dataset.train.y.tolist() == [0, 0, 1]
    save_image(tmp_path / "loose.png")
    assert read_folder(tmp_path).classes is None


@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_folders_named_for_parts_are_parts(tmp_path, save_image, validation):
    names = ("train/b/1.png", "train/c/2.png", f"{validation}/c/3.png", "test/a/4.png")
    pixels = [save_image(tmp_path / name) for name in names]
    dataset = read_folder(tmp_path)
    assert dataset.classes == ("a", "b", "c")
    assert dataset.train.y.tolist() == [1, 2]
    assert dataset.validation.y.tolist() == [2]
    assert dataset.test.y.tolist() == [0]
    assert np.array_equal(dataset.test.x[0, 0], pixels[3])


def test_parts_need_no_classes(tmp_path, save_image):
    for name in ("train/1.png", "test/2.png"):
        save_image(tmp_path / name)
    dataset = read_folder(tmp_path)
    assert (len(dataset.train), dataset.validation, len(dataset.test)) == (1, None, 1)
    assert dataset.train.y is None


def test_images_next_to_parts_belong_to_none(tmp_path, save_image, fails):
    for name in ("train/1.png", "test/2.png", "3.png"):
        save_image(tmp_path / name)
    with fails(ValueError, "next to its folders test, train"):
        read_folder(tmp_path)


def test_channels_are_colours_if_any_image_has_some(tmp_path, save_image):
    grey = save_image(tmp_path / "a.png")
    assert read_folder(tmp_path).event_shape == (1, 8, 8)
    save_image(tmp_path / "b.png", (8, 8, 3))
    dataset = read_folder(tmp_path)
    assert dataset.event_shape == (3, 8, 8)
    assert np.array_equal(dataset.train.x[0], np.stack([grey] * 3))
    assert read_folder(tmp_path, channels=1).event_shape == (1, 8, 8)


def test_images_that_differ_in_size_need_one(tmp_path, save_image, fails):
    save_image(tmp_path / "a.png", (8, 6))
    save_image(tmp_path / "b.png", (20, 30))
    with fails(ValueError, "from 8 x 6 to 20 x 30"):
        read_folder(tmp_path)
    for crop in (False, True):
        assert read_folder(tmp_path, (5, 4), crop).event_shape == (1, 5, 4)


def test_no_images(tmp_path, fails):
    with fails(ValueError, str(tmp_path), ".png"):
        read_folder(tmp_path)


@pytest.fixture
def broken(tmp_path, save_image):
    """A folder with one valid image, one truncated, and one that is not an image."""
    save_image(tmp_path / "a.png", (64, 64))
    save_image(tmp_path / "b.png", (64, 64))
    save_image(tmp_path / "d.png", (64, 64))
    (tmp_path / "c.png").write_text("not a picture")
    whole = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    return tmp_path


@pytest.mark.parametrize("size", [None, (64, 64)])
def test_broken_images_are_named(broken, size, fails):
    with fails(ValueError, "2 of 4 images", str(broken / "b.png"), "skip_broken=True"):
        read_folder(broken, size)


def test_broken_images_are_left_out_if_asked(broken):
    dataset = read_folder(broken, skip_broken=True)
    assert dataset.skipped == (str(broken / "b.png"), str(broken / "c.png"))
    expected = np.stack([np.array(Image.open(broken / name)) for name in ("a.png", "d.png")])
    assert np.array_equal(dataset.train.x.squeeze(1), expected)


def test_nothing_but_broken_images(tmp_path, fails):
    (tmp_path / "a.png").write_text("not a picture")
    with fails(ValueError, "1 of 1 images"):
        read_folder(tmp_path, skip_broken=True)


def test_a_train_part_of_broken_images(tmp_path, save_image, fails):
    save_image(tmp_path / "test/a.png")
    save_image(tmp_path / "train/a.png")
    (tmp_path / "train/a.png").write_text("not a picture")
    with fails(ValueError, "train folder"):
        read_folder(tmp_path, skip_broken=True)


def test_many_images_are_kept_as_files(broken, monkeypatch):
    resident = read_folder(broken, skip_broken=True)
    monkeypatch.setattr(pvae.data.image_folder, "RESIDENT_LIMIT", 100)
    dataset = read_folder(broken, skip_broken=True)
    assert isinstance(dataset.train.x, ImageFiles)
    assert dataset.skipped == resident.skipped
    assert dataset.event_shape == resident.event_shape
    assert torch.equal(torch.stack(list(dataset.train.x)), resident.train.x)


@forks
def test_workers_read_what_one_process_reads(broken, monkeypatch):
    alone = read_folder(broken, skip_broken=True)
    monkeypatch.setattr(pvae.data.image_folder, "worker_count", lambda items: 2)
    state = torch.get_rng_state()
    together = read_folder(broken, skip_broken=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(together.train.x, alone.train.x)
    assert together.skipped == alone.skipped


def test_few_images_need_no_workers():
    assert pvae.data.workers.worker_count(499) == 0
    assert 1 <= pvae.data.workers.worker_count(500) <= 4


def test_a_file_that_breaks_later_is_named(tmp_path, save_image, fails):
    path = tmp_path / "a.png"
    save_image(path)
    files = ImageFiles([str(path)], (8, 8), channels=1)
    assert files[0].shape == files.shape[1:]
    path.unlink()
    with fails(ValueError, str(path), "cannot be read as an image"):
        files[0]


@pytest.mark.parametrize(
    ("links", "sentence"),
    [
        ({"train/loop": "."}, "one and the same"),
        ({"train/one": ".", "train/two": "."}, "one and the same"),
        ({"test/again": ".."}, "one and the same"),
        ({"test/again": "../train"}, "one and the same"),
        ({"test/b.png": "../train/a.png"}, "one and the same"),
        ({"test/all": "/"}, "leads to a folder around"),
    ],
)
def test_links_by_which_an_image_would_be_read_twice(tmp_path, save_image, fails, links, sentence):
    for name in ("train/a.png", "test/a.png"):
        save_image(tmp_path / name)
    for link, target in links.items():
        (tmp_path / link).symlink_to(target)
    with fails(ValueError, sentence, "remove the link"):
        read_folder(tmp_path)


def test_hard_links_are_the_same_image_too(tmp_path, save_image, fails):
    for name in ("train/a.png", "test/a.png"):
        save_image(tmp_path / name)
    os.link(tmp_path / "train/a.png", tmp_path / "test/b.png")
    with fails(ValueError, "one and the same"):
        read_folder(tmp_path)


def test_links_elsewhere_are_followed(tmp_path, save_image):
    save_image(tmp_path / "there/a.png")
    save_image(tmp_path / "other.png")
    (tmp_path / "here").mkdir()
    (tmp_path / "here/cat").symlink_to(tmp_path / "there")
    (tmp_path / "here/b.png").symlink_to(tmp_path / "other.png")
    assert len(read_folder(tmp_path / "here").train) == 2


def png_of_zeros(side):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    row = bytes(1 + side // 8)
    pixels = zlib.compressobj()
    data = b"".join(pixels.compress(row) for _ in range(side)) + pixels.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("size", [None, (8, 8)])
@pytest.mark.parametrize(
    "side", [12_000, 20_000]
)  # Pillow warns of the first and refuses the other
def test_images_that_would_expand_are_broken(tmp_path, fails, size, side):
    (tmp_path / "a.png").write_bytes(png_of_zeros(side))
    with fails(ValueError, "1 of 1 images", "pixels) exceeds limit"):
        read_folder(tmp_path, size)


def test_files_that_are_not_images_are_broken(tmp_path, save_image, fails):
    save_image(tmp_path / "c.png")
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("/dev/zero")
    (tmp_path / "d.png").symlink_to("nowhere")
    # Pillow knows PostScript, and would run another program to draw it.
    (tmp_path / "e.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with fails(ValueError, "4 of 5 images", "pipe or device"):
        read_folder(tmp_path)
    assert len(read_folder(tmp_path, skip_broken=True).train) == 1


def test_a_part_without_images(tmp_path, save_image, fails):
    save_image(tmp_path / "train/a.png")
    (tmp_path / "test").mkdir()
    with fails(ValueError, str(tmp_path / "test"), "fill or remove"):
        read_folder(tmp_path)
