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

CROWDED, FREE = (1_000_000, 1_000_000), (1_000_000, 10_000)  # nanoseconds: ran, lacked a processor


@pytest.fixture
def looks(monkeypatch):
    """Short times between looks, and what these find of one of two threads; the other is free."""

    def follow(found):
        one, other = [1, 1], [1, 1]
        coming = chain([(0, 0)], found, repeat(FREE))

        def times():
            for thread, more in ((one, next(coming)), (other, FREE)):
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
    with openmp.considerate():
        while len(teams) < number:
            time.sleep(0.001)
        return teams[:number]


def test_threads_sleep_soon_while_processors_are_wanted(looks, teams):
    looks([FREE, FREE, CROWDED, FREE, CROWDED, FREE, FREE, CROWDED])
    assert watch(teams, 4) == ["start", "start", "end", "start"]  # to start again does nothing
    assert teams[-1] == "end"  # with the context


def test_threads_that_rest_say_nothing(looks, teams):
    looks([(10, 90)] * 20)
    with openmp.considerate():
        time.sleep(0.1)
    assert "start" not in teams


def test_it_watches_once(looks):
    def watchers():
        return [one for one in threading.enumerate() if one.name == "pvae-openmp"]

    looks([])
    with openmp.considerate(), openmp.considerate():
        assert len(watchers()) == 1
    assert not watchers()
    with openmp.considerate():
        assert len(watchers()) == 1


def test_without_these_times_threads_sleep_soon_from_the_start(monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    assert openmp.environment() == {"GOMP_SPINCOUNT": openmp.LONG if openmp._times() else "1000"}
    monkeypatch.setattr(openmp, "_TASKS", openmp._TASKS / "none")
    assert openmp.environment() == {"GOMP_SPINCOUNT": openmp.SHORT}
    before = threading.active_count()
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
    before = openmp._times()
    thread = threading.Thread(target=spin)
    thread.start()
    thread.join()
    ran, lacked = at_end[0][str(thread.native_id)]
    assert 0.15e9 < ran < 0.3e9
    assert lacked >= 0
    assert {*before} <= {*at_end[0]}


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
teams.start()
asleep = waits()
teams.end()
waits()
again = waits()
torch.set_num_threads(1)
teams.start()
assert not teams._owners
print(awake, asleep, again)
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
        env=os.environ | {"OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": "1000000"},
        capture_output=True,
        text=True,
        check=True,
    )
    awake, asleep, again = map(int, done.stdout.split())
    assert asleep > 250
    assert awake < 100
    assert again < 100
