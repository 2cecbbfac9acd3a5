"""Runs of a study on a Dask cluster of real processes, some of which are killed."""

import pytest

from pvae.studies import cluster

distributed = pytest.importorskip("distributed")


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
