"""The command that executes notebooks: what it stores, and what it refuses in a sentence."""

import base64
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tutorials import execute


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """A function that makes the only notebook, of cells."""
    monkeypatch.setattr(execute, "FOLDER", tmp_path)

    def make(*sources, **metadata):
        cells = [nbformat.v4.new_code_cell(source, metadata=metadata) for source in sources]
        path = tmp_path / "01_one.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return path

    return make


def test_outputs_are_written_unless_the_budget_is_reduced(notebook, monkeypatch, capsys):
    picture = (
        "from PIL import Image\ndisplay(Image.effect_noise((40, 40), 50).convert('RGB'))\nn = 1"
    )
    path = notebook(picture, "print(n)", quick="n = 2")
    execute.main([])
    one, two = nbformat.read(path, 4).cells
    assert two.outputs[0].text == "1\n"
    assert "execution" not in one.metadata
    stored = base64.b64decode(one.outputs[0].data["image/png"])
    assert stored[25] == 3  # the kind of PNG that has a palette
    before = path.read_bytes()
    monkeypatch.setenv("PVAE_TUTORIALS", "quick")
    execute.main(["01"])
    assert path.read_bytes() == before
    assert "01_one.ipynb" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "numbers", "said"),
    [
        ("1 / 0", [], "01_one.ipynb: A cell fails: ZeroDivisionError"),
        ("import warnings; warnings.warn('old')", [], "01_one.ipynb: A cell warns"),
        ("print('x' * 700_000)", [], "at most 600,000"),
        ("1", ["12"], "no notebook 12: give the number of one of 01_one"),
    ],
)
def test_what_fails_is_said_in_a_sentence(notebook, source, numbers, said):
    path = notebook(source)
    before = path.read_bytes()
    with pytest.raises(SystemExit, match=said):
        execute.main(numbers)
    assert path.read_bytes() == before


def test_without_the_extra_it_names_it():
    script = "import sys; sys.modules['nbclient'] = None; import tutorials.execute"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=Path(execute.__file__).parents[1],
    )
    assert done.returncode == 1
    assert done.stderr.strip() == "Executing notebooks needs nbclient: pip install '.[notebooks]'"
