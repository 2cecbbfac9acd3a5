import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import nbclient
import nbformat

TRAIN = """
from functools import partial
import pvae
network = partial(pvae.networks.MLP, hidden=[16])
vae = pvae.build((1, 8, 8), 2, network=network)
history = pvae.fit(vae, "digits", epochs=3)
"""


def test_a_bar_in_a_terminal():
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    process = subprocess.Popen([sys.executable, "-W", "error", "-c", TRAIN], stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # the terminal is gone when the process is
            break
        if not chunk:
            break
        shown += chunk
    os.close(ours)
    assert process.wait() == 0
    text = shown.decode()
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
