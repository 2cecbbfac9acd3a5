"""Runs of a study on a Dask cluster of real processes, some of which are killed."""

import os
import signal
import threading
import time

import pytest

from pvae.studies import Study, cluster
from tests.studies.test_study import plan, weights

distributed = pytest.importorskip("distributed")

KILLS = int(os.environ.get("PVAE_KILLS", "1"))  # the campaign asks for more


def test_killed_workers_of_a_cluster_lose_nothing(tmp_path):
    straight = Study(tmp_path / "straight", plan(seeds=1))
    straight.run(show=False)
    study = Study(tmp_path / "killed", plan(seeds=1))
    killed = []
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
    ) as workers:

        def kill():
            """Kill a worker whenever a run has begun and another is not finished."""
            while len(killed) < KILLS:
                time.sleep(0.1)
                begun = len([*study.path.glob("runs/*/*/run.json")])
                if begun > len([*study.path.glob("runs/*/*/measures.json")]):
                    for worker in workers.workers.values():
                        if worker.pid not in killed:
                            os.kill(worker.pid, signal.SIGKILL)
                            killed.append(worker.pid)

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        with cluster.connected(workers.scheduler_address) as executor:
            study.run(executor, show=False)
    assert killed
    assert weights(study) == weights(straight)
    assert len(weights(study)) == 2


def test_an_address_where_nothing_answers(monkeypatch):
    monkeypatch.setattr(cluster, "SECONDS", 1)
    with (
        pytest.raises(ConnectionError, match="No Dask scheduler answers"),
        cluster.connected("tcp://127.0.0.1:1"),
    ):
        pass


def test_without_an_address_there_is_no_executor():
    with cluster.connected(None) as executor:
        assert executor is None
