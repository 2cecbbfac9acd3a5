import contextlib
import fcntl
import os
import pty
import struct
import sys
import termios
from concurrent.futures import ThreadPoolExecutor

import nbclient
import nbformat

TRAIN = """
from functools import partial
import pvae
network = partial(pvae.networks.MLP, hidden=[16])
vae = pvae.build((1, 8, 8), 2, network=network)
history = pvae.fit(vae, "digits", epochs=3)
"""


def read(terminal):
    """All that is written until the other end is closed."""
    shown = b""
    with contextlib.suppress(OSError):  # which Linux raises then
        while chunk := os.read(terminal, 4096):
            shown += chunk
    return shown.decode()


def test_a_bar_in_a_terminal(monkeypatch):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    with ThreadPoolExecutor(1) as pool:
        shown = pool.submit(read, ours)
        with os.fdopen(theirs, "w") as terminal, monkeypatch.context() as patched:
            patched.setattr(sys, "stderr", terminal)
            exec(TRAIN, {})
        text = shown.result()
    os.close(ours)
    assert "epoch 3/3: 100%" in text
    assert "36/36" in text
    assert "loss" in text
    assert "validation" in text


def test_a_bar_and_curves_in_a_notebook():
    cells = [nbformat.v4.new_code_cell(c) for c in (TRAIN, "pvae.plots.loss_curves(history)")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=120).execute()
    bar, curves = notebook.cells
    shown = "".join(output.get("text", "") for output in bar.outputs)
    assert "Warning" not in shown
    widget = "application/vnd.jupyter.widget-view+json"
    assert sum(widget in output.get("data", {}) for output in bar.outputs) == 1  # besides notes
    assert ["image/png" in output.get("data", {}) for output in curves.outputs] == [True]
