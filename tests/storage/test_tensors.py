import os
import pickle

import pytest
import torch

from pvae.storage import tensors


def test_weights_and_state_come_back(tmp_path):
    weights = {"a": torch.randn(3, 4).t(), "b": torch.arange(3)}
    tensors.write_weights(tmp_path / "w", weights)
    found = tensors.read_weights(tmp_path / "w")
    assert all(torch.equal(found[k], w) for k, w in weights.items())
    state = {"weights": weights, "step": 3, "none": None, "rows": [{"loss": 0.1}]}
    tensors.write_state(tmp_path / "s", state)
    assert str(tensors.read_state(tmp_path / "s")) == str(state)


class Exploit:
    def __reduce__(self):
        return (os.mkdir, ("exploited",))


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_a_checkpoint_that_would_run_code_is_refused(tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    if how == "torch":
        torch.save({"weights": Exploit()}, "state.pt")
    else:
        (tmp_path / "state.pt").write_bytes(pickle.dumps(Exploit(), protocol=2))
    with pytest.raises(ValueError, match=r"could run code|not a complete checkpoint") as raised:
        tensors.read_state(tmp_path / "state.pt")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "exploited").exists()


@pytest.mark.parametrize("read", [tensors.read_weights, tensors.read_state])
@pytest.mark.parametrize("content", [b"", b"garbage", b"\x00" * 100])
def test_damaged_files(tmp_path, read, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=r"file is (not|refused)") as raised:
        read(tmp_path / "file")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("write", "read"),
    [
        (tensors.write_weights, tensors.read_weights),
        (tensors.write_state, tensors.read_state),
    ],
)
def test_truncated_files(tmp_path, write, read):
    write(tmp_path / "file", {"a": torch.randn(100)})
    (tmp_path / "file").write_bytes((tmp_path / "file").read_bytes()[:200])
    with pytest.raises(ValueError, match="not a complete"):
        read(tmp_path / "file")
