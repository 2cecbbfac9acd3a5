import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import pvae
from pvae import openmp
from pvae.cli import film, gallery
from pvae.cli.commands import COMMANDS
from pvae.cli.main import main
from pvae.training import progress

QUICK = ["--network.hidden", "[16]", "--latent_dim", "2", "--epochs", "2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run folder with its pictures, and what its training printed."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    with contextlib.redirect_stdout(io.StringIO()) as out:
        main(["train", *QUICK, "--run", str(folder)])
    return folder, out.getvalue()


@pytest.fixture
def run(trained):
    return trained[0]


def refused(argv, capsys):
    """The one line that a command leaves when it is refused."""
    with pytest.raises(SystemExit) as raised:
        main(argv)
    err = capsys.readouterr().err
    assert raised.value.code == 2, err
    assert err.startswith("pvae: error: ")
    assert err.count("\n") == 1
    return err


def test_help_comes_at_once_and_without_torch():
    code = """
import sys
from pvae.cli.main import main
for command in ([], *([name] for name in sys.argv[1:])):
    try:
        main([*command, "--help"])
    except SystemExit as left:
        assert left.code == 0
    assert not {"torch", "pyro", "matplotlib", "numpy"} & set(sys.modules)
"""
    names = [command.__name__ for command in COMMANDS]
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, *names], capture_output=True, text=True, check=True
    )
    assert time.monotonic() - began < 5  # 0.5 s on an idle machine
    general, *others = done.stdout.split("usage: pvae")[1:]
    assert all(name in general for name in names)
    for name, text in zip(names, others, strict=True):
        assert f" {name} " in text.splitlines()[0]


@pytest.mark.parametrize(
    ("given", "set_to"),
    [({}, "30000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)],
)
def test_commands_say_how_threads_wait_unless_the_user_does(given, set_to, monkeypatch):
    monkeypatch.setattr(openmp, "_times", lambda: {"1": (1, 0)})
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found = []
    monkeypatch.setattr(
        "pvae.cli.main._run", lambda argv: found.append(os.environ.get("GOMP_SPINCOUNT"))
    )
    before = dict(os.environ)
    main([])
    assert found == [set_to]
    assert dict(os.environ) == before


def test_commands_are_considerate(monkeypatch):
    entered = []

    @contextlib.contextmanager
    def considerate():
        entered.append(True)
        yield

    monkeypatch.setattr(openmp, "considerate", considerate)
    with pytest.raises(SystemExit):
        main(["evaluate", "nowhere"])
    assert entered


def test_import_costs_no_more_than_pyro():
    code = """
import sys, pvae
assert not {'torch', 'pyro', 'matplotlib', 'sklearn'} & set(sys.modules)
pvae.VAE, pvae.build, pvae.fit, pvae.load
pvae.data.load, pvae.data.Batches, pvae.data.Dataset, pvae.data.domains
pvae.priors.StandardNormal, pvae.objectives.BetaELBO, pvae.training.Run
heavy = {'torchvision', 'matplotlib', 'sklearn', 'PIL', 'scipy', 'pandas'} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_train_leaves_figures_and_pictures(trained, tmp_path, no_pictures):
    run, out = trained
    assert "−ELBO" in out
    assert str(run) in out
    names = {path.name for path in (run / "figures").iterdir()}
    assert names >= {
        "loss.png",
        "reconstructions.png",
        "samples.png",
        "interpolations.png",
        "latents.png",
        "plane.png",
        "epochs.png",
        "training.gif",
    }
    # The same command gives the same bits.
    main(["train", *QUICK, "--run", str(tmp_path / "run")])
    for name in ("weights.safetensors", "evaluation.json"):
        assert (run / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


def test_the_same_seed_in_python_gives_the_same_weights(run):
    network = partial(pvae.networks.MLP, hidden=[16])
    vae = pvae.build((1, 8, 8), latent_dim=2, network=network)
    pvae.fit(vae, "digits", epochs=2, progress=False)
    loaded = pvae.load(run).state_dict()
    assert all(torch.equal(loaded[name], w) for name, w in vae.state_dict().items())


def test_noise_around_another_objective(tmp_path, capsys, no_pictures):
    inner = ["--objective.objective", "BetaELBO", "--objective.objective.beta", "0.3"]
    denoising = ["--objective", "Denoising", "--objective.noise", "0.2", *inner]
    run = str(tmp_path / "run")
    main(["train", *QUICK, *denoising, "--keep", "last", "--warmup", "5", "--run", run])
    main(["train", "--resume", run, "--epochs", "3"])
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert saved["objective"]["class_path"] == "pvae.objectives.Denoising"
    assert saved["objective"]["init_args"]["objective"]["init_args"]["beta"] == 0.3
    assert (saved["warmup"], saved["keep"], saved["epochs"]) == (5, "last", 3)
    assert "Kept: epoch 3, the last" in capsys.readouterr().err
    assert pvae.training.Run(run).history.monitor == "validation/objective"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--scheduler", "StepLR", "--scheduler.step_size", "0"], "The scheduler cannot be used"),
        (["--warmup", "soon"], "--warmup is soon: it must be a whole number or auto."),
        (["--warmup", "-1"], "warmup is -1"),
        (["--monitor", "loss"], "--monitor is loss: it must be objective,"),
        (["--keep", "first"], "--keep is first: it must be best or last."),
        (["--patience", "0"], "patience is 0"),
    ],
)
def test_what_training_refuses(options, sentence, capsys, tmp_path):
    assert sentence in refused(["train", *QUICK, *options, "--run", str(tmp_path / "r")], capsys)
    assert not (tmp_path / "r").exists()


def test_parts_with_arguments_and_yaml(tmp_path, monkeypatch):
    monkeypatch.setattr(film, "plot", lambda *args: [])
    config = tmp_path / "config.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "likelihood": {"class_path": "Gaussian", "init_args": {"scale": "predicted"}},
                "latent_dim": 3,
                "epochs": 1,
            }
        )
    )
    run = tmp_path / "run"
    arguments = ["--network", "Conv", "--network.channels", "[4]", "--network.hidden", "8"]
    arguments += [
        "--objective",
        "BetaELBO",
        "--objective.beta",
        "2",
        "--objective.warmup_steps",
        "5",
    ]
    arguments += ["--optimizer", "AdamW", "--optimizer.weight_decay", "0.1"]
    arguments += ["--scheduler", "CosineAnnealingLR", "--scheduler.T_max", "5"]
    np.save(tmp_path / "some.npy", pvae.data.load("digits").train.x[:300].numpy() * 15)
    arguments += ["--data", str(tmp_path / "some.npy"), "--patience", "3", "--clip_norm", "100"]
    main(["train", "--config", str(config), *arguments, "--run", str(run)])
    assert (run / "figures" / "tsne.png").exists()
    vae = pvae.load(run)
    assert vae.likelihood.scale == "predicted"
    assert isinstance(vae.posterior.network, pvae.networks.Conv)
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["objective"]["class_path"] == "pvae.objectives.BetaELBO"
    assert saved["objective"]["init_args"]["warmup_steps"] == 5
    assert saved["optimizer"]["init_args"]["weight_decay"] == 0.1
    # The saved configuration repeats the run.
    again = tmp_path / "again"
    monkeypatch.setattr(gallery, "plot", lambda *args: [])
    main(["train", "--config", str(run / "config.yaml"), "--run", str(again)])
    for name in ("weights.safetensors", "config.yaml"):
        assert (run / name).read_bytes() == (again / name).read_bytes()


def test_print_config(capsys):
    with pytest.raises(SystemExit) as raised:
        main(["train", "--prior", "StandardNormal", "--print_config"])
    assert raised.value.code == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["prior"]["class_path"] == "pvae.priors.StandardNormal"
    assert config["network"]["init_args"]["hidden"] == [400]


def test_resume_with_more_epochs(tmp_path, no_pictures):
    once, twice = tmp_path / "once", tmp_path / "twice"
    main(["train", *QUICK, "--epochs", "3", "--warmup", "9", "--run", str(once)])
    main(["train", *QUICK, "--warmup", "9", "--run", str(twice)])
    main(["train", "--resume", str(twice), "--epochs", "3"])
    for name in ("weights.safetensors", "last.safetensors", "config.yaml"):
        assert (once / name).read_bytes() == (twice / name).read_bytes()


def test_commands_on_a_run(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(film, "plot", lambda *args: [])  # has tests of its own
    main(["evaluate", str(run), "--part", "test", "--estimator", "elbo"])
    assert "test" in capsys.readouterr().out
    main(["sample", str(run), "--n", "9", "--out", str(tmp_path / "s.npy")])
    assert np.load(tmp_path / "s.npy").shape == (9, 1, 8, 8)
    main(["sample", str(run), "--out", str(tmp_path / "s.pdf")])
    main(["reconstruct", str(run), "--n", "5", "--out", str(tmp_path / "r.npy"), "--draw"])
    assert np.load(tmp_path / "r.npy").shape == (5, 1, 8, 8)
    main(["interpolate", str(run), "--n", "2", "--steps", "4", "--out", str(tmp_path / "i.npy")])
    assert np.load(tmp_path / "i.npy").shape == (2, 4, 1, 8, 8)
    main(["encode", str(run), "--out", str(tmp_path / "z.npz")])
    latents = np.load(tmp_path / "z.npz")
    n = len(pvae.data.load("digits").test)
    assert latents["mean"].shape == latents["stddev"].shape == (n, 2)
    assert latents["label"].shape == (n,)
    pictures = {path: path.read_bytes() for path in (run / "figures").glob("*.png")}
    main(["plot", str(run), "--ellipses"])
    changed = {path.name for path, content in pictures.items() if path.read_bytes() != content}
    assert changed == {"latents.png", "plane.png"}
    assert (tmp_path / "s.pdf").read_bytes().startswith(b"%PDF")


def test_other_data(run, tmp_path, capsys):
    before = (run / "evaluation.json").read_bytes()
    np.save(tmp_path / "other.npy", torch.rand(30, 8, 8).numpy())
    main(
        [
            "encode",
            str(run),
            "--data",
            str(tmp_path / "other.npy"),
            "--out",
            str(tmp_path / "z.npz"),
        ]
    )
    assert np.load(tmp_path / "z.npz")["mean"].shape == (30, 2)
    main(["evaluate", str(run), "--data", str(tmp_path / "other.npy"), "--estimator", "elbo"])
    assert "30" in capsys.readouterr().out
    main(
        [
            "reconstruct",
            str(run),
            "--data",
            str(tmp_path / "other.npy"),
            "--out",
            str(tmp_path / "r.png"),
        ]
    )
    assert (run / "evaluation.json").read_bytes() == before
    assert json.loads(before)["parts"]["test"]["neg_elbo"] > 0


def test_a_folder_of_images_of_many_sizes(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(film, "plot", lambda *args: [])
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(200):
        height, width = rng.integers(10, 40, 2)
        shape = (height, width) if i % 3 else (height, width, 3)
        folder = tmp_path / "images" / ("stripes" if i % 2 else "noise")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, shape) if i % 2 else np.full(shape, 40 + i)
        suffix = (".png", ".jpg", ".bmp")[i % 3]
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}{suffix}")
    arguments = ["--data", str(tmp_path / "images"), "--size", "[12,10]", "--crop"]
    arguments += ["--likelihood", "Gaussian", "--network", "Conv", "--network.channels", "[4]"]
    arguments += ["--latent_dim", "2", "--epochs", "2", "--batch_size", "50"]
    main(["train", *arguments, "--run", str(tmp_path / "run")])
    out = capsys.readouterr().out
    assert "bits/dim" in out
    assert pvae.load(tmp_path / "run").event_shape == (3, 12, 10)
    assert (tmp_path / "run" / "figures" / "latents.png").exists()
    noise = ["--data", str(tmp_path / "images" / "noise"), "--estimator", "elbo"]
    main(["evaluate", str(tmp_path / "run"), *noise])
    assert "100" in capsys.readouterr().out


def test_data_with_parts_of_their_own_and_few_items(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(film, "plot", lambda *args: [])  # has tests of its own
    x = torch.rand(7, 8, 8).numpy()
    np.savez(tmp_path / "parts.npz", x_train=x, x_test=x[:3])
    main(["evaluate", str(run), "--data", str(tmp_path / "parts.npz"), "--estimator", "elbo"])
    out = capsys.readouterr().out
    assert "test" in out
    assert "train" not in out
    np.save(tmp_path / "one.npy", x[:1])
    for name in ("one.npy", "parts.npz"):
        out = ["--out", str(tmp_path / "i.npy")]
        main(["interpolate", str(run), "--data", str(tmp_path / name), *out])
        assert np.load(tmp_path / "i.npy").shape == (1, 10, 1, 8, 8)
    np.save(tmp_path / "few.npy", np.concatenate([x] * 4))
    few = ["--data", str(tmp_path / "few.npy"), "--batch_size", "8"]
    main(["train", *QUICK, *few, "--run", str(tmp_path / "run")])
    assert (tmp_path / "run" / "figures" / "interpolations.png").exists()
    (tmp_path / "few.npy").unlink()
    main(["sample", str(tmp_path / "run"), "--n", "3"])  # needs no data


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("prior", "VampPrior"),
        ("likelihood", "NegativeBinomial"),
        ("posterior", "FullNormal"),
        ("network", "Conv"),
        ("objective", "BetaELBO"),
        ("optimizer", "AdamW"),
        ("scheduler", "StepLR"),
    ],
)
def test_help_of_a_part_alone_lists_what_there_is(name, listed, capsys):
    with pytest.raises(SystemExit) as raised:
        main(["train", f"--{name}.help"])
    assert raised.value.code == 0
    out = capsys.readouterr().out
    assert f"\n  {listed} " in out
    assert max(map(len, out.splitlines())) <= 100


def test_what_is_drawn_overwrites_nothing(run, capsys):
    def files():
        return {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}

    before = files()
    for argv in (
        ["sample", str(run), "--n", "4", "--seed", "1"],
        ["sample", str(run), "--n", "4", "--draw", "true"],
        ["reconstruct", str(run), "--n", "2"],
        ["interpolate", str(run), "--n", "1", "--steps", "2"],
        ["encode", str(run), "--part", "validation"],
        ["encode", str(run)],
    ):
        main(argv)
    names = [line.split(": ")[0] for line in capsys.readouterr().out.splitlines()]
    after = files()
    assert {path: after[path] for path in before} == before
    assert after.keys() - before.keys() == {Path(name) for name in names}
    assert len(names) == 6


def test_a_part_without_annotations_says_what_it_needs(tmp_path, monkeypatch, capsys, no_pictures):
    (tmp_path / "untyped.py").write_text(
        "import pyro, torch\n"
        "class Cauchy(torch.nn.Module):\n"
        "    def __init__(self, latent_dim, scale):\n"
        "        super().__init__()\n"
        "        self.register_buffer('scale', torch.full((latent_dim,), float(scale)))\n"
        "    def forward(self):\n"
        "        return pyro.distributions.Cauchy(0.0, self.scale).to_event(1)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    given = ["train", *QUICK, "--prior", "untyped.Cauchy", "--run", "run"]
    assert "--prior Cauchy needs --prior.scale as well" in refused(given, capsys)
    main([*given, "--prior.scale", "2"])
    described = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["prior"]
    assert described == {"class_path": "untyped.Cauchy", "init_args": {"scale": 2}}


def test_ctrl_c_ends_cleanly_and_can_be_continued(tmp_path, monkeypatch, capsys, no_pictures):
    run, epoch = tmp_path / "run", progress.Report.epoch

    def pressed(self, row):
        epoch(self, row)
        if row["epoch"] == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(progress.Report, "epoch", pressed)
    with pytest.raises(SystemExit) as raised:
        main(["train", *QUICK, "--epochs", "100", "--run", str(run)])
    assert raised.value.code == 130
    assert f"pvae train --resume {run}" in capsys.readouterr().out
    info = json.loads((run / "run.json").read_text())
    assert (info["epochs"], info["stopped"]) == (2, "interrupted")
    main(["train", "--resume", str(run), "--epochs", "3"])
    assert json.loads((run / "run.json").read_text())["stopped"] == "finished"


@pytest.mark.parametrize("command", ["evaluate", "score", "compress"])
def test_data_that_do_not_fit_are_refused_in_one_line(command, run, capsys, tmp_path):
    rng = np.random.default_rng(0)
    holed = rng.random((5, 8, 8))
    holed[3, 2, 1] = np.nan
    for name, x, sentence in (
        ("large", rng.random((5, 9, 9)), "cannot take the event shape (1, 8, 8)"),
        ("reals", rng.normal(size=(5, 8, 8)), "real numbers from"),
        ("holed", holed, "1 NaN or infinite value(s), the first at index (3, 0, 2, 1)"),
        ("none", np.zeros((0, 8, 8)), "hold no values"),
    ):
        np.save(tmp_path / f"{name}.npy", x)
        argv = [command, str(run), "--data", str(tmp_path / f"{name}.npy")]
        assert sentence in refused(argv, capsys)
    (tmp_path / "empty").mkdir()
    assert "no images" in refused([command, str(run), "--data", str(tmp_path / "empty")], capsys)
    assert "not a run folder" in refused([command, str(tmp_path / "empty")], capsys)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["train", "--data", "dgits"], "dgits"),
        (["train", "--data", "no/such/folder"], "no/such/folder"),
        (
            ["train", "--prior", "Normall"],
            "UniformCodes, VampPrior, WrappedNormal, or the import path",
        ),
        (["train", "--network", "collections.OrderedDict"], "--network: "),
        (["train", "--network", "no_module.Net"], "there is no module no_module"),
        (["train", "--network.hiden", "3"], "hiden"),
        (["train", "--network.hidden", "[0]"], "hidden is (0,)"),
        (["train", "--optimizer", "Adamm"], "choose ASGD, Adadelta"),
        (["train", "--latent_dim", "0"], "latent_dim is 0"),
        (["train", "--latent_dim", "two"], "--latent_dim is two: "),
        (["train", "--epochs", "0"], "epochs is 0"),
        (["train", "--device", "cuda:77"], "device 'cuda:77' is not available here"),
        (["train", "--resume", "nowhere"], "There is no run folder nowhere"),
        (["train", "--nonsense"], "--nonsense"),
        (["train", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["tain"], "tain"),
        ([], "command"),
        (["evaluate"], "run"),
        (["evaluate", "nowhere"], "There is no run folder nowhere"),
        (["evaluate", "RUN", "--part", "half"], "half"),
        (["evaluate", "RUN", "--estimator", "nuts"], "all, elbo, importance or ais"),
        (["evaluate", "RUN", "--items", "0"], "items is 0"),
        (
            ["evaluate", "RUN", "--items", "some"],
            "--items is some: it must be a whole number or all.",
        ),
        (["evaluate", "RUN", "--num_samples", "0"], "num_samples is 0"),
        (["evaluate", "RUN", "--num_samples", "2.5"], "it must be a whole number."),
        (["evaluate", "RUN", "--num_samples", "true"], "it must be a whole number."),
        (["score", "RUN", "--data", "nowhere.npy"], "nowhere.npy"),
        (["score", "RUN", "--correction", "luck"], "typicality, background, complexity"),
        (["score", "RUN", "--correction", "background"], "--background RUN"),
        (["score", "RUN", "--background", "RUN"], "--correction background"),
        (["score", "RUN", "--correction", ""], "--correction is '': it must be typicality"),
        (["score", "RUN", "--correction", "waic"], "train one with pvae train --weights Weights"),
        (["score", "RUN", "--anomalous", "[cat]"], "There is no label 'cat'"),
        (["score", "RUN", "--out", "s.txt"], "s.csv"),
        (["sample", "RUN", "--n", "0"], "n is 0"),
        (["sample", "RUN", "--out", "x.xyz"], "x.xyz"),
        (["sample", "RUN", "--out", "RUN"], "is a folder"),
        (["sample", "RUN", "--label", "3"], "this VAE has no labels"),
        (["sample", "nowhere", "--n", "0"], "n is 0"),  # before any work
        (["reconstruct", "nowhere", "--out", "x"], "choose a file x.png"),
        (["interpolate", "nowhere", "--steps", "1"], "steps is 1"),
        (["evaluate", "RUN", "--seconds", "0"], "seconds is 0"),
        (["encode", "RUN", "--part", "half"], "half"),
        (["encode", "RUN", "--out", "x.csv"], "x.npz"),
        (["train", "--run", "RUN"], "exists already"),
        (["train", "--labelled", "50"], "give --conditional true and --classifier Softmax"),
        (["train", "--classifier", "Softmax"], "give --conditional true with it"),
        (["train", "--data", "seasonal", "--labelled", "50"], "have no labels of which to keep"),
        (["train", "--run", ""], "--run is empty"),
        (["train", "--resume", ""], "--resume is empty"),
        (["train", "--resume", "RUN", "--run", "other"], "leave --run and --config out"),
        (["train", "--resume", "RUN", "--config", "RUN/config.yaml"], "leave --run and --config"),
        (["train", "--resume", "RUN", "--seed", "1"], "cannot be resumed with seed 1"),
        (["train", "--config", ""], "folder, pipe or device"),
        (["train", "--trust", ""], "--trust is empty"),
        (["train", "--trust"], "--trust is empty"),
        (["train", "--trust", "a b"], "not the name of a module"),
        (["train", "--latent_dim", "1000000000"], "would take"),
        (["train", "--network.hidden", "[1000000000]"], "would take"),
        (["train", "--size", "1000000"], "pixels are the most"),
        (["train", f"--{'x' * 1000}"], "xxx"),
        (["sample", "RUN", "--out", ""], "--out is empty"),
    ],
)
def test_refused_in_one_line(run, argv, sentence, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    argv = [a.replace("RUN", str(run)) for a in argv]
    message = refused(argv, capsys)
    assert sentence in message
    assert len(message) <= 301
    assert list(tmp_path.iterdir()) == []


EVIL = "import os, sys\nopen(os.path.join(os.path.dirname(__file__), 'ran'), 'w')\n"


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("network", "evil.X"),
        ("network", "torch.os.system"),
        ("objective", "got.evil.X"),
        ("objective", "pvae.cli.main.sys.exit"),
    ],
)
def test_code_next_to_a_run_is_not_run(run, part, name, capsys, monkeypatch, tmp_path):
    got = shutil.copytree(run, tmp_path / "got")
    (got / "evil.py").write_text(EVIL)
    config = yaml.safe_load((got / "config.yaml").read_text())
    for value in ({"class_path": name}, name):
        (got / "config.yaml").write_text(yaml.safe_dump(config | {part: value}))
        for folder in (tmp_path, got):
            monkeypatch.chdir(folder)
            refused(["train", "--resume", str(got), "--epochs", "3"], capsys)
            refused(["train", "--config", str(got / "config.yaml"), "--run", "new"], capsys)
            if part == "network":
                refused(["sample", str(got)], capsys)
    assert not (got / "ran").exists()
    assert not {"evil", "got"} & set(sys.modules)


def test_a_configuration_may_name_what_is_trusted(tmp_path, monkeypatch, capsys, no_pictures):
    monkeypatch.chdir(tmp_path)
    Path("mine_for_config.py").write_text("import pvae\nclass Wide(pvae.networks.MLP):\n    pass\n")
    Path("c.yaml").write_text("network: {class_path: mine_for_config.Wide}")
    train = ["train", "--config", "c.yaml", "--epochs", "1", "--latent_dim", "2", "--run", "run"]
    assert "--trust mine_for_config" in refused(train, capsys)
    main([*train, "--trust", "[other_module, mine_for_config]"])
    assert "--trust mine_for_config" in capsys.readouterr().out
    assert "mine_for_config" in refused(["sample", "run"], capsys)
    main(["sample", "run", "--trust=other_module", "--trust", "mine_for_config", "--n", "2"])
    assert str(tmp_path) not in sys.path


def test_modules_in_the_current_folder_are_not_run(run, tmp_path):
    got = shutil.copytree(run, tmp_path / "got")
    modules = "torch yaml pyro numpy lazy_loader jsonargparse re sklearn PIL tqdm triton"
    for name in modules.split():
        (got / f"{name}.py").write_text(EVIL)
    command = [sys.executable, "-m", "pvae", "evaluate", ".", "--estimator", "elbo"]
    env = os.environ | {"PYTHONIOENCODING": "ascii"}  # a terminal of few letters, too
    done = subprocess.run(command, cwd=got, capture_output=True, text=True, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "-ELBO" in done.stdout
    assert not (got / "ran").exists()


def test_child_processes_do_not_import_from_the_current_folder(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "pvae.cli.main._run", lambda argv: seen.append(os.environ["PYTHONSAFEPATH"])
    )
    main([])
    assert seen == ["1"]
    assert "PYTHONSAFEPATH" not in os.environ


@pytest.mark.parametrize("seconds", [0.1, 0.6])
def test_ctrl_c_while_modules_are_imported(seconds, tmp_path):
    code = "from pvae.cli.main import main; print(flush=True); main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "train", "--run", str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")


def test_a_closed_pipe(run, monkeypatch, capfd):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:  # which is flushed in the end
        monkeypatch.setattr(sys, "stdout", closed)
        with pytest.raises(SystemExit) as raised:
            main(["evaluate", str(run), "--estimator", "elbo"])
    assert raised.value.code == 128 + signal.SIGPIPE
    assert capfd.readouterr().err == ""


def test_characters_that_a_terminal_lacks():
    assert "−ELBO ± β, Σ … 日".encode("ascii", "pvae.plain") == b"-ELBO +/- beta, Sigma ... \\u65e5"


def test_an_error_in_a_users_part_says_where(monkeypatch, capsys):
    def broken(argv, commands, trusted):
        return {}["key"]

    monkeypatch.setattr("pvae.cli.main._parse", broken)
    message = refused(["train"], capsys)
    assert "KeyError: there is no 'key'" in message
    assert "test_main.py:" in message


@pytest.mark.parametrize(
    ("argv", "refused"),
    [
        (["train"], ["--epochs", "0"]),
        (["compare", "--study", "s", "--vary.batch_size", "[64, 128]"], ["--seeds", "0"]),
    ],
)
def test_a_printed_configuration_is_taken(argv, refused, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as printed:
        main([*argv, "--print_config"])
    assert printed.value.code == 0
    (tmp_path / "printed.yaml").write_text(capsys.readouterr().out)
    with pytest.raises(SystemExit) as stopped:  # what follows the configuration is refused first
        main([argv[0], "--config", "printed.yaml", *refused])
    assert stopped.value.code == 2
    assert f"{refused[0][2:]} is 0" in capsys.readouterr().err
