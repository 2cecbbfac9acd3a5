import errno
import os
import resource
import subprocess
import sys

import pytest

from pvae.storage import files


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
    """It is simulated by a limit on file sizes."""
    code = f"""
import resource, signal
from pathlib import Path
from pvae.storage import files
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


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    dead, living = 2**22 + 1, os.getpid()
    (tmp_path / f".file-{dead}-abcd1234.part").write_bytes(b"half")
    (tmp_path / f".run-{dead}-abcd1234.part").mkdir()
    kept = [f".file-{living}-abcd1234.part", ".file-notes", f".file-{dead}", "file-2.part"]
    for name in kept:
        (tmp_path / name).write_bytes(b"kept")
    files.write(tmp_path / "file", b"new")
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, f".run-{dead}-abcd1234.part", "file"])
    files.clean(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "file"])


@pytest.mark.parametrize("before", [True, False])
def test_an_interrupt_while_a_file_is_renamed(tmp_path, monkeypatch, before):
    path = tmp_path / "file"
    files.write(path, b"old")
    replace = os.replace

    def interrupted(source, target):
        if not before:
            replace(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write(path, b"new")
    assert path.read_bytes() == (b"old" if before else b"new")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(("exists", "fatal"), [(True, 1), (True, 2), (True, 3), (False, 1)])
def test_an_interrupt_while_a_folder_is_filled(tmp_path, monkeypatch, exists, fatal):
    if exists:
        (tmp_path / "run").mkdir()
    rename, left = os.rename, fatal

    def interrupted(source, target):
        nonlocal left
        left -= 1
        rename(source, target)
        if left == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", interrupted)

    def fill():
        with files.new_folder(tmp_path / "run", last="b") as folder:
            for name in ("b", "a", "c"):
                (folder / name).write_bytes(b"")

    with pytest.raises(KeyboardInterrupt):
        fill()
    assert not any(path.name.endswith(".part") for path in tmp_path.rglob("*"))
    found = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert found == ([] if exists else ["a", "b", "c"])  # one rename, which was made


def test_a_free_name_is_not_that_of_a_dangling_link(tmp_path):
    (tmp_path / "a.png").symlink_to("nowhere")
    assert files.free(tmp_path / "a.png") == tmp_path / "a-2.png"


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ValueError, match="folder, pipe or device"):
            files.check_regular(path)
    (tmp_path / "long").write_bytes(bytes(11))
    with pytest.raises(ValueError, match="11 bytes, and 10 are the most"):
        files.read(tmp_path / "long", 10)
