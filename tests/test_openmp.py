"""Threads of OpenMP: awake on free processors, soon asleep where others want them."""

import os
import subprocess
import sys
import threading
import time
from itertools import chain, repeat
from pathlib import Path

import pytest
import torch  # noqa: F401  (its OpenMP is that of the process)

from pvae import openmp
from tests.processes import forked

# Nanoseconds that a thread ran, and lacked a processor, from check to check.
CROWDED, FREE, RESTING = (1_000_000, 1_000_000), (1_000_000, 10_000), (10, 90)


@pytest.fixture
def looks(monkeypatch):
    """Short times between looks, and what these find of one of two threads; the other is free."""

    def follow(found):
        one, other = [1, 1], [1, 1]
        coming = chain([(0, 0)], found, repeat(FREE))

        def times():
            found = next(coming)
            for thread, more in ((one, found), (other, RESTING if found is RESTING else FREE)):
                thread[:] = (thread[0] + more[0], thread[1] + more[1])
            return {"1": tuple(one), "2": tuple(other)}

        monkeypatch.setattr(openmp, "_times", times)
        monkeypatch.setattr(openmp, "INTERVAL", 0.001)

    return follow


@pytest.fixture
def teams(monkeypatch):
    """What was asked of idle teams."""
    asked = []

    class Teams:
        def start(self):
            asked.append("start")

        def end(self):
            asked.append("end")

    monkeypatch.setattr(openmp, "IdleTeams", Teams)
    return asked


def watch(teams, number):
    began = time.monotonic()
    with openmp.considerate():
        while len(teams) < number and time.monotonic() < began + 60:
            time.sleep(0.001)
        return teams[:number]


def test_threads_sleep_soon_while_processors_are_wanted(looks, teams):
    looks([FREE, FREE, CROWDED, FREE, CROWDED, FREE, FREE, CROWDED])
    assert watch(teams, 4) == ["start", "start", "end", "start"]  # to start again does nothing
    assert teams[-1] == "end"  # with the context


def test_threads_that_rest_say_nothing(looks, teams):
    looks([RESTING] * 1000)
    with openmp.considerate():
        time.sleep(0.1)
    assert "start" not in teams


def watchers():
    return [one for one in threading.enumerate() if one.name == "pvae-openmp"]


def test_one_thread_watches_until_all_have_left(looks):
    def other():
        with openmp.considerate():
            inside.set()
            leave.wait()

    looks([])
    inside, leave = threading.Event(), threading.Event()
    thread = threading.Thread(target=other)
    with openmp.considerate(), openmp.considerate():
        thread.start()
        inside.wait()
        assert len(watchers()) == 1
    assert len(watchers()) == 1
    leave.set()
    thread.join()
    assert not watchers()
    with openmp.considerate():
        assert len(watchers()) == 1


@pytest.mark.parametrize("given", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "active"}])
def test_the_user_decides_how_threads_wait(looks, given, monkeypatch):
    looks([])
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with openmp.considerate():
        assert not watchers()


def test_a_process_may_have_no_more_threads(looks, teams, monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    looks([CROWDED] * 9)
    with monkeypatch.context() as context:
        context.setattr(threading.Thread, "start", start)
        with openmp.considerate():
            pass
        assert not openmp._may_start(1)
    assert watch(teams, 1) == ["start"]  # the next time


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked")
def test_a_forked_process_watches_anew(looks):
    def check():
        assert not watchers()
        with openmp.considerate():
            assert len(watchers()) == 1

    looks([])
    with openmp.considerate():
        assert forked(check) == 0


@pytest.mark.parametrize(
    ("size", "processors", "number"),
    [(1, 2, 0), (2, 2, 1), (2, 5, 4), (4, 8, 2), (8, 8, 1), (2, 64, 0)],
)
def test_idle_teams_outnumber_the_processors(size, processors, number, monkeypatch):
    monkeypatch.setattr(openmp, "_team_size", lambda: size)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(processors), raising=False)
    teams = openmp.IdleTeams()
    for _ in range(2):
        teams.start()
        teams.start()
        assert len(teams._owners) == number
        assert not number or size + number * (size - 1) > processors
        teams.end()
        assert not teams._owners


def test_without_these_times_threads_sleep_soon_from_the_start(monkeypatch, tmp_path):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    assert openmp.environment() == {"GOMP_SPINCOUNT": openmp.LONG if openmp._times() else "1000"}
    before = threading.active_count()
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "schedstat").write_text("0 0 0\n")
    for tasks in (tmp_path / "none", tmp_path):
        monkeypatch.setattr(openmp, "_TASKS", tasks)
        assert openmp.environment() == {"GOMP_SPINCOUNT": openmp.SHORT}
        with openmp.considerate():
            assert threading.active_count() == before


linux = pytest.mark.skipif(not openmp._times(), reason="the system does not count these times")


@linux
def test_times_are_those_of_the_threads():
    def spin():
        began = time.thread_time()
        while time.thread_time() < began + 0.2:
            pass
        at_end.append(openmp._times())

    at_end = []
    thread = threading.Thread(target=spin)
    thread.start()
    thread.join()
    ran, lacked = at_end[0][str(thread.native_id)]
    assert 0.15e9 < ran < 0.3e9
    assert lacked >= 0
    assert str(threading.main_thread().native_id) in at_end[0]


TWO = {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}

# Whether the second thread of each operator sleeps before the next one, by how often threads of the
# process wait for something. The operators are 0.1 ms apart.
SLEEPS = """
import resource, time
import torch
from pvae.openmp import IdleTeams

def waits():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    for _ in range(300):
        x.add_(1.0)
        after = time.perf_counter() + 1e-4
        while time.perf_counter() < after:
            pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before

x, teams = torch.ones(2**16), IdleTeams()
waits()
awake = waits()
teams.start()
asleep = waits()
teams.end()
waits()
again = waits()
teams.start()
once_more = waits()
teams.end()
torch.set_num_threads(1)
teams.start()
assert not teams._owners
print(awake, again, asleep, once_more)
"""


def libgomp_has_two_processors():
    maps = Path("/proc/self/maps")
    return "libgomp" in maps.read_text() and len(os.sched_getaffinity(0)) > 1


@linux
@pytest.mark.skipif(openmp._times() and not libgomp_has_two_processors(), reason="no second one")
def test_idle_teams_let_threads_sleep():
    two = sorted(os.sched_getaffinity(0))[:2]
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {two})\n{SLEEPS}"],
        env=os.environ | TWO | {"GOMP_SPINCOUNT": "1000000"},
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    awake, again, asleep, once_more = map(int, done.stdout.split())
    assert min(asleep, once_more) > 250
    assert max(awake, again) < 100
