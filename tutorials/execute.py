"""Execute the tutorial notebooks and write their outputs.

`python -m tutorials.execute` executes all, `python -m tutorials.execute 03 07` those that begin
with these numbers. Each runs in a kernel and a folder of its own.

With PVAE_TUTORIALS=quick in the environment a notebook runs at the reduced budget that the tests
use, and nothing is written: an entry ``quick`` in the metadata of a cell is code that follows it,
and lowers the numbers the cell has just set.
"""

import base64
import io
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nbclient
import nbformat
from PIL import Image

FOLDER = Path(__file__).parent
MOST_BYTES = 600_000  # of a notebook with its outputs


def notebooks(*numbers: str) -> list[Path]:
    """The notebooks in reading order, or those whose names begin with the given numbers.

    Raises:
        ValueError: if there is no notebook of a number.
    """
    paths = sorted(FOLDER.glob("[0-9]*.ipynb"))
    for number in numbers:
        if not any(path.name.startswith(number) for path in paths):
            names = ", ".join(path.stem for path in paths)
            raise ValueError(f"There is no notebook {number}: give the number of one of {names}.")
    return [path for path in paths if not numbers or path.name.startswith(numbers)]


def read(path: Path) -> nbformat.NotebookNode:
    """Read a notebook, at the reduced budget if the environment asks for it."""
    notebook = nbformat.read(path, as_version=4)
    if os.environ.get("PVAE_TUTORIALS") == "quick":
        for cell in notebook.cells:
            if "quick" in cell.metadata:
                cell.source += "\n" + cell.metadata["quick"]
    return notebook


def execute(notebook: nbformat.NotebookNode) -> None:
    """Execute a notebook in place.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell fails.
        RuntimeError: if a cell warns.
    """
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        nbclient.NotebookClient(notebook, timeout=600, resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times, which would change with every run
        if cell.cell_type == "code":
            cell.outputs = [_light(output) for output in cell.outputs if not _is_widget(output)]
            for output in cell.outputs:
                if "Warning" in output.get("text", ""):
                    raise RuntimeError(f"A cell warns:\n{cell.source}\n{output['text']}")


def _is_widget(output: nbformat.NotebookNode) -> bool:
    """Whether an output is a progress bar, which only a running kernel can show."""
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})


def _light(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Store a picture with a palette of 256 colours, if that is smaller."""
    content = output.get("data", {}).get("image/png")
    if content is not None:
        picture = Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")
        buffer = io.BytesIO()
        picture.quantize(256, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
        lighter = base64.b64encode(buffer.getvalue()).decode()
        output.data["image/png"] = min(content.replace("\n", ""), lighter, key=len)
    return output


def main(numbers: Sequence[str]) -> None:
    """Execute notebooks, and write each with its outputs unless the budget is reduced."""
    for path in notebooks(*numbers):
        began = time.monotonic()
        notebook = read(path)
        execute(notebook)
        size = len(nbformat.writes(notebook).encode())
        if size > MOST_BYTES:
            raise RuntimeError(f"{path.name} is {size:,} bytes: at most {MOST_BYTES:,}.")
        if os.environ.get("PVAE_TUTORIALS") != "quick":
            notebook.metadata.pop("widgets", None)
            nbformat.write(notebook, path)
        print(f"{path.name}: {time.monotonic() - began:.0f} s, {size:,} bytes", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
