"""Where Inductor is wrong or has no compiler, the graph of torch operators runs."""

import pyro
from pyro.infer import Trace_ELBO

from pvae.inference import CompiledSVI
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


def test_without_a_compiler_the_plain_graph_runs(monkeypatch):
    model, guide, args = score_function()
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    svi = CompiledSVI(model, guide, adam(), Trace_ELBO(), compile=True)
    assert isinstance(svi.step(*args), float)
    ((program,),) = svi._programs.values()
    assert program.function == program.graph.module.forward
