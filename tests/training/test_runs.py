import contextlib
import json
import os
import pickle
import re
import shutil
from functools import partial

import pyro
import pytest
import torch
import yaml
from torch import nn

import pvae
from pvae.cli.main import main
from pvae.storage import tensors
from pvae.training import Run, writer


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    pyro.set_rng_seed(0)
    folder = tmp_path_factory.mktemp("runs") / "run"
    data = pvae.data.load("digits")
    network = partial(pvae.networks.Conv, channels=[4], hidden=8)
    likelihood = partial(pvae.likelihoods.Gaussian, scale=0.3)
    vae = pvae.build(data.event_shape, 3, likelihood=likelihood, network=network)
    pvae.fit(vae, data, epochs=2, batch_size=256, run=folder, progress=False)
    return folder, vae


@pytest.fixture
def run(trained, tmp_path):
    """A copy to damage."""
    return shutil.copytree(trained[0], tmp_path / "run")


def test_what_a_run_leaves(run):
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert names == {
        "config.yaml",
        "run.json",
        "metrics.jsonl",
        "weights.safetensors",
        "last.safetensors",
        "state.pt",
        *(f"snapshots/step-{step:07d}.safetensors" for step in (0, 1, 2, 3, 4, 6, 8, 11)),
    }
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    info = json.loads((run / "run.json").read_text())
    assert (info["epochs"], info["step"], info["stopped"]) == (2, 12, "finished")
    assert info["pvae"] == pvae.__version__


def test_load_gives_back_the_model(trained):
    folder, vae = trained
    loaded = pvae.load(folder)
    x = torch.rand(5, 1, 8, 8)
    assert not loaded.training
    assert torch.equal(loaded.encode(x).mean, vae.encode(x).mean)
    assert torch.equal(loaded.sample(3, seed=0), vae.sample(3, seed=0))
    assert loaded.likelihood.scale == 0.3


def test_the_configuration_rebuilds_the_data(trained):
    data = Run(trained[0]).data()
    original = pvae.data.load("digits")
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(data, part).x, getattr(original, part).x)


class Squeeze(nn.Module):
    """A network that a configuration can name."""

    def __init__(self, in_shape, out_shape):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.LazyLinear(torch.Size(out_shape).numel()),
            nn.Unflatten(1, out_shape),
        )
        self.layers(torch.zeros(1, *in_shape))

    def forward(self, x):
        return self.layers(x)


def test_a_users_part_is_restored(tmp_path, monkeypatch):
    data = pvae.data.load("digits")
    vae = pvae.build(data.event_shape, 2, network=Squeeze)
    pvae.fit(vae, data, epochs=1, run=tmp_path / "run", progress=False)
    with pytest.raises(ValueError, match=re.escape(f"trust=['{__name__}']")):
        pvae.load(tmp_path / "run")
    for trust in (__name__, [__name__], [Squeeze.__module__ + ".Squeeze"]):
        loaded = pvae.load(tmp_path / "run", trust=trust)
        assert isinstance(loaded.posterior.network, Squeeze)


def test_a_vae_that_no_configuration_can_name(tmp_path):
    data = pvae.data.load("digits")

    def make():
        return pvae.build(data.event_shape, 2, network=lambda i, o: Squeeze(i, o))

    vae = make()
    pvae.fit(vae, data, epochs=1, run=tmp_path / "run", progress=False)
    with pytest.raises(ValueError, match=re.escape("pvae.load(run, vae=vae)")):
        pvae.load(tmp_path / "run")
    loaded = pvae.load(tmp_path / "run", vae=make())
    assert torch.equal(loaded.sample(3, seed=0), vae.sample(3, seed=0))


def damage(name, content):
    def apply(run):
        (run / name).write_bytes(content)

    return apply


def change(name, value):
    def apply(run):
        config = yaml.safe_load((run / "config.yaml").read_text())
        config[name] = value
        (run / "config.yaml").write_text(yaml.safe_dump(config))

    return apply


def remove(name):
    return lambda run: (run / name).unlink()


@pytest.mark.parametrize(
    ("harm", "error", "sentence"),
    [
        (shutil.rmtree, FileNotFoundError, "There is no run folder"),
        (remove("run.json"), FileNotFoundError, "not a run folder, or is incomplete"),
        (remove("config.yaml"), FileNotFoundError, "it has no config.yaml"),
        (remove("weights.safetensors"), FileNotFoundError, "weights.safetensors is missing"),
        (damage("run.json", b"{"), ValueError, "run.json is damaged"),
        (damage("run.json", b'{"format": 99}'), ValueError, "run folder of format 99"),
        (damage("config.yaml", b": : ["), ValueError, "damaged and cannot be read"),
        (damage("config.yaml", b"5"), ValueError, "config.yaml is incomplete"),
        (damage("config.yaml", b"[1]"), ValueError, "config.yaml is incomplete"),
        (damage("config.yaml", b""), ValueError, "config.yaml is incomplete"),
        (damage("config.yaml", b"data: digits"), ValueError, "lacks event_shape, latent_dim"),
        (damage("weights.safetensors", b"junk"), ValueError, "not a complete safetensors file"),
        (damage("weights.safetensors", pickle.dumps(0)), ValueError, "not a complete safetensors"),
        (change("latent_dim", 4), ValueError, "does not match the model"),
        (change("prior", {"class_path": "os.system"}), ValueError, "outside of pvae, torch and"),
        (change("network", {"class_path": "no.Such"}), ValueError, "outside of pvae, torch and"),
        (change("network", {"class_path": "pvae.Such"}), ValueError, "cannot be imported"),
        (change("network", {"class_path": "pvae.data.load"}), ValueError, "not a class derived"),
        (
            change("network", {"class_path": "pvae.networks.MLP", "init_args": {"hiden": [3]}}),
            ValueError,
            "cannot be built",
        ),
    ],
)
def test_damaged_runs(run, harm, error, sentence):
    harm(run)
    with pytest.raises(error, match=sentence) as raised:
        pvae.load(run)
    assert "\n" not in str(raised.value)


def test_weights_of_another_model_change_nothing(run):
    other = pvae.build((1, 8, 8), 2)
    before = {name: w.clone() for name, w in other.state_dict().items()}
    with pytest.raises(ValueError, match=r"does not match the model; .* in the file, .* in the"):
        pvae.load(run, vae=other)
    assert all(torch.equal(before[name], w) for name, w in other.state_dict().items())


def forget(run):
    """Remove the checksums, as a forger can, and as earlier versions wrote runs."""
    info = json.loads((run / "run.json").read_text())
    del info["checksums"], info["dtype"]
    (run / "run.json").write_text(json.dumps(info))


def resume(run, epochs=3):
    vae = pvae.load(run)
    return pvae.fit(
        vae, Run(run).data(), epochs=epochs, batch_size=256, run=run, resume=True, progress=False
    )


def contents(run):
    return {path: path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}


def test_runs_of_earlier_versions_are_loaded_and_resumed(run):
    forget(run)
    assert resume(run).stopped == "finished"
    assert Run(run).info["epochs"] == 3
    resume(run, 4)


FILES = [
    "config.yaml",
    "run.json",
    "metrics.jsonl",
    "weights.safetensors",
    "last.safetensors",
    "snapshots/step-0000001.safetensors",
    "state.pt",
]


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_named_and_nothing_is_rewritten(run, name):
    path = run / name
    content = bytearray(path.read_bytes())
    known = {"config.yaml": b"seed: 0", "run.json": b'"epochs": 2', "metrics.jsonl": b"0."}
    at = known.get(name, content[-20:])
    place = content.index(at) + len(at) - 1
    content[place] ^= 1
    path.write_bytes(content)
    before = contents(run)
    with pytest.raises(ValueError, match=re.escape(name)):
        resume(run)
    assert contents(run) == before


def test_a_state_that_lacks_something(run):
    state = tensors.read_state(run / "state.pt")
    del state["optimizer"]
    tensors.write_state(run / "state.pt", state)
    with pytest.raises(ValueError, match="its checksum does not match"):
        resume(run)
    forget(run)
    with pytest.raises(ValueError, match="is incomplete: it lacks optimizer"):
        resume(run)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("run.json", b'{"format": 1}', "run.json is incomplete: it lacks epochs, data"),
        ("run.json", b'{"format": "1"}', "format is '1', where a whole number"),
        ("run.json", b"[" * 10**6, "run.json is damaged"),
        ("run.json", b'{"format": ' + b"1" * 10**4 + b"}", "run.json is damaged"),
        ("metrics.jsonl", b"[]\n", r"metrics.jsonl, line 1, is damaged: it is \[\]"),
        ("metrics.jsonl", b'{"epoch": 1}\n', "line 1, is incomplete: it lacks step"),
        ("metrics.jsonl", b"\xff\n", "metrics.jsonl, line 1, is damaged"),
        ("state.pt", b"junk", r"state.pt (differs from what|is not a complete)"),
    ],
)
@pytest.mark.parametrize("forged", [False, True])
def test_odd_entries_are_refused_before_anything_is_rewritten(run, name, content, sentence, forged):
    if forged:
        forget(run)
    (run / name).write_bytes(content)
    before = contents(run)
    with pytest.raises(ValueError, match=sentence) as raised:
        resume(run)
    assert len(str(raised.value)) < 400
    assert contents(run) == before


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("labels", 5),
        ("labels", {"classes": "3"}),
        ("data", None),
        ("mode", "fast"),
        ("epochs", None),
        ("dtype", "os"),
        ("checksums", {"state.pt": 3}),
    ],
)
def test_odd_entries_of_run_json(run, entry, value):
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(info | {entry: value}))
    with pytest.raises(ValueError, match=rf"run\.json is damaged: .*{entry}"):
        pvae.load(run)


def test_labels_of_run_json_override_nothing_else(run):
    forget(run)
    info = json.loads((run / "run.json").read_text())
    info["labels"] = {"classes": None, "network": {"class_path": "os.system"}, "latent_dim": 7}
    (run / "run.json").write_text(json.dumps(info))
    assert pvae.load(run).latent_shape == (3,)


def test_lines_of_the_metrics_are_those_of_the_epochs(run):
    forget(run)
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    for odd in (lines[1:], [lines[0], lines[0]], [*lines, lines[1]]):
        (run / "metrics.jsonl").write_text("".join(odd))
        with pytest.raises(ValueError, match=r"metrics\.jsonl is damaged: line \d is not of epoch"):
            _ = Run(run).history


@pytest.mark.parametrize("name", ["last.safetensors", "metrics.jsonl", "state.pt", "config.yaml"])
def test_pipes_and_folders_in_a_run(run, name):
    for make in (os.mkfifo, os.mkdir):
        (run / name).unlink(missing_ok=True)
        make(run / name)
        with pytest.raises(ValueError, match=f"{name} is a folder, pipe or device"):
            resume(run)
        os.unlink(run / name) if make is os.mkfifo else os.rmdir(run / name)


def test_weights_of_another_dtype_are_refused_and_not_cast(run):
    path = run / "weights.safetensors"
    halves = {name: w.half() for name, w in tensors.read_weights(path).items()}
    tensors.write_weights(path, halves)
    with pytest.raises(ValueError, match="its checksum does not match"):
        pvae.load(run)
    info = json.loads((run / "run.json").read_text())
    del info["checksums"]
    (run / "run.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match=r"of float16 in the file, .* of float32 in the model"):
        pvae.load(run)


def test_swapped_weights_are_found(run):
    first, second = (run / f"snapshots/step-000000{i}.safetensors" for i in (1, 2))
    content = first.read_bytes(), second.read_bytes()
    first.write_bytes(content[1])
    second.write_bytes(content[0])
    with pytest.raises(ValueError, match="its checksum does not match"):
        Run(run).vae("snapshots/step-0000001.safetensors")


def test_odd_names_among_the_snapshots(run):
    for name in (
        "step-1x.safetensors",
        "step-" + "9" * 30 + ".safetensors",
        "step-1.safetensors",
    ):
        (run / "snapshots" / name).write_bytes(b"")
    (run / "snapshots" / "step-0000016.safetensors").symlink_to("/dev/zero")
    assert list(Run(run).snapshots) == [0, 1, 2, 3, 4, 6, 8, 11, 16]
    with pytest.raises(ValueError, match="folder, pipe or device"):
        Run(run).vae(Run(run).snapshots[16])


def state_with(run, change):
    """Forge the state."""
    forget(run)
    state = tensors.read_state(run / "state.pt")
    change(state)
    tensors.write_state(run / "state.pt", state)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["position"].pop("epoch"),
        lambda s: s["position"].update(epoch="1"),
        lambda s: s["position"].update(other=1),
        lambda s: s["position"].update(step=7),
        lambda s: s["position"].update(batch=10**6),
        lambda s: s["position"].update(best=float("nan")),
        lambda s: s["position"].update(loss=float("inf")),
        lambda s: s["position"].update(seconds=10**400),
        lambda s: s["position"].update(stale=9),
        lambda s: s["position"]["rows"].pop(),
        lambda s: s["position"]["rows"].reverse(),
        lambda s: s["position"]["rows"][0].update({"validation/neg_elbo": "low"}),
        lambda s: s["position"]["rows"][0].update({"validation/neg_elbo": float("nan")}),
        lambda s: s["position"]["rows"][1].pop("validation/neg_elbo"),
        lambda s: s["position"]["rows"][0].update(kl=torch.zeros(2)),
        lambda s: s["position"]["best_weights"].popitem()[1].fill_(torch.nan),
        lambda s: next(iter(s["position"]["best_weights"].values())).fill_(torch.nan),
        lambda s: next(iter(s["weights"].values())).fill_(torch.inf),
        lambda s: s.update(objective_step=10**6),
        lambda s: s["position"].update(best_weights={"a": torch.zeros(1)}),
        lambda s: s.update(optimizer=3),
        lambda s: s.update(random=torch.zeros(3)),
        lambda s: s.update(scheduler=3),
        lambda s: s["optimizer"]["param_groups"].clear(),
        lambda s: s["optimizer"]["param_groups"][0].pop("lr"),
        lambda s: s["optimizer"]["param_groups"][0].update(lr="x"),
        lambda s: s["optimizer"]["param_groups"][0].update(lr=1e9),
        lambda s: s["optimizer"]["param_groups"][0].update(betas=(0.9, 2.0)),
        lambda s: s["optimizer"]["param_groups"][0].update(more=1),
        lambda s: s["optimizer"]["param_groups"][0]["params"].reverse(),
        lambda s: s["optimizer"]["state"][0].pop("exp_avg_sq"),
        lambda s: s["optimizer"]["state"][0]["exp_avg_sq"].fill_(torch.nan),
        lambda s: s["optimizer"]["state"][0].update(step=torch.tensor(-1.0)),
        lambda s: s["optimizer"]["state"][0].update(step=3),
        lambda s: s["optimizer"]["param_groups"][0].update(amsgrad=True),
        lambda s: s["optimizer"]["state"].update({99: {}}),
        lambda s: s["optimizer"]["state"][0].update(exp_avg=torch.zeros(3)),
        lambda s: s["weights"].popitem(),
        lambda s: s["weights"].update({k: w.double() for k, w in s["weights"].items()}),
    ],
)
def test_states_of_another_kind(run, change):
    state_with(run, change)
    before = contents(run)
    with pytest.raises(ValueError, match=r"state\.pt") as raised:
        resume(run)
    assert len(str(raised.value)) <= 300
    assert contents(run) == before


def test_a_next_step_that_fails_is_rehearsed(run):
    """Moments that are finite, and of the right shapes, but that no valid run has."""

    def huge(state):
        for moments in state["optimizer"]["state"].values():
            moments["exp_avg"].fill_(1e38)

    state_with(run, huge)
    before = contents(run)
    with (
        pytest.raises(FloatingPointError, match="loss of its next step is") as raised,
        pytest.warns(UserWarning, match="Encountered"),
    ):
        resume(run)
    assert len(str(raised.value)) <= 300
    assert contents(run) == before


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("evaluation.json", "a file is expected"),
        ("figures/loss.png", "a file is expected"),
        ("snapshots/step-0000016.safetensors", "a file is expected"),
    ],
)
def test_a_folder_in_the_place_of_a_file_is_refused_at_once(run, name, sentence):
    (run / name).mkdir(parents=True)
    before = contents(run)
    with pytest.raises(ValueError, match=f"{name} is a folder.* {sentence}"):
        resume(run)
    assert contents(run) == before


@pytest.mark.parametrize("name", ["figures", "snapshots"])
@pytest.mark.parametrize("forged", [False, True])
def test_nothing_is_written_or_removed_through_a_link(run, tmp_path, name, forged):
    elsewhere = tmp_path / "elsewhere"
    left = f".x-{2**22 + 1}-abcd1234.part"  # which a killed process would leave
    if (run / name).exists():
        shutil.move(run / name, elsewhere)
    elsewhere.mkdir(exist_ok=True)
    (elsewhere / left).write_text("precious")
    (run / name).symlink_to(elsewhere)
    if forged:
        forget(run)
    before = contents(run), contents(elsewhere)
    with pytest.raises(ValueError, match=f"{name} is a link"):
        resume(run)
    if name == "figures":
        for argv in (["plot", run], ["sample", run], ["score", run, "--anomalous", "[1]"]):
            with pytest.raises(SystemExit):
                main([*map(str, argv), "--device", "cpu"])
    with pytest.raises(ValueError, match=f"{name} is a link"):
        Run(run).place(f"{name}/x.png")
    assert (contents(run), contents(elsewhere)) == before


def test_checksums_are_of_files_in_the_folder(run):
    info = json.loads((run / "run.json").read_text())
    for name in ("../other/state.pt", "/etc/passwd"):
        info["checksums"] = {name: ["0"]}
        (run / "run.json").write_text(json.dumps(info))
        with pytest.raises(ValueError, match="not a file of the run folder"):
            Run(run)


def test_a_run_that_another_process_writes_is_left_alone(run):
    with Run(run).lock():
        before = contents(run)
        with pytest.raises(BlockingIOError, match=f"written by process {os.getpid()}"):
            resume(run)
        assert contents(run) == before


def test_a_run_that_was_changed_meanwhile(run):
    opened = Run(run)
    Run(run).update(stopped="early")
    with pytest.raises(ValueError, match="changed by another process"), opened.lock():
        pass


def test_a_folder_that_vanishes_stops_the_run(run, monkeypatch):
    monkeypatch.setattr(writer, "SECONDS_BETWEEN_CHECKPOINTS", 0)
    steps = []

    class Vanishing(pyro.infer.Trace_ELBO):
        def loss_and_grads(self, *args):
            steps.append(1)
            if len(steps) == 3:
                shutil.rmtree(run)
            return super().loss_and_grads(*args)

    vae = pvae.build((1, 8, 8), 2)
    shutil.rmtree(run)
    with pytest.raises(FileNotFoundError, match="has been removed or renamed"):
        pvae.fit(vae, "digits", objective=Vanishing(), epochs=1, run=run, progress=False)
    assert len(steps) == 3
    assert not run.exists()


@pytest.mark.parametrize("fatal", range(1, 9))
def test_between_any_two_files_the_checksums_hold(run, monkeypatch, fatal):
    """As a kill would leave them, at each rename of a checkpoint."""
    replace, left = os.replace, fatal

    def deadly(source, target):
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        replace(source, target)

    opened = Run(run)
    names = ("weights.safetensors", "last.safetensors", "snapshots/step-0000001.safetensors")
    monkeypatch.setattr(os, "replace", deadly)
    for _ in range(2):
        with contextlib.suppress(KeyboardInterrupt):
            new = {n: torch.rand(()) + w for n, w in pvae.load(run).state_dict().items()}
            opened.write_files({name: tensors.pack_weights(new) for name in names})
        for name in names:
            Run(run).vae(name)
