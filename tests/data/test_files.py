import io
import os
import zipfile

import numpy as np
import pytest
import scipy.sparse
import torch

from pvae.data.files import read_file
from pvae.storage import archives

X = np.arange(12.0).reshape(4, 3)
Y = np.array([0, 1, 0, 1])


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def save(path, arrays):
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
    return path


def test_npy(tmp_path):
    np.save(tmp_path / "a.npy", X)
    (part,) = read_file(tmp_path / "a.npy").values()
    assert np.array_equal(part.x, X)
    assert part.y is None


def test_pt(tmp_path):
    torch.save(torch.from_numpy(X), tmp_path / "a.pt")
    assert np.array_equal(read_file(tmp_path / "a.pt")["train"].x, X)


def test_csv(tmp_path):
    (tmp_path / "a.CSV").write_text("a,y\n0.5,1\n")
    part = read_file(tmp_path / "a.CSV")["train"]
    assert part.x.tolist() == [[0.5]]
    assert part.y.tolist() == [1]
    assert part.columns == ("a",)


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
@pytest.mark.parametrize(
    ("arrays", "key", "has_labels"),
    [
        ({"anything": X}, None, False),
        ({"labels": X}, None, False),
        ({"x": X, "y": Y}, None, True),
        ({"labels": Y, "images": X, "other": Y}, None, True),
        ({"data": X, "targets": Y}, None, True),
        ({"faces": X, "labels": Y}, None, True),
        ({"x": Y, "other": X}, "other", False),
        ({"x": Y, "other": X, "y": Y}, "other", True),
    ],
)
def test_named_arrays(tmp_path, suffix, arrays, key, has_labels):
    part = read_file(save(tmp_path / f"a{suffix}", arrays), key)["train"]
    assert np.array_equal(part.x, X)
    assert (part.y is not None) == has_labels
    if has_labels:
        assert np.array_equal(part.y, Y)


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_arrays_in_parts(tmp_path, suffix):
    arrays = {"x_train": X, "y_train": Y, "x_validation": X + 1, "x_test": X + 2, "y_test": 1 - Y}
    parts = read_file(save(tmp_path / f"a{suffix}", arrays))
    assert list(parts) == ["train", "validation", "test"]
    assert np.array_equal(parts["test"].x, X + 2)
    assert np.array_equal(parts["test"].y, 1 - Y)
    assert parts["validation"].y is None


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_unknown_arrays_are_listed(tmp_path, suffix, fails):
    path = save(tmp_path / f"a{suffix}", {"left": X, "right": X})
    with fails(ValueError, "left, right", "choose one of them by key="):
        read_file(path)
    with fails(ValueError, "left, right", "none named 'up'"):
        read_file(path, "up")
    with fails(ValueError, "x, data"):
        read_file(save(tmp_path / f"b{suffix}", {"x": X, "data": X}))


def test_a_key_needs_names(tmp_path, fails):
    np.save(tmp_path / "a.npy", X)
    with fails(ValueError, "key='x'"):
        read_file(tmp_path / "a.npy", "x")


def test_an_empty_archive(tmp_path, fails):
    np.savez(tmp_path / "a.npz")
    with fails(ValueError, "(none)"):
        read_file(tmp_path / "a.npz")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_pickled_arrays_are_refused_and_not_run(tmp_path, suffix, fails):
    objects = np.array([Touch(tmp_path / "ran")], dtype=object)
    path = tmp_path / f"a{suffix}"
    np.save(path, objects) if suffix == ".npy" else np.savez(path, x=objects)
    with fails(ValueError, str(path), "could run code"):
        read_file(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("wrap", [lambda touch: touch, lambda touch: {"x": touch}])
def test_pickled_objects_are_refused_and_not_run(tmp_path, wrap, fails):
    path = tmp_path / "a.pt"
    torch.save(wrap(Touch(tmp_path / "ran")), path)
    with fails(ValueError, str(path), "could run code"):
        read_file(path)
    assert not (tmp_path / "ran").exists()


def test_a_bare_pickle_is_refused_and_not_run(tmp_path, fails):
    import pickle

    path = tmp_path / "a.pt"
    path.write_bytes(pickle.dumps(Touch(tmp_path / "ran")))
    with fails(ValueError, str(path), "not a torch file"):
        read_file(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"x": 1}, 3])
def test_other_contents_of_torch_files(tmp_path, content, fails):
    torch.save(content, tmp_path / "a.pt")
    with fails(ValueError, "a tensor or a dict of tensors"):
        read_file(tmp_path / "a.pt")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt"])
@pytest.mark.parametrize("damage", ["cut", "garbled", "empty", "text"])
def test_damaged_files_are_named(tmp_path, suffix, damage, fails):
    path = tmp_path / f"a{suffix}"
    values = np.random.default_rng(0).random((100, 10))
    if suffix == ".npy":
        np.save(path, values)
    elif suffix == ".npz":
        np.savez_compressed(path, x=values)
    else:
        torch.save(torch.from_numpy(values), path)
    whole = path.read_bytes()
    half = len(whole) // 2
    path.write_bytes(
        {
            "cut": whole[:half],
            "garbled": b"\x00" * half + whole[half:],
            "empty": b"",
            "text": b"no array at all",
        }[damage]
    )
    with fails(ValueError, str(path), "damaged"):
        read_file(path)


def test_other_files_are_refused(tmp_path, fails):
    with fails(ValueError, "a.xlsx", ".npy, .npz, .pt, .csv"):
        read_file(tmp_path / "a.xlsx")


def header(shape, descr="<f8"):
    buffer = io.BytesIO()
    declared = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, declared)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        header((10**9, 784)),
        header((10**30,)),
        header((-4, 3)),
        header((4, -3)),
        header((10**12,), "<U0"),
        header((4, 3)).replace(b"(4, 3)", b"f(1+1)"),
        header((4, 3)).replace(b"'<f8'", b"'<q9'"),
        header((4, 3)).replace(b"{", b"("),
        b"\x93NUMPY\x09\x00" + header((4, 3))[8:],
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_false_headers(tmp_path, content, suffix, fails):
    path = tmp_path / f"a{suffix}"
    content += X.tobytes()[:50]
    if suffix == ".npy":
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", content)
    with fails(ValueError, str(path), "damaged"):
        read_file(path)


def test_a_bomb_next_to_a_valid_array_is_refused_and_not_read(tmp_path, fails, monkeypatch):
    path, size = tmp_path / "a.npz", 2**24
    monkeypatch.setattr(archives, "_SMALL", size - 1)
    np.savez(path, x=X, y=Y)
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("bomb.npy", "w") as file,
    ):
        file.write(header((size,), "|u1") + bytes(size))
    assert np.array_equal(read_file(path, "x")["train"].x, X)
    with fails(ValueError, str(path), "would expand"):
        read_file(path, "bomb")


def test_other_entries_of_an_archive_are_not_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", x=X)
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("notes.txt", "nothing")
    assert np.array_equal(read_file(tmp_path / "a.npz")["train"].x, X)


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr", "dia"])
def test_sparse_matrices_are_refused_by_name(tmp_path, kind, fails):
    scipy.sparse.save_npz(tmp_path / "a.npz", scipy.sparse.eye(4, format=kind))
    with fails(ValueError, "sparse matrix of scipy", ".toarray()"):
        read_file(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(1).expand(10**10, 64),
        torch.eye(3).to_sparse(),
        torch.zeros(3, 3, device="meta"),
    ],
    ids=["expanded", "sparse", "meta"],
)
@pytest.mark.parametrize("named", [False, True])
def test_tensors_that_are_not_what_they_seem(tmp_path, x, named, fails):
    path = tmp_path / "a.pt"
    torch.save({"x": x} if named else x, path)
    with fails(ValueError, str(path)):
        read_file(path)


def test_a_compressed_torch_file(tmp_path, fails):
    torch.save(torch.zeros(10**6), tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as source,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
    with fails(ValueError, "larger than the file"):
        read_file(tmp_path / "b.pt")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt", ".csv"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_special_files_are_refused_without_waiting(tmp_path, suffix, kind, fails):
    path = tmp_path / f"a{suffix}"
    {
        "pipe": os.mkfifo,
        "device": lambda path: path.symlink_to("/dev/zero"),
        "folder": os.mkdir,
    }[kind](path)
    with fails(ValueError, str(path), "pipe or device"):
        read_file(path)


@pytest.mark.parametrize(
    ("more", "name"),
    [({"y_test": Y}, "y_test"), ({"x_val": X}, "x_val"), ({"y_dev": Y}, "y_dev")],
)
def test_arrays_of_no_part_are_refused(tmp_path, more, name, fails):
    with fails(ValueError, f"holds {name}, which is not the name of a part"):
        read_file(save(tmp_path / "a.npz", {"x_train": X, **more}))
