"""The table of the notebooks, each with its title, its first sentence and a picture of its own."""

import base64
import re

import nbformat

from tutorials.execute import notebooks


def pages() -> dict[str, str | bytes]:
    """Cards of the notebooks, their pictures, and their table of contents."""
    made: dict[str, str | bytes] = {}
    text, contents = "::::{grid} 1 2 2 3\n:gutter: 3\n\n", ""
    for path in notebooks():
        notebook = nbformat.read(path, as_version=4)
        title, sentence = _opening(notebook.cells[0].source)
        text += f":::{{grid-item-card}} {title}\n:link: /{path.stem}\n:link-type: doc\n"
        if picture := _picture(notebook):
            made[f"thumbnails/{path.stem}.png"] = picture
            text += f":img-top: /_generated/thumbnails/{path.stem}.png\n"
        text += f"\n{sentence}\n:::\n\n"
        contents += f"/{path.stem}\n"
    text += "::::\n\n```{toctree}\n:hidden:\n\n" + contents + "```\n"
    return made | {"fragments/notebooks.md": text}


def _opening(source: str) -> tuple[str, str]:
    """The title of a notebook and the first sentence after it."""
    title, _, rest = source.partition("\n")
    sentence = re.match(r".*?[.?](?=\s|$)", rest.strip(), re.DOTALL)
    return title.lstrip("# "), " ".join(sentence[0].split()) if sentence else ""


def _picture(notebook: nbformat.NotebookNode) -> bytes | None:
    """The picture of the cell with the tag thumbnail, else the last picture."""
    found = None
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if content := output.get("data", {}).get("image/png"):
                found = base64.b64decode(content)
                if "thumbnail" in cell.metadata.get("tags", []):
                    return found
    return found
