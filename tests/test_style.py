import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_LINES = 450
MOST_LINES_OF_A_FUNCTION = 120  # without its docstring


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]])
def test_ruff_finds_nothing(command):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, str(ROOT)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_modules_and_functions_are_short():
    long = []
    for file in sorted((ROOT / "pvae").rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if len(text.splitlines()) > MOST_LINES:
            long.append(file.name)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                if body and body[-1].end_lineno - body[0].lineno >= MOST_LINES_OF_A_FUNCTION:
                    long.append(f"{file.name}: {node.name}")
    assert not long


def test_each_module_of_inference_has_its_tests():
    modules = {file.stem for file in (ROOT / "pvae" / "inference").glob("[!_]*.py")}
    tested = {file.stem for file in (ROOT / "tests" / "inference").glob("test_*.py")}
    assert not {f"test_{name}" for name in modules} - tested
