"""The chorales of results.sequences, from a file like that of Pyro's loader."""

import json
import pickle
from pathlib import Path

import pyro.contrib.examples.util
import pytest
import torch

import pvae
from results import frame, sequences

LENGTHS = {"train": [6, 2, 4, 3, 1, 5], "valid": [3, 4], "test": [2, 5]}


@pytest.fixture
def file(monkeypatch, tmp_path):
    """A small file with the format of Pyro's, where Pyro would look for it."""
    torch.manual_seed(0)
    splits = {
        split: {
            "sequence_lengths": torch.tensor(lengths),
            "sequences": [(torch.rand(n, 88) < 0.1).float() for n in lengths],
        }
        for split, lengths in LENGTHS.items()
    }
    monkeypatch.setattr(sequences, "get_data_directory", lambda _: str(tmp_path))
    path = tmp_path / "jsb_chorales.pkl"
    path.write_bytes(pickle.dumps(splits, pickle.HIGHEST_PROTOCOL))
    return path


def test_they_are_padded_to_the_longest(file):
    data = sequences.load_chorales(file)
    assert data.event_shape == (6, 88)
    assert data.domain == "binary"
    for split, part in (("train", data.train), ("valid", data.validation), ("test", data.test)):
        assert (~part.x.isnan().all(-1)).sum(1).tolist() == LENGTHS[split]
    # As any file of padded sequences does.
    x = {f"x_{name}": part.x for name, part in data.parts.items()}
    torch.save(x, file.with_suffix(".pt"))
    again = pvae.data.load(file.with_suffix(".pt"), event_shape=(6, 88))
    assert again.domain == "binary"
    torch.testing.assert_close(again.test.x, data.test.x, equal_nan=True)


def test_all_models_are_measured(file, monkeypatch, capsys):
    monkeypatch.setattr(sequences, "CHORALES_FIT", {"epochs": 2, "batch_size": 4, "warmup": 2})
    monkeypatch.setattr(sequences, "CHORALES_SAMPLES", 20)
    monkeypatch.setattr("sys.argv", ["sequences", "chorales", "--out", str(file.parent)])
    sequences.main()
    written = json.loads((file.parent / "sequences.json").read_text())
    assert {*written} == {"machine", "chorales"}
    rows = written["chorales"]
    assert {*rows} == {"state space", "independent steps", "one code, GRU", "one code, MLP"}
    for row in rows.values():
        # Of a step: 88 notes that sound with probability 0.1 have an entropy of 29 nats.
        assert -75 < row["bound"] < row["log_prob"] < -20
    assert "chorales state space" in capsys.readouterr().out


def test_without_their_file(file, monkeypatch, capsys):
    file.unlink()
    monkeypatch.setattr("sys.argv", ["sequences", "chorales"])
    with pytest.raises(SystemExit) as ended:
        sequences.main()
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: The chorales are missing, which were expected in {file}:")
    monkeypatch.setattr("sys.argv", ["sequences", "choralez"])
    with pytest.raises(SystemExit) as ended:
        sequences.main()
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: There is no part 'choralez': choose from 'state space', '")
    assert message.count("\n") == 1
    monkeypatch.setattr("sys.argv", ["sequences"])
    options = frame.options_of("Doc.", sequences.PARTS, file.parent, {"chorales": "Missing."})
    assert options.parts == list(sequences.MODELS)


def test_the_file_is_expected_where_pyro_has_it(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    folder = Path(pyro.contrib.examples.util.__file__).parent / ".data"
    assert sequences.chorales_file() == folder / "jsb_chorales.pkl"
