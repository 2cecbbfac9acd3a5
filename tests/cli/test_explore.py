"""`pvae explore`: the file it writes, the server it starts and ends, and what it refuses."""

import contextlib
import os
import signal
import threading
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


def test_ctrl_c_ends_it(run, monkeypatch, capsys):
    with contextlib.closing(server.listen("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setattr(server.secrets, "token_urlsafe", lambda size: "secret")
    address = f"http://127.0.0.1:{port}/?token=secret"
    found, ended = [], threading.Event()

    def visit():
        while not found and not ended.is_set():
            with contextlib.suppress(OSError), urllib.request.urlopen(address) as page:
                found.append(page.read())
        if found:
            os.kill(os.getpid(), signal.SIGINT)

    visitor = threading.Thread(target=visit)
    visitor.start()
    try:
        main(["explore", run, "--port", str(port), "--browser", "false"])
    finally:
        ended.set()
        visitor.join()
    assert b'<h1 id="title">run</h1>' in found[0]
    assert capsys.readouterr().out == f"The explorer is at {address}\nCtrl-C ends it.\n"
