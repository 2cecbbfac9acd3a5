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


def test_a_notebook_shows_each_figure_once_and_a_bar():
    draw = "plots.samples(np.zeros((4, 1, 8, 8)))"
    pictures = {
        "import sys; import numpy as np; from pvae import plots": 0,
        draw: 1,
        f"figure = {draw}": 0,
        "assert not {'matplotlib.pyplot', 'sklearn'} & set(sys.modules)": 0,
        "import matplotlib.pyplot": 0,
        f"{draw}  # again": 1,
        TRAIN: 0,
        "plots.loss_curves(history)": 1,
    }
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in pictures])
    nbclient.NotebookClient(notebook, timeout=120).execute()
    for cell in notebook.cells:
        shown = sum("image/png" in output.get("data", {}) for output in cell.outputs)
        assert shown == pictures[cell.source]
        if cell.source == TRAIN:
            assert "Warning" not in "".join(output.get("text", "") for output in cell.outputs)
            widget = "application/vnd.jupyter.widget-view+json"  # besides notes
            assert sum(widget in output.get("data", {}) for output in cell.outputs) == 1
