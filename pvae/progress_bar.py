"""Progress bars for notebooks and terminals."""

import importlib.util
import sys
from typing import Any

from tqdm.std import tqdm


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")


def bar(**options: Any) -> tqdm:
    """A tqdm bar: a widget in a notebook that has widgets, text in a terminal, silent elsewhere.

    Nothing is written to a redirected stream, such as a log file.
    """
    if in_notebook():
        if importlib.util.find_spec("ipywidgets"):
            from tqdm.notebook import tqdm as widget

            return widget(**options)
        return tqdm(**options)
    return tqdm(disable=None, **options)
