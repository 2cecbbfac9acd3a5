"""Every block of the README runs as it stands, in order, with a small budget."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pvae
from pvae.cli.main import main
from pvae.studies import Table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
# The pages that the README leads to build on it and on each other.
PAGES = README + "".join(path.read_text() for path in sorted((ROOT / "tutorials").glob("*.md")))
BLOCKS = re.findall(r"```python\n(.*?)```", PAGES, re.DOTALL)
SHELL = "".join(re.findall(r"```sh\n(.*?)```", PAGES, re.DOTALL)).replace("\\\n", " ")
LINES = re.findall(r"^pvae .*", SHELL, re.MULTILINE)
LINES += re.findall(r"`(pvae (?:train|--help|[^`\s]+ [^`]+))`", PAGES)  # not a bare name
COMMANDS = [shlex.split(line, comments=True)[1:] for line in dict.fromkeys(LINES)]
QUICK = {
    "train": ["--epochs", "1"],
    "evaluate": ["--items", "2", "--num_samples", "25", "--seconds", "0.5"],
    "score": ["--num_samples", "25"],
    "explore": ["--out", "page.html"],  # else it would serve
    "compare": ["--epochs", "1", "--seeds", "1", "--items", "20", "--num_samples", "25"],
}


@pytest.fixture
def folder(tmp_path, monkeypatch, no_pictures, forked_workers):
    """A folder that holds the data of the examples."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "faces.npz", x=rng.integers(0, 256, (40, 28, 20)).astype(np.uint8))
    for name, size in {"photos": 70, "more_photos": 64, "scans": 8}.items():
        (tmp_path / name).mkdir()
        for i in range(12):
            pixels = rng.integers(0, 256, (size, size)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    # To compile takes most time, and has tests of its own.
    monkeypatch.setattr("pvae.inference.program.best_backend", lambda device: "graph")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_blocks_run_in_order(folder, monkeypatch):
    fit = pvae.fit
    monkeypatch.setattr(pvae, "fit", lambda *args, **options: fit(*args, **options | {"epochs": 1}))
    known = {}
    for block in BLOCKS:
        block = block.replace("num_samples=5000", "num_samples=25").replace("seeds=3", "seeds=1")
        exec(block.replace('"epochs": 50', '"epochs": 1'), known)
    assert (folder / "runs" / "my-digits" / "weights.safetensors").exists()
    # A VAE takes the user's parts.
    data = pvae.data.load(np.random.default_rng(0).normal(size=(40, 3)))
    own = {"prior": known["Cauchy"], "likelihood": known["Laplace"]}
    vae = pvae.build(data.event_shape, latent_dim=2, **own)
    fit(vae, data, epochs=1, batch_size=8, progress=False, compile=False)
    assert vae.reconstruct(data.batch(vae, "test")).shape == data.test.x.shape


def test_the_commands_run_in_order(folder, capsys):
    main(["train", "--run", "runs/digits", *QUICK["train"]])
    # Runs that a command is about are trained before.
    commands = sorted(COMMANDS, key=lambda argv: argv[0] != "train" or "--resume" in argv)
    for argv in commands:
        again = "--resume" in argv
        quick = ["--epochs", "2"] if again else QUICK.get(argv[0], [])
        if argv[0] == "compare" and not any(option.startswith("--vary") for option in argv):
            quick = []  # it continues a study
        if "Conv" in argv:
            quick = [*quick, "--network.channels", "[4]"]
        if any(option.endswith(("help", "config")) for option in argv):
            with pytest.raises(SystemExit) as raised:
                main(argv)
            assert raised.value.code == 0
        elif argv[0] == "reproduce":  # of MNIST, which is not at hand
            known = Table.read(argv[1]).rows
            if "--rows" in argv:
                assert {*argv[argv.index("--rows") + 1].strip("[]").split(", ")} <= {*known}
        elif argv != ["train"]:  # which is the first above
            main([*argv, *quick])
    assert {argv[0] for argv in COMMANDS} >= {"train", "evaluate", "encode", "sample"}
    assert (folder / "latents.npz").exists()


@pytest.mark.parametrize("path", re.findall(r"\]\((?!http)([^)]*)\)", README))
def test_what_is_linked_exists(path):
    assert (ROOT / path).exists()


def test_is_short_enough_for_a_newcomer():
    assert len(README.splitlines()) < 200


def test_ci_runs_the_test_command():
    commands = [line for line in README.splitlines() if "m pytest" in line]
    assert len(commands) == 1
    assert "pip install" in commands[0]
