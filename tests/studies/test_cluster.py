"""Runs of a study on a Dask cluster of real processes, some of which are killed."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time

import pytest

from pvae.cli.main import main
from pvae.studies import Study, cluster
from pvae.studies.jobs import run_job
from tests.studies.test_study import plan, weights

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

KILLS = int(os.environ.get("PVAE_KILLS", "1"))


@contextlib.contextmanager
def forking():
    """Have Dask fork its processes from one that has imported what runs need."""
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        distributed.utils.get_mp_context()  # chooses what that process imports
        multiprocessing.set_forkserver_preload(["distributed", "tests.studies.warm"])
        yield


def test_killed_workers_of_a_cluster_lose_nothing(tmp_path, monkeypatch):
    """Each run is killed once, while it is under way, until there were enough kills.

    Then a study with a part of the user's own, which no worker has.
    """
    seeds = -(-KILLS // 2)
    straight = Study(tmp_path / "straight", plan(seeds=seeds))
    with straight._writing():
        for job in straight.jobs():
            run_job(job)
    study = Study(tmp_path / "killed", plan(seeds=seeds))
    killed = set()
    with (
        forking(),
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
        ) as workers,
    ):

        def kill():
            while len(killed) < KILLS:
                time.sleep(0.02)
                begun = {path.parent for path in study.path.glob("runs/*/*/run.json")}
                done = {path.parent for path in study.path.glob("runs/*/*/measures.json")}
                pids = [worker.pid for worker in workers.workers.values() if worker.pid]
                if pids and (fresh := begun - done - killed):
                    killed.update(fresh)
                    for pid in pids:
                        os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        with cluster.connected(workers.scheduler_address) as executor:
            study.run(executor, show=False)
            (tmp_path / "only_here.py").write_text("from pvae.priors import StandardNormal as Mine")
            monkeypatch.syspath_prepend(tmp_path)
            vary = {"prior": ["StandardNormal", "only_here.Mine"]}
            mine = Study(tmp_path / "mine", plan(vary, seeds=1, trusted=("only_here",)))
            mine.run(executor, show=False)
    known, unknown = mine.jobs()
    assert mine.measured(known)
    assert "only_here" in str(mine.failure(unknown))
    assert len(killed) == KILLS
    assert weights(study) == weights(straight)
    assert len(weights(study)) == 2 * seeds


def test_an_address_where_nothing_answers(monkeypatch):
    monkeypatch.setattr(cluster, "SECONDS", 1)
    with (
        pytest.raises(ConnectionError, match="No Dask scheduler answers"),
        cluster.connected("tcp://127.0.0.1:1"),
    ):
        pass


def test_without_dask(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    arguments = ["--study", str(tmp_path / "study"), "--vary.latent_dim", "[2, 3]"]
    for option in ("--cluster", "--scheduler"):
        with pytest.raises(SystemExit) as ended:
            main(["compare", *arguments, option, "tcp://host:8786"])
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert said.startswith("pvae: error: A scheduler needs Dask, which is not installed: run ")
        assert said.endswith(" pip install 'pvae[cluster]'.\n")


def test_without_an_address_there_is_no_executor():
    with cluster.connected(None) as executor:
        assert executor is None
