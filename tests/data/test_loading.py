from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch.utils import data as torch_data

from pvae.data import NAMES, ImageFiles, load
from pvae.memory import MemoryShort


@pytest.fixture
def folder(tmp_path, save_image):
    for i in range(10):
        save_image(tmp_path / "pictures" / "ab"[i % 2] / f"{i}.png", (8, 8, 3))
    return tmp_path / "pictures"


@pytest.fixture
def archive(tmp_path, rng):
    path = tmp_path / "arrays.npz"
    np.savez(
        path, first=rng.random((20, 12)), labels=np.arange(20) % 3, second=rng.random((20, 12))
    )
    return path


@pytest.fixture
def mnist(tmp_path, rng):
    raw = tmp_path / "root/MNIST/raw"
    raw.mkdir(parents=True)
    for prefix, count in (("train", 20), ("t10k", 5)):
        images, labels = rng.integers(0, 256, (count, 28, 28)), rng.integers(0, 10, count)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
            content = header + array.astype(np.uint8).tobytes()
            (raw / f"{prefix}-{kind}-ubyte").write_bytes(content)
    return tmp_path / "root"


def same(a, b):
    for name in ("train", "validation", "test"):
        x, y = getattr(a, name), getattr(b, name)
        if x is None or y is None:
            assert x is y
        else:
            assert torch.equal(x.x, y.x)
            assert (x.y is y.y) if x.y is None else torch.equal(x.y, y.y)
    assert (a.domain, a.value_range, a.classes) == (b.domain, b.value_range, b.classes)
    assert (a.name, a.binarization, a.arguments) == (b.name, b.binarization, b.arguments)


def test_the_digits_are_the_default():
    dataset = load()
    assert dataset.name == "digits"
    assert [len(p) for p in (dataset.train, dataset.validation, dataset.test)] == [1437, 180, 180]
    same(dataset, load(**dataset.arguments))


def test_data_sets_of_torchvision_keep_their_test_part(mnist, fails):
    dataset = load("mnist", root=mnist)
    assert [len(p) for p in (dataset.train, dataset.validation, dataset.test)] == [18, 2, 5]
    assert load("mnist", root=mnist, validation=0).validation is None
    with fails(ValueError, "come with a test part"):
        load("mnist", root=mnist, test=3)


def test_no_more_than_1000_of_torchvision_are_for_validation(monkeypatch):
    from pvae.data import Dataset, Part

    x = torch.zeros(60_000, 1, 1, 1, dtype=torch.uint8)
    whole = Dataset("mnist", Part(x), "bytes", (0, 255), test=Part(x[:10]))
    monkeypatch.setattr("pvae.data.loading.read_named", lambda *args: whole)
    assert len(load("mnist").validation) == 1000
    assert len(load("mnist", validation=0.1).validation) == 6000


def test_folders(folder, tmp_path):
    dataset = load(folder, size=[4, 6], crop=True, channels=1, validation=0.2, test=0.3)
    assert dataset.event_shape == (1, 4, 6)
    assert dataset.classes == ("a", "b")
    assert [len(p) for p in (dataset.train, dataset.validation, dataset.test)] == [5, 2, 3]
    same(dataset, load(**dataset.arguments))
    assert load(str(folder), size=5).event_shape == (3, 5, 5)
    assert load(folder, event_shape=(192,)).event_shape == (192,)


def test_folders_that_do_not_fit_in_memory(folder, monkeypatch, fails):
    monkeypatch.setattr("pvae.data.image_folder.RESIDENT_LIMIT", 100)
    dataset = load(folder)
    assert all(isinstance(p.x, ImageFiles) for p in (dataset.train, dataset.validation))
    assert set(dataset.train.x.paths).isdisjoint(dataset.test.x.paths)
    assert len(dataset.train.y) == len(dataset.train) == 8
    assert load(folder, event_shape=dataset.event_shape).event_shape == dataset.event_shape
    with fails(ValueError, "event_shape does not apply to pictures"):
        load(folder, event_shape=(192,))


def test_broken_images_are_recorded(folder):
    (folder / "a" / "0.png").write_text("broken")
    dataset = load(folder, skip_broken=True)
    assert dataset.skipped == (str(folder / "a" / "0.png"),)
    same(dataset, load(**dataset.arguments))


def test_files(archive, tmp_path):
    dataset = load(archive, key="second", event_shape=[1, 3, 4], binarization="static")
    assert dataset.event_shape == (1, 3, 4)
    assert dataset.name == "arrays"
    assert dataset.binarization == "static"
    assert dataset.train.y is not None
    same(dataset, load(**dataset.arguments))
    np.save(tmp_path / "names.npy", np.array(list("ab") * 10))
    named = load(archive, key="first", labels=tmp_path / "names.npy")
    assert named.classes == ("a", "b")
    same(named, load(**named.arguments))


@pytest.mark.parametrize("wrap", [np.asarray, torch.from_numpy])
def test_arrays(rng, wrap):
    x = rng.integers(0, 256, (20, 8, 8), dtype=np.uint8)
    dataset = load(wrap(x), labels=["a", "b"] * 10, validation=0, test=0)
    assert torch.equal(dataset.train.x.squeeze(1), torch.from_numpy(x))
    assert (dataset.name, dataset.domain, dataset.classes) == ("array", "bytes", ("a", "b"))
    assert dataset.arguments["data"] is None


def test_labels_by_value_cannot_be_named(archive):
    assert load(archive, key="first", labels=np.arange(20)).arguments["data"] is None


def test_data_sets_of_torch():
    source = torch_data.TensorDataset(torch.rand(20, 3), torch.arange(20))
    dataset = load(source)
    parts = (dataset.train, dataset.validation, dataset.test)
    assert [len(part) for part in parts] == [16, 2, 2]
    assert sorted(label for part in parts for label in part.y.tolist()) == list(range(20))
    assert dataset.arguments["data"] is None


def test_a_loaded_data_set_is_returned(fails):
    dataset = load(np.ones((5, 2)))
    assert load(dataset) is dataset
    with fails(ValueError, "test does not apply to a data set that is loaded already"):
        load(dataset, test=1)


def test_the_split_does_not_depend_on_the_seed(archive):
    torch.manual_seed(1)
    first = load(archive, key="first")
    torch.manual_seed(2)
    same(first, load(archive, key="first"))


@pytest.mark.parametrize("kind", [str, Path])
def test_arguments_survive_yaml_and_a_change_of_folder(
    folder, archive, mnist, tmp_path, monkeypatch, kind
):
    np.save(tmp_path / "labels.npy", np.arange(20))
    monkeypatch.chdir(tmp_path)
    datasets = [
        load(kind("./pictures"), size=(4, 4), validation=np.int64(2), test=np.float32(0.25)),
        load(kind("arrays.npz"), key="first", labels=kind("labels.npy")),
        load("mnist", root=kind("root"), size=14, event_shape=(196,)),
    ]
    monkeypatch.chdir("/")
    for dataset in datasets:
        arguments = yaml.safe_load(yaml.safe_dump(dataset.arguments))
        assert arguments == dataset.arguments
        same(dataset, load(**arguments))


def test_unknown_names_and_absent_paths(tmp_path, fails):
    with fails(ValueError, "'minst'", "did you mean 'mnist'?", *NAMES):
        load("minst")
    with fails(ValueError, "did you mean 'cifar10'?"):
        load("CIFAR10")
    for name in ("xyz", ""):
        with fails(ValueError, repr(name), *NAMES):
            load(name)
    for path in (tmp_path / "absent", "absent.npz", "./absent", "some/where", ".a", Path("mnist")):
        with fails(FileNotFoundError, str(Path(path).absolute())):
            load(path)


@pytest.mark.parametrize("data", [None, 3, [[1.0, 2.0]]])
def test_data_of_other_kinds(data, fails):
    with fails(TypeError, type(data).__name__, "expected a name"):
        load(data)


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ({"binarization": "dynamics"}, "dynamic, static, threshold"),
        ({"channels": 2}, "1 (grey) or 3 (colours)"),
        ({"crop": True}, "size=64"),
        ({"size": 0}, "size"),
        ({"size": (4, 4, 4)}, "(height, width)"),
        ({"size": 4.5}, "whole numbers"),
        ({"event_shape": (8, -1)}, "event_shape=(8, -1)"),
        ({"event_shape": (9,)}, "64 values are not 9"),
        ({"validation": -0.1}, "validation=-0.1"),
        ({"validation": 1000, "test": 1000}, "leave none of 1,797 items"),
        ({"key": "x"}, "key does not apply to a data set by name"),
        ({"labels": [1]}, "labels does not apply to a data set by name"),
        ({"skip_broken": True}, "skip_broken does not apply"),
    ],
)
def test_unfit_arguments(options, fragment, fails):
    with fails(ValueError, fragment):
        load("digits", **options)


@pytest.mark.parametrize("option", [{"size": 3}, {"crop": True}, {"channels": 1}, {"root": "."}])
def test_options_that_do_not_apply_to_arrays(option, archive, fails):
    (name,) = option
    for data, kind in ((np.ones((5, 2)), "an array"), (archive, "a file of arrays")):
        with fails(ValueError, f"{name} does not apply to {kind}"):
            load(data, **option)


def test_absent_labels(archive, fails):
    with fails(FileNotFoundError, str(Path("names").absolute())):
        load(archive, key="first", labels="names")


def test_labels_for_data_in_parts(tmp_path, fails):
    np.savez(tmp_path / "a.npz", x_train=np.ones((5, 2)), x_test=np.ones((5, 2)))
    with fails(ValueError, "come in parts"):
        load(tmp_path / "a.npz", labels=np.ones(10))


def test_everything_public_is_there():
    import pvae.data

    for name in pvae.data.__all__:
        assert getattr(pvae.data, name) is not None


@pytest.mark.parametrize("path", ["x" * 5000 + ".npy", "x" * 5000, "a\0b", "~nobody-here/x.npy"])
def test_impossible_paths(path):
    with pytest.raises((ValueError, FileNotFoundError)) as raised:
        load(path)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("name", "size", "kind"),
    [
        ("digits", 100_000, ValueError),
        ("digits", 8192, MemoryShort),
        ("shapes", 8192, MemoryShort),
    ],
)
def test_sizes_that_memory_cannot_hold(name, size, kind, fails):
    with fails(kind):
        load(name, size=size)


@pytest.mark.parametrize("name", ["crop", "skip_broken"])
@pytest.mark.parametrize("value", [torch.ones(2), "yes", 1])
def test_switches_are_true_or_false(name, value, fails):
    with fails(TypeError, name, "True or False"):
        load("digits", **{name: value})
