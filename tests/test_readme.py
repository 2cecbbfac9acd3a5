import re
from pathlib import Path

import pyro
import pytest
import torch

import pvae

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    assert "epochs=100" in example
    exec(example.replace("epochs=100", "epochs=1"), {})
    assert (tmp_path / "runs" / "my-digits" / "weights.safetensors").exists()


def test_a_likelihood_of_ones_own_is_trained():
    text = (ROOT / "tutorials" / "own_parts.md").read_text()
    example = re.search(r"```python\n(class Laplace[^`]*domain = .*?)```", text, re.DOTALL).group(1)
    known = {"torch": torch, "pyro": pyro, "pvae": pvae}
    exec(example, known)
    data = pvae.data.load(torch.randn(40, 3))
    vae = pvae.build(data.event_shape, latent_dim=2, likelihood=known["Laplace"])
    pvae.fit(vae, data, epochs=1, batch_size=8, progress=False, compile=False)
    assert vae.reconstruct(data.batch(vae, "test")).shape == data.test.x.shape


@pytest.mark.parametrize("path", re.findall(r"\]\((?!http)([^)]*)\)", README))
def test_what_is_linked_exists(path):
    assert (ROOT / path).exists()


def test_fits_a_newcomers_patience():
    assert len(README.splitlines()) < 200


def test_ci_runs_the_test_command():
    commands = [line for line in README.splitlines() if "m pytest" in line]
    assert len(commands) == 1
    assert "pip install" in commands[0]
