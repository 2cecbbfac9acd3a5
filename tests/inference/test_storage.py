import errno
import os
import pickle
import resource
import subprocess
import sys

import pytest
import torch

from pvae.inference import storage


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "file"
    storage.write(path, b"old")
    storage.write(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["file"]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "file"
    storage.write(path, b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"file could not be written \(No space left on device\)"):
        storage.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_disk_that_fills_up(tmp_path):
    """A real one, as far as a limit on file sizes makes it."""
    code = f"""
import resource, signal
from pathlib import Path
from pvae.inference import storage
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path({str(tmp_path)!r}) / "file"
storage.write(path, b"old")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, {resource.RLIM_INFINITY}))
try:
    storage.write(path, bytes(5000))
except OSError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "could not be written" in done.stdout
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_appears_complete_or_not_at_all(tmp_path):
    def half():
        with storage.new_folder(tmp_path / "run") as folder:
            storage.write(folder / "a", b"a")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert os.listdir(tmp_path) == []
    with storage.new_folder(tmp_path / "run") as folder:
        storage.write(folder / "a", b"a")
        assert not (tmp_path / "run").exists()
    assert os.listdir(tmp_path / "run") == ["a"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    with storage.new_folder(tmp_path / "run") as folder:
        storage.write(folder / "a", b"a")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a").write_bytes(b"a")
    for name in ("", "a"):
        ours, plain = (tmp_path / d / name for d in ("run", "plain"))
        assert ours.stat().st_mode == plain.stat().st_mode


def test_weights_and_state_come_back(tmp_path):
    weights = {"a": torch.randn(3, 4).t(), "b": torch.arange(3)}
    storage.write_weights(tmp_path / "w", weights)
    found = storage.read_weights(tmp_path / "w")
    assert all(torch.equal(found[k], w) for k, w in weights.items())
    state = {"weights": weights, "step": 3, "none": None, "rows": [{"loss": 0.1}]}
    storage.write_state(tmp_path / "s", state)
    assert str(storage.read_state(tmp_path / "s")) == str(state)


class Exploit:
    def __reduce__(self):
        return (os.mkdir, ("exploited",))


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_a_checkpoint_that_would_run_code_is_refused(tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    if how == "torch":
        torch.save({"weights": Exploit()}, "state.pt")
    else:
        (tmp_path / "state.pt").write_bytes(pickle.dumps(Exploit(), protocol=2))
    with pytest.raises(ValueError, match=r"could run code|not a whole checkpoint") as raised:
        storage.read_state(tmp_path / "state.pt")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "exploited").exists()


@pytest.mark.parametrize("read", [storage.read_weights, storage.read_state])
@pytest.mark.parametrize("content", [b"", b"garbage", b"\x00" * 100])
def test_damaged_files(tmp_path, read, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=r"file is (not|refused)") as raised:
        read(tmp_path / "file")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("write", "read"),
    [
        (storage.write_weights, storage.read_weights),
        (storage.write_state, storage.read_state),
    ],
)
def test_truncated_files(tmp_path, write, read):
    write(tmp_path / "file", {"a": torch.randn(100)})
    (tmp_path / "file").write_bytes((tmp_path / "file").read_bytes()[:200])
    with pytest.raises(ValueError, match="not a whole"):
        read(tmp_path / "file")
