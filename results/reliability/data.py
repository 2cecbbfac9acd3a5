"""Data sets that are malformed, malicious or unusual: loaded, and trained on for one epoch."""

import io
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils import data as torch_data

import pvae
from results.reliability.watch import CANARY, Outcome, attempt

LIKELIHOODS = {"binary": pvae.likelihoods.Bernoulli, "counts": pvae.likelihoods.Poisson}


@dataclass
class Case:
    """What to load, and the expected result.

    Attributes:
        data: what `pvae.data.load` is given.
        items: the items it must return; None if it must refuse, ``...`` if it may do either.
        options: further arguments of `pvae.data.load`.
    """

    data: Any
    items: Any = None
    options: dict[str, Any] = field(default_factory=dict)


class Data:
    """The campaign: one data set, loaded and trained on for an epoch."""

    name = "data"
    count = 300
    each = 1

    def prepare(self, folder: Path) -> None:
        """Load and train once."""
        load_and_fit(Case(np.ones((20, 3))))

    def attack(self, number: int, folder: Path) -> tuple[str, Outcome]:
        """Load one data set."""
        make = CASES[number % len(CASES)]
        case = make(np.random.default_rng(number), folder)
        outcome = attempt(partial(load_and_fit, case), folder)
        if outcome.kind == "returned" and case.items is None:
            outcome.kind = "accepted malformed data"
        elif outcome.kind == "refused" and case.items is not None and case.items is not ...:
            outcome.kind = "rejected valid data"
        elif outcome.kind == "returned" and outcome.said != "equal":
            outcome.kind = "silently different"
        return make.__name__, outcome


def load_and_fit(case: Case) -> str:
    """Load the data, compare all items with those expected, and train for an epoch."""
    loaded = pvae.data.load(case.data, **{"validation": 0, "test": 0} | case.options)
    if case.items is not None and case.items is not ...:
        expected = torch.as_tensor(np.asarray(case.items, dtype=np.float64))
        if tuple(loaded.train.x.shape) != tuple(expected.shape):
            return f"shape {tuple(loaded.train.x.shape)} for {tuple(expected.shape)}"
        x = loaded.train.x
        x = x if isinstance(x, torch.Tensor) else torch.stack([x[i] for i in range(len(x))])
        if not torch.equal(x.double(), expected.to(x.dtype).double()):
            return "other values"
    likelihood = LIKELIHOODS.get(loaded.domain, pvae.likelihoods.Gaussian)
    network = partial(pvae.networks.MLP, hidden=[4])
    vae = pvae.build(loaded.event_shape, 2, likelihood=likelihood, network=network)
    options = {"batch_size": min(32, len(loaded.train)), "compile": False, "progress": False}
    pvae.fit(vae, loaded, epochs=1, device="cpu", **options)
    finite = all(bool(w.isfinite().all()) for w in vae.state_dict().values())
    return "equal" if finite else "weights that are not finite"


Make = Callable[[np.random.Generator, Path], Case]
CASES: list[Make] = []


def case(make: Make) -> Make:
    """Add a case."""
    CASES.append(make)
    return make


def reals(rng: np.random.Generator) -> np.ndarray:
    """Valid items, of one dimension or as images."""
    n = int(rng.integers(12, 40))
    shape = [(n, 5), (n, 1, 4, 3), (n, 3, 4, 4)][rng.integers(3)]
    return rng.normal(size=shape).round(3).astype(np.float32)


def counts(rng: np.random.Generator) -> np.ndarray:
    """Valid items of whole numbers."""
    return rng.integers(0, 100, size=(int(rng.integers(12, 40)), 5))


def pick(rng: np.random.Generator, *options: Any) -> Any:
    """One of these."""
    return options[rng.integers(len(options))]


# Arrays that are unusual but valid ----------------------------------------------------------------


@case
def other_memory_layouts(rng: np.random.Generator, folder: Path) -> Case:
    x = reals(rng)
    read_only = x.copy()
    read_only.setflags(write=False)
    layouts = (
        x.astype(">f4"),
        np.asfortranarray(x),
        x[::-1].copy()[::-1],
        np.repeat(x, 2, axis=-1)[..., ::2],
        read_only,
        x.astype(np.longdouble),
        torch.from_numpy(x).double().requires_grad_(),
        torch.from_numpy(np.ascontiguousarray(x.T)).permute(*range(x.ndim)[::-1]),
        torch.from_numpy(x).expand(2, *x.shape)[1],
        np.ma.masked_array(x),
        x.view(np.ndarray),
        np.asmatrix(x) if x.ndim == 2 else x,
    )
    return Case(pick(rng, *layouts), x)


@case
def small_floats(rng: np.random.Generator, folder: Path) -> Case:
    x = torch.from_numpy(reals(rng)).to(pick(rng, torch.float16, torch.bfloat16))
    return Case(x, x.float().numpy())


@case
def every_whole_dtype(rng: np.random.Generator, folder: Path) -> Case:
    dtypes = ("u1", "i1", "<u2", ">i2", "u4", "i4", "u8", ">i8")
    x = counts(rng).astype(pick(rng, *dtypes))
    return Case(x, x.astype(np.int64))


@case
def booleans(rng: np.random.Generator, folder: Path) -> Case:
    x = rng.random((20, 6)) < 0.5
    return Case(pick(rng, x, torch.from_numpy(x)), x.astype(int))


@case
def memory_mapped(rng: np.random.Generator, folder: Path) -> Case:
    x = reals(rng)
    np.save(folder / "x.npy", x)
    mapped = np.load(folder / "x.npy", mmap_mode="r")
    return Case(pick(rng, mapped, str(folder / "x.npy"), folder / "x.npy"), x)


@case
def channels_last(rng: np.random.Generator, folder: Path) -> Case:
    x = rng.normal(size=(20, 5, 6, pick(rng, 1, 3, 4)))
    return Case(x, x.transpose(0, 3, 1, 2).astype(np.float32))


@case
def constant_items(rng: np.random.Generator, folder: Path) -> Case:
    x = np.full((20, 4), pick(rng, 0, 1, 7, 0.5, -3.0, 1e-30))
    return Case(x, x.astype(np.float32))


@case
def few_items(rng: np.random.Generator, folder: Path) -> Case:
    x = reals(rng)[: pick(rng, 1, 2, 3)]
    return Case(x, x)


@case
def names_of_files(rng: np.random.Generator, folder: Path) -> Case:
    x = reals(rng)
    name = pick(rng, "ä ö 日本.npy", "-x.npy", "a b'c\".npy", "UPPER.NPY", "digits.npy", "..x.npy")
    with (folder / name).open("wb") as file:
        np.save(file, x)
    return Case(folder / name, x)


# Arrays that are malformed ------------------------------------------------------------------------


@case
def not_finite(rng: np.random.Generator, folder: Path) -> Case:
    x = reals(rng)
    x.flat[rng.integers(x.size)] = pick(rng, np.nan, np.inf, -np.inf)
    return Case(pick(rng, x, torch.from_numpy(x), x.astype(np.float64)))


@case
def larger_than_single_precision(rng: np.random.Generator, folder: Path) -> Case:
    x = reals(rng).astype(np.float64)
    x.flat[rng.integers(x.size)] = pick(rng, 1e39, -1e300, np.finfo(np.float64).max)
    return Case(x)


@case
def extreme_values(rng: np.random.Generator, folder: Path) -> Case:
    x = reals(rng) * pick(rng, 1e20, 1e30, 1e37, 1e-40)
    return Case(x.astype(np.float32), ...)


@case
def whole_numbers_beyond_int64(rng: np.random.Generator, folder: Path) -> Case:
    x = counts(rng).astype(np.uint64)
    x.flat[rng.integers(x.size)] = pick(rng, 2**63, 2**64 - 1)
    return Case(pick(rng, x, torch.from_numpy(x)))


@case
def not_real_numbers(rng: np.random.Generator, folder: Path) -> Case:
    x = reals(rng)
    return Case(
        pick(
            rng,
            x.astype(complex),
            x.astype(str),
            x.astype(object),
            x.astype("S"),
            np.zeros((20, 5), "M8[s]"),
            np.zeros((20, 5), "m8[s]"),
            np.zeros((20, 5), [("a", "f4"), ("b", "i4")]),
            torch.from_numpy(x).cfloat(),
            np.full((20, 5), None),
        )
    )


@case
def unusual_tensors(rng: np.random.Generator, folder: Path) -> Case:
    x = torch.from_numpy(reals(rng))
    return Case(
        pick(
            rng,
            x.to_sparse(),
            torch.ones(20, 5).to_sparse_csr(),
            x.to("meta"),
            torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
            torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)]),
        )
    )


@case
def impossible_shapes(rng: np.random.Generator, folder: Path) -> Case:
    shapes = ((), (0,), (5,), (0, 5), (5, 0), (20, 0, 8, 8), (20, 1, 0, 8))
    return Case(np.zeros(pick(rng, *shapes)))


@case
def other_things(rng: np.random.Generator, folder: Path) -> Case:
    x = reals(rng)
    things = (None, 5, [[1, 2], [3, 4]], x.tolist(), {"x": x}, (x, x), b"digits", object, iter([x]))
    return Case(pick(rng, *things, lambda: x, np.float32, 2.5, set(), True))


@case
def odd_options(rng: np.random.Generator, folder: Path) -> Case:
    options: tuple[dict[str, Any], ...] = (
        {"validation": 1.5},
        {"validation": -1},
        {"validation": float("nan")},
        {"validation": 10**9},
        {"validation": "half"},
        {"validation": 0.6, "test": 0.6},
        {"test": True},
        {"test": [1]},
        {"event_shape": (7, 7)},
        {"event_shape": (-1,)},
        {"event_shape": ()},
        {"event_shape": 5.0},
        {"event_shape": (10**30,)},
        {"binarization": "sometimes"},
        {"binarization": None},
        {"size": 8},
        {"key": "x"},
        {"labels": [1, 2, 3]},
        {"labels": "nowhere.npy"},
        {"labels": 5},
        {"root": "somewhere"},
        {"channels": 3},
        {"skip_broken": True},
        {"crop": True},
    )
    return Case(rng.normal(size=(20, 6)), None, pick(rng, *options))


@case
def odd_names(rng: np.random.Generator, folder: Path) -> Case:
    return Case(
        pick(
            rng,
            "",
            "digit",
            "MNIST ",
            "nowhere.npy",
            "no/such/folder",
            "\x00",
            "x" * 5000,
            "~nobody/x.npy",
            "http://example.org/x.npy",
            "a\nb.csv",
            ".",
            Path("nowhere.npz"),
        )
    )


# Labels -------------------------------------------------------------------------------------------


@case
def valid_labels(rng: np.random.Generator, folder: Path) -> Case:
    x = reals(rng)
    labels = (
        ["a", "b"] * len(x),
        np.arange(2 * len(x), dtype=">i4"),
        torch.arange(2 * len(x)),
        np.array(["ü", "z"] * len(x), dtype=object),
        rng.normal(size=(2 * len(x), 2)),
    )
    return Case(x, x, {"labels": pick(rng, *labels)[: len(x)]})


@case
def malformed_labels(rng: np.random.Generator, folder: Path) -> Case:
    x = reals(rng)
    n = len(x)
    labels = (
        np.zeros(n - 1),
        np.zeros(n + 1),
        np.full(n, np.nan),
        np.full((n, 2), np.inf),
        np.zeros((n, 2, 2)),
        np.array([None] * n),
        [{}] * n,
        [[1], [1, 2]] * (n // 2) + [[1]] * (n % 2),
        np.full(n, 2**64 - 1, dtype=np.uint64),
        np.zeros(n, complex),
        [b"a"] * n,
        np.full(n, 1e30),
        np.zeros(0),
        5,
        object(),
        Image.new("L", (2, 2)),
    )
    return Case(x, None, {"labels": pick(rng, *labels)})


# Files --------------------------------------------------------------------------------------------


def _npy(x: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, x)
    return buffer.getvalue()


class _Evil:
    def __init__(self, folder: Path) -> None:
        self.canary = str(folder / CANARY)

    def __reduce__(self) -> tuple:
        return open, (self.canary, "w")


@case
def damaged_npy(rng: np.random.Generator, folder: Path) -> Case:
    content = _npy(reals(rng))
    cut = int(rng.integers(len(content)))
    damaged = (content[:cut], content[:60], b"", content[10:], rng.bytes(500), b"\x93NUMPY")
    (folder / "x.npy").write_bytes(pick(rng, *damaged))
    return Case(folder / "x.npy")


@case
def lying_npy(rng: np.random.Generator, folder: Path) -> Case:
    headers = (
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 5), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 5), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (20, 'x'), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 20, }",
        "{'descr': '<f4', 'fortran_order': 7, 'shape': (20, 5), }",
        "{'descr': 'nonsense', 'fortran_order': False, 'shape': (20, 5), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (20, 5), }",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (20, 5), }",
        "{'descr': '<f4', 'shape': (20, 5), }",
        f"open({str(folder / CANARY)!r}, 'w')",
        "[" * 5000,
        "{'descr': '<f4', 'fortran_order': False, 'shape': (20, 5), " + "'x': 1, " * 2000 + "}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999, 5), }",
        "{'descr': '<V1000000000', 'fortran_order': False, 'shape': (20, 5), }",
    )
    header = pick(rng, *headers).encode()
    content = b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header)) + header + rng.bytes(400)
    (folder / "x.npy").write_bytes(content)
    return Case(folder / "x.npy")


@case
def odd_npz(rng: np.random.Generator, folder: Path) -> Case:
    x = reals(rng)
    arrays, items = pick(
        rng,
        ({"x": x, "more": np.zeros(3)}, x),
        ({"anything": x}, x),
        ({"x": x, "labels": np.arange(len(x))}, x),
        ({"x": x, "meta": np.array({"a": 1}, dtype=object)}, x),
        ({"x_train": x, "x_extra": x}, None),
        ({"a": x, "b": x}, None),
        ({}, None),
        ({"x": x, "images": x}, None),
        ({"x": np.array(_Evil(folder), dtype=object)}, None),
        ({"x": x, "y": np.array([_Evil(folder)] * len(x), dtype=object)}, None),
        ({"x_train": x, "x_test": x[:, :1]}, None),
        ({"x_train": x, "y_train": np.zeros(len(x)), "x_test": x, "y_test": np.zeros(1)}, None),
        ({"x_train": x, "y_train": np.zeros(len(x) - 1)}, None),
        ({"x_test": x}, None),
        ({"y": np.arange(9)}, None),
        ({"x": np.array(5.0)}, None),
    )
    np.savez(folder / "x.npz", **arrays)
    return Case(folder / "x.npz", items)


@case
def labels_of_one_part(rng: np.random.Generator, folder: Path) -> Case:
    x, y = reals(rng), {}
    y[pick(rng, "y_train", "y_test")] = np.arange(len(x))
    np.savez(folder / "x.npz", x_train=x, x_test=x, **y)
    return Case(folder / "x.npz", ..., {"test": None, "validation": None})


@case
def sparse_npz(rng: np.random.Generator, folder: Path) -> Case:
    from scipy import sparse

    kind = pick(rng, sparse.csr_matrix, sparse.csc_matrix, sparse.coo_matrix, sparse.bsr_matrix)
    sparse.save_npz(folder / "x.npz", kind(counts(rng).astype(np.float32)))
    return Case(folder / "x.npz")


@case
def sparse_by_value(rng: np.random.Generator, folder: Path) -> Case:
    from scipy import sparse

    kind = pick(rng, sparse.csr_matrix, sparse.csc_matrix, sparse.coo_array, sparse.dok_matrix)
    return Case(kind(counts(rng).astype(np.float32)))


@case
def npz_bomb(rng: np.random.Generator, folder: Path) -> Case:
    x = reals(rng)
    with zipfile.ZipFile(folder / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", _npy(x))
        with archive.open("bomb.npy", "w", force_zip64=True) as file:
            header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (2000000000,), }"
            file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
            for _ in range(200):
                file.write(bytes(10_000_000))
    return Case(folder / "x.npz", *pick(rng, (x, {}), (x, {"key": "x"}), (None, {"key": "bomb"})))


@case
def odd_archives(rng: np.random.Generator, folder: Path) -> Case:
    x = _npy(reals(rng))
    with zipfile.ZipFile(folder / "x.npz", "w") as archive:
        entries = pick(
            rng,
            [("../x.npy", x), ("../../y.npy", x)],
            [("x.npy", x[:50])],
            [("x.txt", b"no array")],
            [("x/", b"")],
            [("x.npy", b"")],
        )
        for name, content in entries:
            archive.writestr(name, content)
    if rng.random() < 0.3:
        content = bytearray((folder / "x.npz").read_bytes())
        content[int(rng.integers(len(content)))] ^= 255
        (folder / "x.npz").write_bytes(content)
    return Case(folder / "x.npz", ...)


@case
def odd_pt(rng: np.random.Generator, folder: Path) -> Case:
    x = torch.from_numpy(reals(rng))
    content, items = pick(
        rng,
        (x, x),
        ({"x": x, "y": torch.arange(len(x))}, x),
        (x[::2], x[::2]),
        (torch.nn.Parameter(x), x),
        ([x], None),
        ({"x": x, "meta": "text"}, None),
        ({1: x}, x),
        ("text", None),
        (None, None),
        (x.to_sparse(), None),
        (_Evil(folder), None),
        ({"x": x, "evil": _Evil(folder)}, None),
        (torch.nn.Linear(2, 2), None),
        (torch.zeros(()), None),
        (x.to("meta"), None),
    )
    torch.save(content, folder / "x.pt")
    return Case(folder / "x.pt", items if items is None else items.detach().numpy())


@case
def damaged_pt(rng: np.random.Generator, folder: Path) -> Case:
    buffer = io.BytesIO()
    torch.save(torch.ones(100, 5), buffer)
    content = buffer.getvalue()
    damaged = (
        content[: int(rng.integers(len(content)))],
        b"",
        rng.bytes(300),
        pickle.dumps(_Evil(folder)),
        content.replace(b"FloatStorage", b"QuokkaThings"),
        content.replace(b"storage", b"storagf"),
        _npy(np.ones((5, 5))),
    )
    (folder / "x.pt").write_bytes(pick(rng, *damaged))
    return Case(folder / "x.pt")


# Tables -------------------------------------------------------------------------------------------


@case
def valid_tables(rng: np.random.Generator, folder: Path) -> Case:
    x = rng.normal(size=(15, 3)).round(2)
    lines = [",".join(map(str, row)) for row in x]
    quoted = [",".join(f'"{value}"' for value in row) for row in x]
    texts = (
        "\n".join(lines),
        "\r\n".join(lines) + "\r\n",
        "\ufeff" + "\n".join(lines),
        "\n\n".join(lines) + "\n\n\n",
        "\n".join(quoted),
        "a,b,c\n" + "\n".join(lines),
        "a,b,c,label\n" + "\n".join(f"{line},yes" for line in lines),
        "label,a,b,c\n" + "\n".join(f"3,{line}" for line in lines),
        "\n".join(line.replace(",", " , ") for line in lines),
    )
    (folder / "x.csv").write_text(pick(rng, *texts), encoding="utf-8", newline="")
    return Case(folder / "x.csv", x.astype(np.float32))


@case
def malformed_tables(rng: np.random.Generator, folder: Path) -> Case:
    x = rng.normal(size=(15, 3)).round(2)
    lines = [",".join(map(str, row)) for row in x]
    text = "\n".join(lines)
    texts = (
        "",
        "\n\n\n",
        "a,b,c",
        f"{text}\n1,2",
        f"{text}\n1,2,3,4",
        f"{text}\n1,two,3",
        f"{text}\n1,,3",
        f"{text}\n1,nan,3",
        f"{text}\n1,inf,3",
        f"{text}\n1,1e400,3",
        f"{text}\n1,0x10,3",
        text.replace(",", ";"),
        text.replace(",", "\t"),
        "label,label,a\n1,2,3",
        "label\n1\n2",
        f'{text}\n1,"2,3',
        "1," + "9" * 200_000 + ",3",
        "<html><body>Not found</body></html>",
        '{"a": 1}',
        text.replace(".", "٫"),
    )
    (folder / "x.csv").write_text(pick(rng, *texts), encoding="utf-8")
    return Case(folder / "x.csv")


@case
def tables_of_bytes(rng: np.random.Generator, folder: Path) -> Case:
    content = (rng.bytes(500), b"1,2\n\xff\xfe,3", b"1,2\x00\n3,4", "1,2\n3,4".encode("utf-16"))
    (folder / "x.csv").write_bytes(pick(rng, *content))
    return Case(folder / "x.csv")


# Paths that are not files -------------------------------------------------------------------------


@case
def not_a_regular_file(rng: np.random.Generator, folder: Path) -> Case:
    file = folder / f"x{pick(rng, '.npy', '.npz', '.pt', '.csv')}"
    makes = (
        lambda: os.mkfifo(file),
        lambda: file.symlink_to("/dev/zero"),
        lambda: file.symlink_to("/dev/urandom"),
        lambda: file.symlink_to(file.name),
        lambda: file.symlink_to("nowhere"),
        file.mkdir,
    )
    pick(rng, *makes)()
    return Case(file)


@case
def unknown_suffix(rng: np.random.Generator, folder: Path) -> Case:
    file = folder / pick(rng, "x.txt", "x", "x.pkl", "x.npy.gz", "x.h5ad", "x.parquet", "x.png")
    file.write_bytes(_npy(reals(rng)))
    return Case(file)


@case
def labels_from_odd_files(rng: np.random.Generator, folder: Path) -> Case:
    x = reals(rng)
    np.save(folder / "y.npy", np.zeros((len(x), 2, 2)))
    np.save(folder / "z.npy", np.zeros(len(x) + 3))
    os.mkfifo(folder / "pipe.npy")
    (folder / "evil.pt").write_bytes(pickle.dumps(_Evil(folder)))
    name = pick(rng, "y.npy", "z.npy", "pipe.npy", "evil.pt", "nowhere.npy", ".", "/dev/zero")
    return Case(x, None, {"labels": str(folder / name) if name != "/dev/zero" else name})


# Images -------------------------------------------------------------------------------------------


def _images(rng: np.random.Generator, folder: Path, n: int = 12) -> np.ndarray:
    x = rng.integers(0, 256, size=(n, 1, 6, 5), dtype=np.uint8)
    for i in range(n):
        Image.fromarray(x[i, 0]).save(folder / f"{i:03d}.png")
    return x


def _png(width: int, height: int, content: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", content) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@case
def valid_images(rng: np.random.Generator, folder: Path) -> Case:
    pictures = folder / "pictures"
    pictures.mkdir()
    x = _images(rng, pictures)
    extras = (
        lambda: None,
        lambda: (pictures / ".hidden.png").write_text("x"),
        lambda: (pictures / "notes.txt").write_text("x"),
        lambda: (pictures / "empty").mkdir(),
        lambda: (pictures / "000.png").rename(pictures / "000.PNG"),
    )
    pick(rng, *extras)()
    return Case(pick(rng, str, Path)(pictures), x)


@case
def links_among_images(rng: np.random.Generator, folder: Path) -> Case:
    pictures = folder / "pictures"
    pictures.mkdir()
    x = _images(rng, pictures)
    links = (("loop",), ("a", "b"), ("a", "b", "c"), ("train", "test"))
    for name in pick(rng, *links):
        (pictures / name).symlink_to(pick(rng, ".", "../pictures"))
    del x
    return Case(pictures)


@case
def images_of_other_modes(rng: np.random.Generator, folder: Path) -> Case:
    pictures = folder / "pictures"
    pictures.mkdir()
    _images(rng, pictures)
    odd = (("P", "png"), ("LA", "png"), ("RGBA", "png"), ("1", "png"), ("CMYK", "jpg"))
    mode, suffix = pick(rng, *odd, ("I;16", "png"), ("F", "tiff"), ("RGB", "webp"))
    Image.new(mode, (5, 6)).save(pictures / f"odd.{suffix}")
    return Case(pictures, ...)


@case
def broken_images(rng: np.random.Generator, folder: Path) -> Case:
    pictures = folder / "pictures"
    pictures.mkdir()
    _images(rng, pictures)
    whole = (pictures / "003.png").read_bytes()
    odd = (
        b"",
        b"text",
        whole[: len(whole) // 2],
        rng.bytes(500),
        _png(50_000, 50_000, zlib.compress(bytes(1000))),
        _png(0, 6, zlib.compress(b"")),
        _png(2**31 - 1, 2**31 - 1, b""),
        _png(5, 6, rng.bytes(30)),
        b"GIF89a" + rng.bytes(50),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    )
    (pictures / "003.png").write_bytes(pick(rng, *odd))
    return Case(pictures)


@case
def image_bomb(rng: np.random.Generator, folder: Path) -> Case:
    pictures = folder / "pictures"
    pictures.mkdir()
    side = pick(rng, 12_000, 13_000, 20_000)
    packer, parts = zlib.compressobj(9), []
    for _ in range(side):
        parts.append(packer.compress(bytes(side + 1)))
    content = _png(side, side, b"".join(parts) + packer.flush())
    for i in range(2):
        (pictures / f"{i}.png").write_bytes(content)
    return Case(pictures, None, pick(rng, {}, {"size": 8}))


@case
def no_images(rng: np.random.Generator, folder: Path) -> Case:
    pictures = folder / "pictures"
    pictures.mkdir()
    _images(rng, pictures, 3)
    changes = (
        lambda: [path.unlink() for path in pictures.iterdir()],
        lambda: [path.rename(path.with_suffix(".txt")) for path in pictures.iterdir()],
        lambda: (pictures / "train").mkdir(),
        lambda: Image.new("L", (9, 9)).save(pictures / "other size.png"),
        lambda: os.mkfifo(pictures / "pipe.png"),
        lambda: (pictures / "zero.png").symlink_to("/dev/zero"),
        lambda: (pictures / "nowhere.png").symlink_to("nowhere"),
        lambda: (pictures / "folder.png").mkdir(),
    )
    chosen = int(rng.integers(len(changes)))
    changes[chosen]()
    return Case(pictures, ... if chosen in (2, 7) else None)


# Data sets of torch -------------------------------------------------------------------------------


class _Items(torch_data.Dataset):
    def __init__(self, items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class _Stream(torch_data.IterableDataset):
    def __iter__(self) -> Any:
        return iter([torch.zeros(3)])


@case
def valid_items(rng: np.random.Generator, folder: Path) -> Case:
    x = reals(rng)
    sets = (
        torch_data.TensorDataset(torch.from_numpy(x)),
        torch_data.TensorDataset(torch.from_numpy(x), torch.arange(len(x))),
        _Items(list(x)),
        _Items([(item, 3) for item in x]),
        torch_data.Subset(_Items(list(x)), range(len(x))),
    )
    return Case(pick(rng, *sets), x)


@case
def malformed_items(rng: np.random.Generator, folder: Path) -> Case:
    x = list(torch.from_numpy(reals(rng)))
    sets = (
        _Items([]),
        _Stream(),
        _Items([*x, torch.zeros(99)]),
        _Items([*x, None]),
        _Items([*x, "text"]),
        _Items([{"x": item} for item in x]),
        _Items([(item, 1, 2) for item in x]),
        _Items([(item, None if i else 1) for i, item in enumerate(x)]),
        _Items([(item, object()) for item in x]),
        _Items([*x, torch.full_like(x[0], torch.nan)]),
        _Items([torch.tensor(1.0)] * 9),
        _Items([Image.new("L", (i, 5)) for i in range(1, 9)]),
    )
    return Case(pick(rng, *sets))


@case
def a_failing_data_set(rng: np.random.Generator, folder: Path) -> Case:
    class Failing(_Items):
        def __getitem__(self, index: int) -> Any:
            raise OSError(5, "Input/output error", f"item {index}")

    return Case(Failing(range(9)))
