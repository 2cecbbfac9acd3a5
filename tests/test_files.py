import errno
import os
import resource
import subprocess
import sys

import pytest

from pvae import files


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "file"
    files.write(path, b"old")
    files.write(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["file"]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write(path, b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"file could not be written \(No space left on device\)"):
        files.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_disk_that_fills_up(tmp_path):
    """A real one, as far as a limit on file sizes makes it."""
    code = f"""
import resource, signal
from pathlib import Path
from pvae import files
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path({str(tmp_path)!r}) / "file"
files.write(path, b"old")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, {resource.RLIM_INFINITY}))
try:
    files.write(path, bytes(5000))
except OSError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "could not be written" in done.stdout
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_appears_complete_or_not_at_all(tmp_path):
    def half():
        with files.new_folder(tmp_path / "run", last="a") as folder:
            files.write(folder / "a", b"a")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert os.listdir(tmp_path) == []
    with files.new_folder(tmp_path / "run", last="a") as folder:
        files.write(folder / "a", b"a")
        assert not (tmp_path / "run").exists()
    assert os.listdir(tmp_path / "run") == ["a"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    with files.new_folder(tmp_path / "run", last="a") as folder:
        files.write(folder / "a", b"a")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a").write_bytes(b"a")
    for name in ("", "a"):
        ours, plain = (tmp_path / d / name for d in ("run", "plain"))
        assert ours.stat().st_mode == plain.stat().st_mode
