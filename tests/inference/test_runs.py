import json
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
from pvae.inference import Run, storage


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
        "snapshots/epoch-000000.safetensors",
        "snapshots/epoch-000001.safetensors",
        "snapshots/epoch-000002.safetensors",
    }
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    info = json.loads((run / "run.json").read_text())
    assert (info["epochs"], info["stopped"], info["pvae"]) == (2, "finished", pvae.__version__)


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


def test_a_part_of_ones_own_comes_back(tmp_path, monkeypatch):
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
        (remove("run.json"), FileNotFoundError, "no run folder, or a half-written one"),
        (remove("config.yaml"), FileNotFoundError, "it has no config.yaml"),
        (remove("weights.safetensors"), FileNotFoundError, "weights.safetensors is missing"),
        (damage("run.json", b"{"), ValueError, "run.json is damaged"),
        (damage("run.json", b'{"format": 99}'), ValueError, "run folder of format 99"),
        (damage("config.yaml", b": : ["), ValueError, "damaged and cannot be read"),
        (damage("config.yaml", b"5"), ValueError, "config.yaml is incomplete"),
        (damage("config.yaml", b"[1]"), ValueError, "config.yaml is incomplete"),
        (damage("config.yaml", b""), ValueError, "config.yaml is incomplete"),
        (damage("config.yaml", b"data: digits"), ValueError, "lacks event_shape, latent_dim"),
        (damage("weights.safetensors", b"junk"), ValueError, "not a whole safetensors file"),
        (damage("weights.safetensors", pickle.dumps(0)), ValueError, "not a whole safetensors"),
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
    """Take the checksums out, as who forges a run can, and as earlier versions wrote it."""
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
    "snapshots/epoch-000001.safetensors",
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
    state = storage.read_state(run / "state.pt")
    del state["optimizer"]
    storage.write_state(run / "state.pt", state)
    with pytest.raises(ValueError, match="its checksum differs"):
        resume(run)
    forget(run)
    with pytest.raises(ValueError, match="is incomplete: it lacks optimizer"):
        resume(run)
