"""CONTRIBUTING.md is followed to the letter: a prior and a likelihood are added as it says."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import pvae
from pvae.cli.main import main

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
PRIOR, PRIOR_EXPORT, PRIOR_CASE, LIKELIHOOD, LIKELIHOOD_EXPORT, LIKELIHOOD_CASE = re.findall(
    r"```python\n(.*?)```", TEXT, re.DOTALL
)
PAIR = """from tests.composition import Cell, check

def test_cauchy_and_logistic():
    check(Cell(prior="Cauchy", likelihood="Logistic"))
"""


def add_line(path, line, last):
    """Put a line into a file: at its end, or as the last of the dictionary that ends there."""
    before, after, rest = path.read_text().partition(last) if last else (path.read_text(), "", "")
    path.write_text(before + ("\n" if after else "") + line + after.lstrip("\n") + rest)


def test_parts_are_added_in_two_files_and_a_line_of_a_test(tmp_path):
    for folder in ("pvae", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder)  # with what Python has compiled
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package, name, module, export, case in (
        ("priors", "cauchy", PRIOR, PRIOR_EXPORT, PRIOR_CASE),
        ("likelihoods", "logistic", LIKELIHOOD, LIKELIHOOD_EXPORT, LIKELIHOOD_CASE),
    ):
        assert f"`pvae/{package}/{name}.py`" in TEXT
        (tmp_path / "pvae" / package / f"{name}.py").write_text(module)
        add_line(tmp_path / "pvae" / package / "__init__.pyi", export, last="")
        add_line(tmp_path / "tests" / f"{package}_cases.py", case, last="\n}\n")
    (tmp_path / "tests" / "test_pair.py").write_text(PAIR)
    paths = ["tests/priors/test_priors.py", "tests/likelihoods/test_family.py"]
    paths += ["tests/likelihoods/test_densities.py", "tests/test_composition.py"]
    paths += ["tests/test_pair.py", "pvae/priors/cauchy.py", "pvae/likelihoods/logistic.py"]
    chosen = "Cauchy or cauchy or every_class or (Logistic and not Discretized)"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *paths, "-k", chosen],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_a_users_parts_are_trained_by_the_command_line(tmp_path, monkeypatch, no_pictures):
    (tmp_path / "my_module.py").write_text(PRIOR + LIKELIHOOD)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(60, 3)))
    monkeypatch.chdir(tmp_path)  # which is not on the path where modules are sought
    parts = ["--prior", "my_module.Cauchy", "--likelihood", "my_module.Logistic"]
    main(["train", "--data", "x.npy", *parts, "--epochs", "1", "--run", "run"])
    main(["sample", "run", "--trust", "my_module"])


def test_a_users_parts_are_built_and_fitted():
    known = {"__name__": "my_parts"}
    exec(PRIOR + LIKELIHOOD, known)
    data = pvae.data.load(torch.randn(40, 3))
    vae = pvae.build(
        data.event_shape, 2, prior=known["Cauchy"], likelihood=known["Logistic"], seed=0
    )
    history = pvae.fit(vae, data, epochs=1, batch_size=8, progress=False, compile=False)
    assert torch.tensor(history["loss"]).isfinite().all()
    assert vae.reconstruct(data.batch(vae, "test")).shape == data.test.x.shape


@pytest.mark.parametrize(
    "path", sorted({p for p in re.findall(r"`((?:pvae|tests|results)/[^`\s]*)`", TEXT)})
)
def test_paths_exist(path):
    if "NAME" not in path and Path(path).stem not in ("cauchy", "logistic"):
        assert (ROOT / path).exists()
