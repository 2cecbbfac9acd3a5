"""`pvae explore`: the file it writes, the server it starts and ends, and what it refuses."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import urllib.request
from functools import partial

import pytest

import pvae
from pvae.cli.main import main
from pvae.explore import server


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    data = pvae.data.load("digits", test=20)
    vae = pvae.build(data.event_shape, 2, network=partial(pvae.networks.MLP, hidden=[8]))
    options = {"progress": False, "compile": False, "snapshots": False}
    pvae.fit(vae, data, epochs=1, run=folder, **options)
    return str(folder)


def refused(argv, capsys):
    with pytest.raises(SystemExit) as raised:
        main(["explore", *argv])
    err = capsys.readouterr().err
    assert raised.value.code == 2
    assert err.startswith("pvae: error: ")
    assert err.count("\n") == 1
    return err


def test_the_file_is_written(run, tmp_path, capsys):
    path = tmp_path / "page.html"
    main(["explore", run, "--out", str(path)])
    assert capsys.readouterr().out == f"{path}\n"
    assert path.read_text().startswith("<!doctype html>")


def test_what_cannot_be_explored_is_one_sentence(run, tmp_path, capsys):
    assert "There is no run folder" in refused([str(tmp_path / "none")], capsys)
    assert "is not a run folder" in refused([str(tmp_path)], capsys)
    assert "choose a file page.html" in refused([run, "--out", "page.pdf"], capsys)
    assert "--port 70000 is not possible" in refused([run, "--port", "70000"], capsys)
    with contextlib.closing(server.listen("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"Port {port} is in use" in refused([run, "--port", port], capsys)


def test_missing_packages_are_named(run, monkeypatch, capsys):
    monkeypatch.setattr(server.importlib.util, "find_spec", lambda name: None)
    assert "pip install 'pvae[explore]'" in refused([run], capsys)


def test_ctrl_c_ends_it(run):
    command = [sys.executable, "-m", "pvae", "explore", run, "--port", "0", "--browser", "false"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        address = re.search(r"http://127.0.0.1:\d+/\?token=\S+", process.stdout.readline())[0]
        with urllib.request.urlopen(address) as page:
            assert b'<h1 id="title">run</h1>' in page.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stdout.read() == "Ctrl-C ends it.\n"
