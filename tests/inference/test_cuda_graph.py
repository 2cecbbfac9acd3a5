"""The bookkeeping of captured steps, on stand-ins for CUDA's streams and graphs.

That real ones replay a step is tested with `CompiledSVI`, where there is a GPU.
"""

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch

from pvae.inference.cuda_graph import WARM_UP, CapturedStep


class Graph:
    """Records the function that is captured, and runs it when replayed."""

    captures = 0

    def replay(self):
        for own, new in zip(self.step.outputs, self.step.function(self.step.inputs), strict=True):
            own.copy_(new)


@pytest.fixture
def cuda(monkeypatch):
    stream = SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(Graph, "captures", 0)

    @contextmanager
    def capture(graph, stream):
        Graph.captures += 1
        yield

    monkeypatch.setattr(torch.cuda, "graph", capture)


def captured(function):
    update = SimpleNamespace(moved=0, refresh=lambda: None)
    step = CapturedStep(function, [torch.zeros(3)], update)
    Graph.step = step
    return step, update


def test_a_graph_is_captured_after_some_steps_and_replayed(cuda):
    step, _ = captured(lambda inputs: [2 * inputs[0]])
    results = []
    for i in range(WARM_UP + 4):
        results += step([torch.full((3,), float(i))])
        assert Graph.captures == (i >= WARM_UP)
    # Each result is a new tensor, which the next replay leaves alone.
    assert [r[0].item() for r in results] == [2.0 * i for i in range(WARM_UP + 4)]


def test_moved_tensors_are_captured_again(cuda):
    step, update = captured(lambda inputs: [inputs[0] + 1])
    for _ in range(WARM_UP + 1):
        step([torch.zeros(3)])
    update.moved += 1
    for _ in range(WARM_UP + 1):
        (result,) = step([torch.ones(3)])
    assert Graph.captures == 2
    assert torch.equal(result, torch.full((3,), 2.0))


def test_what_cannot_be_captured_is_run_and_said_once(cuda, monkeypatch, recwarn):
    @contextmanager
    def fail(graph, stream):
        yield
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "graph", fail)
    step, _ = captured(lambda inputs: [inputs[0] + 1])
    for i in range(WARM_UP + 3):
        (result,) = step([torch.full((3,), float(i))])
        assert result[0] == i + 1
    (warning,) = recwarn.list
    assert "cannot be captured" in str(warning.message)
    assert "not permitted when stream is capturing" in str(warning.message)
