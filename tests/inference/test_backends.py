"""Where Inductor is wrong or has no compiler, the graph of torch operators runs."""

import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch.fx.experimental.proxy_tensor import make_fx

from pvae.inference import CompiledSVI
from pvae.inference.backends import best_backend, compile_graph
from tests.programs import score_function


def adam():
    return pyro.optim.Adam({"lr": 1e-2})


def test_where_inductor_is_wrong_the_plain_graph_runs(monkeypatch):
    def miscompile(module, tensors, backend):
        return lambda *args: [2 * output for output in module(*args)]

    monkeypatch.setattr("pvae.inference.program.compile_graph", miscompile)
    model, guide, args = score_function()
    svi = CompiledSVI(model, guide, adam(), Trace_ELBO(), compile=True, backend="inductor")
    assert isinstance(svi.step(*args), float)


@pytest.mark.skipif(torch.__version__ < "2.7", reason="graphs are not cached")
def test_what_was_compiled_is_loaded_with_all_that_came_before():
    """Not the code alone: torch traces and transforms a graph no second time."""
    from torch._dynamo.utils import counters

    x = torch.rand(7)
    module = make_fx(lambda x: (x.sigmoid(), torch.lgamma(x), x.log1p()), tracing_mode="fake")(x)
    first = compile_graph(module, [x], "inductor")(x)
    found = counters["aot_autograd"]["autograd_cache_hit"]
    again = compile_graph(module, [x], "inductor")(x)
    assert counters["aot_autograd"]["autograd_cache_hit"] == found + 1
    assert all(map(torch.equal, first, again))


def test_large_graphs_run_as_they_are(monkeypatch):
    monkeypatch.setattr("pvae.inference.backends.MOST_OPERATORS", 5)
    model, guide, args = score_function()
    svi = CompiledSVI(model, guide, adam(), Trace_ELBO(), compile=True, backend="inductor")
    svi.step(*args)
    ((program,),) = svi._programs.values()
    assert program.function == program.graph.module.forward


def test_inductor_runs_where_there_is_a_compiler(monkeypatch, tmp_path):
    (tmp_path / "g++").write_text("")
    (tmp_path / "g++").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert best_backend(torch.device("cpu")) == "inductor"


def test_without_a_compiler_the_plain_graph_runs(monkeypatch):
    model, guide, args = score_function()
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    svi = CompiledSVI(model, guide, adam(), Trace_ELBO(), compile=True)
    assert isinstance(svi.step(*args), float)
    ((program,),) = svi._programs.values()
    assert program.function == program.graph.module.forward
