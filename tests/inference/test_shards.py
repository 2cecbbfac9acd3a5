"""Shards run in threads, and take the step that the graph takes."""

import itertools
import threading
from functools import partial

import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import fx

import pvae
from pvae.inference import CompiledSVI, Optimizer
from pvae.inference.shards import Shards, split


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    """Two threads compute, and nets of tests are worth it."""
    for least in ("WORTH", "LEAST"):
        monkeypatch.setattr(f"pvae.inference.sharding.{least}", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def plain(monkeypatch):
    """Shards as graphs of torch's operators."""
    for place in ("shards", "program"):
        monkeypatch.setattr(
            f"pvae.inference.{place}.compile_graph", lambda module, *args: module.forward
        )


def trained(inference, steps=4, **options):
    """The losses of some steps, the weights after them, and what took the steps."""
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    vae = pvae.build((1, 8, 8), 4, network=partial(pvae.networks.MLP, hidden=[16]))
    optim = Optimizer(vae.parameters(), torch.optim.SGD)  # Adam would enlarge what rounding does
    optim.batch_size = 16
    svi = inference(vae.model, vae.guide, optim, Trace_ELBO(), **options)
    batches = torch.rand(steps, 16, 1, 8, 8).bernoulli()
    with pyro.validation_enabled(False):
        losses = [svi.step(x) for x in batches]
    return losses, [p.detach() for p in vae.parameters()], svi


def test_shards_take_the_steps_of_the_program_with_its_noise():
    losses, weights, _ = trained(SVI)
    ours, moved, svi = trained(CompiledSVI, compile=True, backend="inductor")
    ((program,),) = svi._programs.values()
    assert isinstance(program.function, Shards)
    assert ours == pytest.approx(losses, rel=1e-5)
    for one, other in zip(moved, weights, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_one_thread_needs_no_shards(plain, threads):
    torch.set_num_threads(threads)
    _, _, svi = trained(CompiledSVI, steps=1, compile=True, backend="inductor")
    ((program,),) = svi._programs.values()
    assert isinstance(program.function, Shards) is (threads > 1)


def sums(*, twice=False):
    """The graph of sums over six items of two numbers, split in two, without Inductor."""

    def total(x, w):
        value = (x * w).sum()
        return [value, value if twice else x.sum(0) * w]

    tensors = torch.arange(12.0).view(6, 2), torch.tensor([1.0, 2.0])
    module = fx.experimental.proxy_tensor.make_fx(total, tracing_mode="fake")(*tensors)
    return module, tensors


@pytest.mark.parametrize("threads", [2, 3])
def test_each_thread_has_a_shard(plain, threads):
    module, tensors = sums()
    sharding = split(module, range(1), threads)
    assert sharding.shards == threads
    for one, other in zip(Shards(sharding)(*tensors), module(*tensors), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("threads", [4, 5, 6, 16])
def test_no_thread_is_left_idle(threads):
    module, _ = sums()
    assert split(module, range(1), threads) is None


def test_a_result_given_twice_is_added_once(plain):
    module, tensors = sums(twice=True)
    results = Shards(split(module, range(1), 3))(*tensors)
    assert [float(r) for r in results] == [float(r) for r in module(*tensors)]


def test_threads_compute_at_once(plain):
    module, tensors = sums()
    shards = Shards(split(module, range(1), 2))
    compute, meet = shards.function, threading.Barrier(2, timeout=10)

    def function(*inputs):
        meet.wait()  # both are here before either goes on
        assert torch.get_num_threads() == 1
        assert not torch.is_grad_enabled()
        return compute(*inputs)

    shards.function = function
    with torch.no_grad():
        shards(*tensors)
    assert torch.get_num_threads() == 2


def test_where_shards_disagree_the_graph_runs(plain, monkeypatch):
    def wrong(self, *tensors):
        return [2 * value for value in self.sharding.shard(*self.sharding.inputs(tensors)[0])]

    monkeypatch.setattr(Shards, "__call__", wrong)
    losses, _, _ = trained(SVI, steps=1)
    ours, _, svi = trained(CompiledSVI, steps=1, compile=True, backend="inductor")
    ((program,),) = svi._programs.values()
    assert program.function == program.graph.module.forward
    assert ours == pytest.approx(losses, rel=1e-5)


def test_where_shards_fail_the_graph_runs(plain, monkeypatch):
    def fail(self, *tensors):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Shards, "__call__", fail)
    losses, _, _ = trained(SVI, steps=2)
    ours, _, svi = trained(CompiledSVI, steps=2, compile=True, backend="inductor")
    assert not isinstance(next(iter(svi._programs.values()))[0].function, Shards)
    assert ours == pytest.approx(losses, rel=1e-5)


def test_an_error_in_a_thread_is_raised_and_the_next_step_taken(plain):
    module, tensors = sums()
    shards = Shards(split(module, range(1), 2))
    compute, calls = shards.function, itertools.count()

    def function(*inputs):
        if next(calls) < 2 and threading.current_thread() is not threading.main_thread():
            raise RuntimeError("no memory")
        return compute(*inputs)

    shards.function = function
    with pytest.raises(RuntimeError, match="no memory"):
        shards(*tensors)
    assert torch.get_num_threads() == 2
    torch.testing.assert_close(shards(*tensors)[0], module(*tensors)[0])


def test_a_forked_process_makes_threads_of_its_own(plain, monkeypatch):
    module, tensors = sums()
    shards = Shards(split(module, range(1), 2))
    shards(*tensors)
    of_parent = shards._threads()
    assert shards._threads() is of_parent
    monkeypatch.setattr("os.getpid", lambda: -2)
    assert shards._threads() is not of_parent
    torch.testing.assert_close(shards(*tensors)[0], module(*tensors)[0])
