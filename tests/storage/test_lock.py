import os
import subprocess
import sys

import pytest

from pvae.storage.lock import NAME, lock

HOLD = """
import sys, time
from pathlib import Path
from pvae.storage.lock import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_writer_is_refused_until_the_first_has_died(tmp_path, holder):
    with pytest.raises(BlockingIOError, match=f"written by process {holder.pid}:"), lock(tmp_path):
        pass
    assert (tmp_path / NAME).exists()
    holder.kill()
    holder.wait()
    with lock(tmp_path):
        assert (tmp_path / NAME).read_text().split()[0] == str(os.getpid())
    assert not (tmp_path / NAME).exists()


def test_a_lock_that_workers_of_a_dead_process_still_hold(tmp_path):
    with lock(tmp_path):
        name = (tmp_path / NAME).read_text().split()[1]
        (tmp_path / NAME).write_text(f"{2**22 + 1} {name}")
        with lock(tmp_path):
            assert (tmp_path / NAME).read_text().split()[0] == str(os.getpid())


@pytest.mark.parametrize(
    "place",
    [
        lambda lock, victim: lock.symlink_to(victim),
        lambda lock, victim: lock.symlink_to("nowhere"),
        lambda lock, victim: lock.hardlink_to(victim),
        lambda lock, victim: lock.mkdir(),
        lambda lock, victim: os.mkfifo(lock),
    ],
    ids=["link", "dangling link", "hard link", "folder", "pipe"],
)
def test_what_is_in_the_place_of_a_lock_is_left_alone(tmp_path, place):
    victim, folder = tmp_path / "victim", tmp_path / "run"
    victim.write_text("precious")
    folder.mkdir()
    place(folder / NAME, victim)
    with pytest.raises(ValueError, match="is not the file of a lock"), lock(folder):
        pass
    assert victim.read_text() == "precious"
    assert os.path.lexists(folder / NAME)
    assert sorted(os.listdir(tmp_path)) == ["run", "victim"]


def test_the_lock_of_a_removed_folder_is_released(tmp_path):
    (tmp_path / "run").mkdir()
    with lock(tmp_path / "run"):
        (tmp_path / "run" / NAME).unlink()
        (tmp_path / "run").rmdir()
