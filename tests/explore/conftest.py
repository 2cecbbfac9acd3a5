"""A trained run, its explorer and a browser, which the tests of the explorer share."""

import os
import shutil
import threading
import time
from functools import partial

import pytest
import torch

import pvae
from pvae.explore import Explorer
from pvae.explore.numbers import numbers_of
from pvae.explore.server import listen, server_of
from pvae.training import Run

TOKEN = "secret"


@pytest.fixture(scope="session")
def explored(tmp_path_factory):
    """A run folder of digits in two latents."""
    folder = tmp_path_factory.mktemp("explored") / "digits"
    data = pvae.data.load("digits")
    torch.manual_seed(0)
    vae = pvae.build(data.event_shape, 2, network=partial(pvae.networks.MLP, hidden=[32]))
    pvae.fit(vae, data, epochs=2, run=folder, progress=False, compile=False, snapshots=False)
    return folder


@pytest.fixture(scope="session")
def explorer(explored):
    run = Run(explored)
    vae = run.vae()
    known = Explorer(vae, run.data(), "digits", numbers_of(run, vae))
    known.scores.wait()
    yield known
    known.close()


def start(known, host="127.0.0.1"):
    """Serve an explorer in a thread; returns its address and a function that ends it."""
    listening = listen("127.0.0.1", 0)
    server = server_of(known, TOKEN, host)
    thread = threading.Thread(target=server.run, args=[[listening]], daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)

    def stop():
        server.should_exit = True
        thread.join(10)

    return f"http://127.0.0.1:{listening.getsockname()[1]}/", stop


@pytest.fixture(scope="session")
def address(explorer):
    """The address of the explorer's page, with its token."""
    url, stop = start(explorer)
    yield f"{url}?token={TOKEN}"
    stop()


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium; not for longer, since no other event loop can run at the same time."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium on this machine to drive the page in: install chromium")
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()
