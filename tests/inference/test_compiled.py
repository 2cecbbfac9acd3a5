import copy
import functools
import gc
from contextlib import nullcontext

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import (
    SVI,
    Predictive,
    Trace_ELBO,
)
from pyro.infer.autoguide import AutoMultivariateNormal, AutoNormal
from torch import nn

import pvae
from pvae.inference import CompiledSVI, Optimizer
from pvae.inference.guards import Watch
from pvae.inference.update import Update
from pvae.objectives import BetaELBO
from tests.programs import PROGRAMS, Module, regression, score_function, vae


@pytest.fixture
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


class Recorder(Update):
    """Keeps gradients, and updates nothing."""

    def __call__(self, parameters):
        store = pyro.get_param_store()
        self.gradients = {
            store.param_name(p): p.grad.clone() for p in parameters if p.grad is not None
        }


def adam(lr=1e-2, **arguments):
    return pyro.optim.Adam({"lr": lr} | arguments)


def made(name):
    make, loss = PROGRAMS[name]
    model, guide, args = make()
    return model, guide, loss(), [x.to(torch.get_default_dtype()) for x in args]


def programs(svi):
    """The graphs of each kind of arguments."""
    return list(svi._programs.values())


def worst(gradients, references):
    """The largest difference, relative to the largest gradient."""
    largest = max(r.abs().max() for r in references.values())
    differences = [gradients.get(name, 0 * r) - r for name, r in references.items()]
    return max(d.abs().max() for d in differences) / largest


def check_agreement(name, backend):
    model, guide, loss, args = made(name)
    optim = adam()
    svi = CompiledSVI(model, guide, optim, loss, compile=True, backend=backend)
    svi.update = Recorder(optim)
    svi.step(*args)
    pyro.set_rng_seed(7)
    found = svi.step(*args)
    tolerance = 1e-6 if torch.get_default_dtype() == torch.float64 else 1e-4
    if hasattr(loss, "step"):
        loss.step -= 1
    pyro.set_rng_seed(7)
    with poutine.trace(param_only=True) as sites:
        expected = loss.loss_and_grads(model, guide, *args)
    assert found == pytest.approx(expected, rel=tolerance)
    parameters = {site["value"].unconstrained() for site in sites.trace.nodes.values()}
    store = pyro.get_param_store()
    references = {store.param_name(p): p.grad for p in parameters if p.grad is not None}
    assert worst(svi.update.gradients, references) <= tolerance
    if backend == "graph" and isinstance(expected, float):
        pyro.set_rng_seed(8)
        evaluated = svi.evaluate_loss(*args)
        pyro.set_rng_seed(8)
        assert evaluated == pytest.approx(
            SVI(model, guide, optim, loss).evaluate_loss(*args), rel=tolerance
        )


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_plain_graph_agrees_with_pyro(name):
    check_agreement(name, "graph")


def test_inductor_agrees_with_pyro():
    check_agreement("VAE, convolutional and Gaussian", "inductor")


@pytest.mark.usefixtures("double")
def test_inductor_agrees_in_double_precision_and_compiles_a_graph_once():
    from torch._dynamo.utils import counters

    found = counters["inductor"]["fxgraph_cache_hit"]
    for _ in range(2):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        check_agreement("mixture, enumerated in the model", "inductor")
    assert counters["inductor"]["fxgraph_cache_hit"] > found or torch.__version__ < "2.7"


@pytest.mark.usefixtures("double")
def test_hundreds_of_steps_are_those_of_pyro():
    """With the same numbers, through all that is checked at growing intervals."""
    trained = []
    for cls in (SVI, lambda *a: CompiledSVI(*a, compile=True, backend="graph")):
        pyro.clear_param_store()
        pyro.set_rng_seed(1)
        model, guide, args = regression(AutoNormal)
        svi = cls(model, guide, adam(), Trace_ELBO())
        pyro.set_rng_seed(2)
        trained.append([svi.step(*args) for _ in range(130)])
    assert trained[0] == pytest.approx(trained[1], rel=1e-6)
    assert trained[0][0] > 2 * trained[0][-1]


# Parameters ------------------------------------------------------------------------------------


def test_parameters_stay_in_the_store():
    model, guide, args = regression(AutoMultivariateNormal)
    svi = CompiledSVI(model, guide, adam(0.1), Trace_ELBO(), compile=True, backend="graph")
    for _ in range(120):
        svi.step(*args)
    store = pyro.get_param_store()
    assert store
    assert not any(p.grad.any() for p in store._params.values())  # as SVI leaves them
    predictive = Predictive(model, guide=guide, num_samples=50)
    error = predictive(args[0])["y"].mean(0) - args[1]
    assert error.abs().mean() < 0.3  # noise of 0.1
    state = copy.deepcopy(store.get_state())
    pyro.set_rng_seed(1)
    before = svi.evaluate_loss(*args)
    store.set_state(state)  # other tensors of the same values
    pyro.set_rng_seed(1)
    assert svi.evaluate_loss(*args) == pytest.approx(before, rel=1e-4)


def test_a_cleared_store_starts_over(monkeypatch):
    monkeypatch.setattr("pvae.inference.compiled.MOST_PROGRAMS", 2)
    model, guide, args = score_function()
    svi = CompiledSVI(model, guide, adam(0.1), Trace_ELBO(), compile=True, backend="graph")
    for _ in range(20):
        svi.step(*args)
    trained = pyro.param("rates").detach().clone()
    for _ in range(3):  # more often than there may be graphs
        pyro.clear_param_store()
        svi.step(*args)
        assert not torch.allclose(pyro.param("rates"), trained)
        assert (pyro.param("rates") - torch.tensor([2.0, 5.0])).abs().max() < 1


def test_two_models_of_the_same_names_take_turns():
    alone = []
    for seed in (1, 2):
        pyro.clear_param_store()
        pyro.set_rng_seed(seed)
        model, guide, args = vae()
        svi = CompiledSVI(model, guide, adam(), Trace_ELBO(), compile=True, backend="graph")
        pyro.set_rng_seed(5)
        svi.step(*args)
        alone.append([])
        for step in range(4):
            pyro.set_rng_seed(10 + step)
            alone[-1].append(svi.step(*args))
    pyro.clear_param_store()
    both = []
    for seed in (1, 2):
        pyro.set_rng_seed(seed)
        model, guide, args = vae()
        svi = CompiledSVI(model, guide, adam(), Trace_ELBO(), compile=True, backend="graph")
        pyro.set_rng_seed(5)
        svi.step(*args)
        both.append((svi, args, []))
    for step in range(4):
        for svi, args, losses in both:
            pyro.set_rng_seed(10 + step)
            losses.append(svi.step(*args))
    assert [losses for _, _, losses in both] == alone
    assert all(len(found) == 1 for svi, *_ in both for found in programs(svi))


def test_modules_keep_their_state_in_step():
    """Batch normalization's running statistics, and one graph for each mode."""
    states = []
    for cls in (SVI, lambda *a: CompiledSVI(*a, compile=True, backend="graph")):
        pyro.clear_param_store()
        pyro.set_rng_seed(1)
        made = Module()
        x = torch.randn(16, 4)
        svi = cls(made.model, made.guide, adam(), Trace_ELBO())
        pyro.set_rng_seed(2)
        losses = [svi.step(x) for _ in range(5)]
        made.eval()
        losses += [svi.evaluate_loss(x), svi.step(x)]
        made.train()
        losses += [svi.step(x)]
        states.append([*losses, *made.net[1].running_mean, made.net[1].num_batches_tracked])
    assert [float(s) for s in states[1]] == pytest.approx([float(s) for s in states[0]], rel=1e-4)
    assert sorted(map(len, programs(svi))) == [1, 2]


def test_memory_does_not_grow():
    model, guide, args = score_function()
    svi = CompiledSVI(model, guide, adam(), Trace_ELBO(), compile=True, backend="graph")

    def tensors():
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    for _ in range(5):
        svi.step(*args)
    before = tensors()
    for _ in range(260):  # with six checks
        svi.step(*args)
    assert tensors() <= before + 3


# What changes -------------------------------------------------------------------------------------


def graphs(svi):
    return sum(map(len, programs(svi)))


def test_a_schedule_needs_one_graph():
    """The weight of the KL, a learning rate and a temperature change; the graph does not."""
    losses = []
    temperature = torch.ones(())
    for compiled in (False, True):
        pyro.clear_param_store()
        pyro.set_rng_seed(1)
        model, guide, args = vae()
        arguments = {"optimizer": torch.optim.Adam, "optim_args": {"lr": 0.05}, "gamma": 0.5}
        optim = pyro.optim.ExponentialLR(dict(arguments))
        objective = BetaELBO(warmup_steps=7, cycle_steps=10)
        temperature.fill_(1.0)

        def tempered(x, model=model):
            with poutine.scale(scale=temperature):
                return model(x)

        kind = (lambda *a: CompiledSVI(*a, compile=True, backend="graph")) if compiled else SVI
        svi = kind(tempered, guide, optim, objective)
        pyro.set_rng_seed(2)
        losses.append([])
        for _ in range(24):
            losses[-1].append(svi.step(*args))
            optim.step()
            temperature.mul_(0.9)
        assert objective.step == 24
        assert objective.weight == pytest.approx(4 / 7)
        rates = {o.optimizer.param_groups[0]["lr"] for o in optim.optim_objs.values()}
        assert list(rates) == [pytest.approx(0.05 * 0.5**24)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert graphs(svi) == 1


def test_a_signature_is_traced_once():
    model, guide, (x,) = vae()
    svi = CompiledSVI(model, guide, adam(), Trace_ELBO(), compile=True, backend="graph")
    svi.step(x.transpose(-1, -2))
    for n in (5, 3, 5, 3):  # a smaller last batch costs one more graph
        svi.step(x[:n])
    assert graphs(svi) == 2
    svi.step(x[:3].transpose(-1, -2))  # other strides
    assert graphs(svi) == 2
    svi.step(x[:3].bool().float())
    assert graphs(svi) == 2


def test_unwatched_steps_are_the_same_and_look_for_no_changes(monkeypatch):
    searches = []
    same = Watch.same
    monkeypatch.setattr(Watch, "same", lambda watch: searches.append(watch) or same(watch))
    found = {}
    for watched in (True, False):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        made, x = pvae.build((5,), 2), torch.ones(5, 5)
        svi = CompiledSVI(made.model, made.guide, adam(), Trace_ELBO(), backend="graph")
        searches.clear()
        with nullcontext() if watched else svi.unwatched():
            losses = [svi.step(part) for _ in range(20) for part in (x, x[:3])]
        found[watched] = losses, len(searches)
    assert found[True][0] == found[False][0]
    # Both graphs are looked up once, and for their checks at steps 2, 4, 8 and 16.
    assert found[True][1] >= 36
    assert found[False][1] <= 12
    made.eval()  # a change after the loop is found
    svi.step(x)
    assert graphs(svi) == 3


def test_unwatched_steps_follow_optimizers_and_numbers_that_are_read():
    model, guide, (x,) = vae()
    svi = CompiledSVI(model, guide, adam(), Trace_ELBO(), compile=True, backend="graph")
    with svi.unwatched():
        svi.step(x)
        svi.step(x)
        before = {name: p.clone() for name, p in pyro.get_param_store().items()}
        svi.optim = adam(lr=0.0)
        svi.step(x)
        after = pyro.get_param_store()
        assert all(torch.equal(after[name], p) for name, p in before.items())

    class Annealed:
        factor = 1.0

        def model(self, x):
            loc = pyro.param("annealed", torch.ones(()))
            pyro.sample("x", dist.Normal(loc * self.factor, 1.0), obs=x)

        def guide(self, x):
            pass

    made, x = Annealed(), torch.zeros(())
    svi = CompiledSVI(made.model, made.guide, adam(), Trace_ELBO(), compile=True, backend="graph")
    first = svi.evaluate_loss(x)
    made.factor = 2.0
    svi.evaluate_loss(x)  # from now on the factor is an input
    with svi.unwatched():
        for factor in (1.0, 3.0, 5.0):
            made.factor = factor
            assert svi.evaluate_loss(x) == pytest.approx(first + 0.5 * (factor**2 - 1))


def test_arguments_that_are_no_tensors_are_constants():
    def model(x, scale, labels=None):
        loc = pyro.param("loc", torch.zeros(()))
        z = pyro.sample("z", dist.Normal(loc, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(z + sum(labels["some"]), scale), obs=x)

    def guide(x, scale, labels=None):
        pyro.sample("z", dist.Normal(pyro.param("q", torch.zeros(())), 1.0))

    svi = CompiledSVI(model, guide, adam(), Trace_ELBO(), compile=True, backend="graph")
    eager = SVI(model, guide, adam(), Trace_ELBO())
    x = torch.randn(4)
    for scale in (1.0, 2.0, 1.0):
        labels = {"some": [torch.ones(()), 3]}
        pyro.set_rng_seed(1)
        found = svi.evaluate_loss(x, scale, labels=labels)
        pyro.set_rng_seed(1)
        assert found == pytest.approx(eager.evaluate_loss(x, scale, labels=labels))
    assert graphs(svi) == 2


def test_numbers_that_change_make_a_new_graph():
    class Scaled(nn.Module):
        factor = 1.0

        def model(self, x):
            pyro.sample("x", dist.Normal(offset[0] * self.factor, 1.0).to_event(0), obs=x)

        def guide(self, x):
            pass

    offset = [pyro.param("offset", torch.ones(()))]
    made, x = Scaled(), torch.zeros(())
    made.factor = 1.0
    svi = CompiledSVI(made.model, made.guide, adam(), Trace_ELBO(), compile=True, backend="graph")
    loss = svi.evaluate_loss(x)
    made.factor = 2.0
    assert svi.evaluate_loss(x) == pytest.approx(loss + 1.5)
    made.factor = 1.0
    assert svi.evaluate_loss(x) == pytest.approx(loss)
    for factor in range(3, 6):
        made.factor = float(factor)
        pyro.set_rng_seed(0)
        assert svi.evaluate_loss(x) == pytest.approx(SVI.evaluate_loss(svi, x), rel=1e-5)
    assert graphs(svi) == 2  # of the first value, and of all others


class Config:
    def __init__(self):
        self.level = 0.0


LEVEL, CONFIG = 0.0, Config()


def level():
    return LEVEL


class Level(pyro.nn.PyroModule):
    level = 0.0

    def forward(self, x):
        observe(x, self.level + LEVEL)


def observe(x, level):
    pyro.sample("x", dist.Normal(pyro.param("loc", torch.ones(())) + level, 1.0), obs=x)


def set_global(value):
    global LEVEL
    LEVEL = value


STALE = {
    "a global of a helper": (lambda x: observe(x, level()), set_global),
    "a global in an expression": (lambda x: observe(x, sum(LEVEL for _ in range(1))), set_global),
    "a global of a module": (Level(), set_global),
    "a partial": (
        functools.partial(lambda c, x: observe(x, c.level), CONFIG),
        CONFIG.__dict__.update,
    ),
}


@pytest.mark.parametrize("name", STALE)
def test_what_programs_reach_is_watched(name):
    model, change = STALE[name]
    svi = CompiledSVI(model, lambda x: None, adam(), Trace_ELBO(), compile=True, backend="graph")
    for value in (0.0, 2.0, 0.0):
        change({"level": value} if name == "a partial" else value)
        loss = svi.evaluate_loss(torch.zeros(()))
        assert loss == pytest.approx(SVI.evaluate_loss(svi, torch.zeros(())), rel=1e-6)


def test_an_attribute_of_the_class_may_be_set_on_the_object():
    model, x = Level(), torch.zeros(())
    svi = CompiledSVI(model, lambda x: None, adam(), Trace_ELBO(), compile=True, backend="graph")
    before = svi.evaluate_loss(x)
    model.level = 2.0
    assert svi.evaluate_loss(x) == pytest.approx(before + 4.0)


def test_arguments_may_be_one_tensor_or_several():
    def model(x, y):
        observe(x + y + shared, 0.0)

    shared = torch.ones(())
    svi = CompiledSVI(model, lambda x, y: None, adam(), Trace_ELBO(), compile=True, backend="graph")
    eager = SVI(model, lambda x, y: None, adam(), Trace_ELBO())
    for x, y in [(shared, shared), (shared, shared + 3), (shared + 1, shared)]:
        assert svi.evaluate_loss(x, y) == pytest.approx(eager.evaluate_loss(x, y))


def test_numbers_that_choose_may_not_keep_changing(monkeypatch):
    """Python rounds the value, which so has a graph for each."""
    monkeypatch.setattr("pvae.inference.compiled.MOST_PROGRAMS", 3)

    def model(x, beta):
        observe(x, int(10 * beta) / 10)

    svi = CompiledSVI(model, lambda x, beta: None, adam(), Trace_ELBO(), backend="graph")
    x = torch.zeros(())
    for step in range(3):
        svi.step(x, 0.1 * step)
    with pytest.warns(RuntimeWarning, match="an argument changes again and again"):
        svi.step(x, -1.0)
    svi.step(x, -2.0)
    assert graphs(svi) == 3


@pytest.mark.parametrize(
    ("model", "cause"),
    [
        (lambda x: observe(x.add_(1.0), 0.0), "changes an argument in place"),
        (lambda x: observe(x, torch.manual_seed(1) and 0.0), "seeds torch"),
        (
            lambda x: observe(x + torch.rand((), generator=torch.Generator()), 0.0),
            "its own torch.Generator",
        ),
    ],
)
def test_what_a_graph_cannot_do(model, cause):
    svi = CompiledSVI(model, lambda x: None, adam(), Trace_ELBO(), backend="graph")
    eager = SVI(model, lambda x: None, adam(), Trace_ELBO())
    x, y = torch.zeros(()), torch.zeros(())
    with pytest.warns(RuntimeWarning, match=cause):
        found = svi.evaluate_loss(x)
    assert found == pytest.approx(eager.evaluate_loss(y), rel=0.5)
    assert torch.equal(x, y)


def test_frozen_parameters_and_other_optimizers():
    ended = []
    x = torch.ones(4, 5)
    for cls in (SVI, lambda *a: CompiledSVI(*a, compile=True, backend="graph")):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        made = pvae.build((5,), 2)
        bias = made.likelihood.network.output_bias
        svi = cls(made.model, made.guide, adam(0.1), Trace_ELBO())
        svi.step(x)
        bias.requires_grad_(False)
        before = bias.clone()
        svi.step(x)
        assert torch.equal(bias, before)
        bias.requires_grad_(True)
        svi.optim = adam(0.5)
        svi.step(x)
        ended.append(bias.detach().clone())
    torch.testing.assert_close(*ended, rtol=1e-3, atol=1e-4)


def test_a_copy_is_trained_independently():
    model, guide, args = score_function()
    svi = CompiledSVI(model, guide, adam(), Trace_ELBO(), compile=True, backend="graph")
    svi.step(*args)
    copied = copy.deepcopy(svi)
    assert isinstance(copied.step(*args), float)


@pytest.mark.parametrize("p", [0.5, 0.3])
def test_dropout(p):
    net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(p), nn.Linear(8, 1))

    def model(x):
        pyro.module("net", net)
        observe(x[..., 0], net(x)[..., 0])

    svi = CompiledSVI(model, lambda x: None, adam(), Trace_ELBO(), compile=True, backend="graph")
    assert isinstance(svi.step(torch.randn(3)), float)


def test_parameters_may_change_dtype_and_shape():
    made = pvae.build((1, 8, 8), 2)
    x = torch.ones(4, 1, 8, 8)
    svi = CompiledSVI(made.model, made.guide, adam(), Trace_ELBO(), compile=True, backend="graph")
    assert isinstance(svi.step(x), float)
    made.double()
    loss = svi.step(x.double())
    assert isinstance(loss, float)
    made.likelihood.network = pvae.networks.MLP((2,), (1, 8, 8), hidden=[5])
    fresh = [p.clone() for p in made.likelihood.network.parameters()]
    made.float()
    svi.step(x)
    changed = zip(fresh, made.likelihood.network.parameters(), strict=True)
    assert all(not torch.equal(a, b) for a, b in changed)


def test_handlers_around_a_step_take_effect():
    model, guide, args = score_function()
    svi = CompiledSVI(model, guide, adam(), Trace_ELBO(), compile=True, backend="graph")
    svi.step(*args)
    pyro.set_rng_seed(1)
    loss = svi.evaluate_loss(*args)
    pyro.set_rng_seed(1)
    with poutine.scale(scale=2.0):
        assert svi.evaluate_loss(*args) == pytest.approx(2 * loss)


@pytest.mark.parametrize(
    ("bad", "message"),
    [({"compile": False}, "compile is False"), ({"backend": "tvm"}, "backend is 'tvm'")],
)
def test_bad_arguments_are_refused(bad, message):
    model, guide, _ = score_function()
    with pytest.raises(ValueError, match=message):
        CompiledSVI(model, guide, adam(), Trace_ELBO(), **bad)


# Losses that are not numbers, and CUDA ------------------------------------------------------------


def test_a_nan_warns_as_with_svi():
    model, guide, (x,) = vae()
    svi = CompiledSVI(model, guide, adam(), Trace_ELBO(), compile=True, backend="graph")
    svi.step(x)
    with pytest.warns(UserWarning, match="NaN"):
        assert np.isnan(svi.step(x * torch.nan))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
class TestCuda:
    """The whole step as one CUDA graph."""

    @pytest.fixture
    def pair(self):
        pyro.set_rng_seed(1)
        made = pvae.build((1, 8, 8), 2).cuda()
        optim = Optimizer(made.parameters(), torch.optim.Adam)
        return made, optim

    def test_a_captured_step_agrees(self, pair):
        losses = []
        x = torch.ones(16, 1, 8, 8, device="cuda")
        for cls in (SVI, CompiledSVI):
            pyro.set_rng_seed(1)
            made = pvae.build((1, 8, 8), 2).cuda()
            optim = Optimizer(made.parameters(), torch.optim.Adam)
            svi = cls(made.model, made.guide, optim, Trace_ELBO())
            pyro.set_rng_seed(2)
            losses.append([float(svi.step(x)) for _ in range(20)])
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)

    def test_a_replay_draws_new_numbers_and_does_not_wait(self, pair):
        made, optim = pair
        svi = CompiledSVI(made.model, made.guide, optim, Trace_ELBO(), compile=True)
        x = torch.ones(16, 1, 8, 8, device="cuda")
        kept = [svi.step(x) for _ in range(10)]
        torch.cuda.set_sync_debug_mode("error")
        try:
            kept += [svi.step(x) for _ in range(10)]
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert len({float(loss) for loss in kept}) == len(kept)
