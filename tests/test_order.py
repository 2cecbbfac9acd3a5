"""Imports point one way: packages in their order, and no circle of modules, lazy ones counted."""

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "pvae"
# Each line may import what the lines above it hold, and what its own line holds.
ORDER = """
annotations interfaces messages module openmp seeds checks memory progress_bar moments rows
storage distributions networks
labels conditional data factories
likelihoods posteriors classifiers objectives
consistency
weights
inputs unknown_labels interpolation marginal vae
priors
builder
inference plots
evaluation
training
explore studies
cli
__main__
"""
RANK = {name: rank for rank, line in enumerate(ORDER.split("\n")) for name in line.split()}
# What packages import of pvae at the most, where the order would allow more.
AT_MOST = {"inference": set(), "plots": {"checks", "messages", "storage"}}
PATHS = {file.relative_to(ROOT.parent).with_suffix(""): file for file in sorted(ROOT.rglob("*.py"))}
MODULES = {".".join(path.parts).removesuffix(".__init__"): file for path, file in PATHS.items()}


@cache
def offered(package: str) -> dict[str, str]:
    """The modules that the names of a package come from, by its stub."""
    stub = MODULES[package].with_suffix(".pyi") if package in MODULES else None
    if stub is None or not stub.exists():
        return {}
    found = re.findall(r"from \.([\w.]*) import (\w+)", stub.read_text())
    return {name: f"{package}.{module or name}" for module, name in found}


@cache
def imported(module: str) -> set[str]:
    """The modules that one imports anywhere, for types alone too."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                source = offered(node.module).get(alias.name, node.module)
                found.add(name if name in MODULES else source)
    return {name for name in found if name.split(".")[0] == "pvae"} - {"pvae"}


def top(module: str) -> str:
    return module.split(".")[1]


def test_no_module_imports_what_is_above_it():
    found = []
    for module in MODULES.keys() - {"pvae"}:
        used = {top(other) for other in imported(module)} - {top(module)}
        above = {name for name in used if RANK[name] > RANK[top(module)]}
        found += [(module, name) for name in above | (used - AT_MOST.get(top(module), used))]
    assert not found


def test_no_module_imports_one_that_imports_it():
    graph = {module: imported(module) - {module} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_the_order_names_all_that_there_is():
    assert set(RANK) == {top(module) for module in MODULES if module != "pvae"}
