import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    assert "epochs=100" in example
    exec(example.replace("epochs=100", "epochs=1"), {})
    assert (tmp_path / "runs" / "my-digits" / "weights.safetensors").exists()


@pytest.mark.parametrize("path", re.findall(r"\]\((?!http)([^)]*)\)", README))
def test_what_is_linked_is_there(path):
    assert (ROOT / path).exists()


def test_ci_runs_the_test_command():
    commands = [line for line in README.splitlines() if "m pytest" in line]
    assert len(commands) == 1
    assert "pip install" in commands[0]
