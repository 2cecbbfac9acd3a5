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

try:
    import nbclient
    import nbformat
except ModuleNotFoundError as error:
    sys.exit(f"Executing notebooks needs {error.name}: pip install '.[notebooks]'")
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
        RuntimeError: if a cell fails, warns, or takes more than ten minutes.
    """
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        try:
            nbclient.NotebookClient(notebook, timeout=600, resources=resources).execute()
        except nbclient.exceptions.CellExecutionError as error:
            raise RuntimeError(f"A cell fails: {error.ename}: {error.evalue}") from error
        except nbclient.exceptions.CellTimeoutError as error:
            raise RuntimeError("A cell takes more than ten minutes.") from error
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times, which would change with every run
        if cell.cell_type == "code":
            cell.outputs = [_light(output) for output in cell.outputs if not _is_widget(output)]
            for output in cell.outputs:
                if "Warning" in output.get("text", ""):
                    raise RuntimeError(f"A cell warns: {output['text'].strip()}")


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
    """Execute notebooks, and write each with its outputs unless the budget is reduced.

    Raises:
        SystemExit: with a sentence, if there is no such notebook, or one fails or is too large.
    """
    try:
        paths = notebooks(*numbers)
    except ValueError as error:
        sys.exit(str(error))
    for path in paths:
        began = time.monotonic()
        notebook = read(path)
        try:
            execute(notebook)
        except RuntimeError as error:
            sys.exit(f"{path.name}: {error}")
        size = len(nbformat.writes(notebook).encode())
        if size > MOST_BYTES:
            sys.exit(f"{path.name} is {size:,} bytes: at most {MOST_BYTES:,}.")
        if os.environ.get("PVAE_TUTORIALS") != "quick":
            notebook.metadata.pop("widgets", None)
            nbformat.write(notebook, path)
        print(f"{path.name}: {time.monotonic() - began:.0f} s, {size:,} bytes", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
