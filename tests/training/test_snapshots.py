import itertools
from functools import partial

import pytest
import torch
import yaml

import pvae
from pvae.storage import schema
from pvae.training import Run, records, snapshots
from pvae.training.snapshots import snapshot_steps

NETWORK = partial(pvae.networks.MLP, hidden=[16])


@pytest.fixture(scope="module")
def digits():
    return pvae.data.load("digits")


def fit(data, folder, **options):
    vae = pvae.build(data.event_shape, 2, network=NETWORK)
    return pvae.fit(vae, data, run=folder, progress=False, **{"epochs": 2} | options)


def test_small_weights_are_kept_at_each_power_of_the_root_of_two():
    steps = sorted(snapshot_steps(100_000))
    assert steps[:10] == [0, 1, 2, 3, 4, 6, 8, 11, 16, 23]
    assert len(steps) == 41
    assert max(b / a for a, b in itertools.pairwise(steps[5:])) < 1.5
    assert sum(step <= 14_000 for step in steps) == 28


@pytest.mark.parametrize("size", [1, 2**20, 3 * 2**20, 10**7, 2**25, 2**26, 2**27])
def test_the_total_size_is_bounded(size):
    steps = snapshot_steps(size)
    assert 0 in steps
    assert len(steps) * size <= snapshots.MOST_BYTES
    assert steps <= snapshot_steps(1)


def test_very_large_weights_are_not_kept():
    assert sorted(snapshot_steps(2**26 + 1)) == [0]
    assert not snapshot_steps(2**27 + 1)


def test_snapshots_hold_the_weights_after_their_step(digits, tmp_path):
    fit(digits, tmp_path / "run", epochs=1, batch_size=len(digits.train))
    run = Run(tmp_path / "run")
    assert list(run.snapshots) == [0, 1]
    after, last = (run.vae(name).state_dict() for name in (run.snapshots[1], "last.safetensors"))
    before = run.vae(run.snapshots[0]).state_dict()
    assert all(torch.equal(after[name], w) for name, w in last.items())
    assert not all(torch.equal(before[name], w) for name, w in last.items())


@pytest.mark.parametrize("most", [0, 20_000])
def test_a_bound_on_their_size(digits, tmp_path, monkeypatch, most):
    monkeypatch.setattr(snapshots, "MOST_BYTES", most)
    fit(digits, tmp_path / "run")
    run = Run(tmp_path / "run")
    assert list(run.snapshots) == ([] if most == 0 else [0])


def test_without_snapshots(digits, tmp_path):
    fit(digits, tmp_path / "run", snapshots=False)
    assert not (tmp_path / "run" / "snapshots").exists()
    assert Run(tmp_path / "run").config["snapshots"] is False
    with pytest.raises(ValueError, match="cannot be resumed with snapshots True"):
        fit(digits, tmp_path / "run", resume=True, epochs=3)
    assert fit(digits, tmp_path / "run", resume=True, epochs=3, snapshots=False).rows[2:]
    assert not Run(tmp_path / "run").snapshots
    with pytest.raises(ValueError, match="snapshots is 'no': it must be True or False"):
        fit(digits, tmp_path / "other", snapshots="no")


def test_runs_whose_snapshots_are_named_by_the_epoch(digits, tmp_path):
    """Earlier versions named them so, and had no option."""
    folder = tmp_path / "run"
    fit(digits, folder, epochs=2)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    del config["snapshots"]
    run = Run(folder)
    weights = [(folder / run.snapshots[step]).read_bytes() for step in (0, 11, 23)]
    for name in run.snapshots.values():
        (folder / name).unlink()
    names = [f"snapshots/epoch-{epoch:06d}.safetensors" for epoch in range(3)]
    info = run.info | {"checksums": {}}
    del info["step"]
    run.info = info
    run.write_files(
        {"config.yaml": records.as_yaml(config)} | dict(zip(names, weights, strict=True))
    )
    run = Run(folder)
    assert run.snapshots == dict(zip((0, 12, 24), names, strict=True))
    run.vae(names[1])
    fit(digits, folder, resume=True, epochs=3)
    assert list(Run(folder).snapshots) == [0, 12, 24]  # what is newer stays off
    assert Run(folder).info["epochs"] == 3


def test_snapshots_of_epochs_without_a_row_are_left_out(tmp_path):
    for name in ("epoch-000000", "epoch-000004", "step-0000003"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"")
    assert list(records.snapshots(tmp_path, [{"epoch": 1, "step": 9}])) == [0, 3]
    assert records.snapshots(tmp_path / "none", []) == {}


def test_what_a_damaged_configuration_says(digits, tmp_path):
    fit(digits, tmp_path / "run", epochs=1)
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    with pytest.raises(ValueError, match="snapshots is 3, where true or false is expected"):
        schema.check(config | {"snapshots": 3}, records._CONFIG, "config.yaml")
