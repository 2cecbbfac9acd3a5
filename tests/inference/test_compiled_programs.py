"""Odd programs and optimizers: CompiledSVI does what SVI does, or lets SVI do it and says why."""

import argparse
import collections
import dataclasses
import math
import re
import warnings
from functools import partial

import numpy as np
import pyro
import pyro.distributions as dist
import pyro.distributions.transforms as transforms
import pytest
import torch
from pyro import poutine
from pyro.contrib import gp
from pyro.distributions import constraints
from pyro.infer import (
    SVI,
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
)
from pyro.infer.autoguide import AutoGuideList, AutoNormal, AutoNormalMessenger, AutoStructured
from pyro.nn import PyroModule
from pyro.optim import PyroOptim
from torch import nn

from pvae.inference import CompiledSVI

STEPS = 6
ANY = "changes again and again"  # the cause, where the program may also have a graph
PROGRAMS = {}  # name: what makes it, and the cause of its being run by SVI, if it is


def program(cause=None):
    def add(make):
        PROGRAMS[make.__name__] = make, cause
        return make

    return add


def nothing(*args, **kwargs):
    pass


def observe(x, loc):
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)


def scalar(x, level):
    pyro.sample("x", dist.Normal(pyro.param("loc", torch.zeros(())) + level, 1.0), obs=x)


def locate(x, scale=1.0):
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    pyro.sample("x", dist.Normal(z * scale, 1.0), obs=x)


def guess(x, beta=1.0):
    with poutine.scale(scale=beta):
        pyro.sample("z", dist.Normal(pyro.param("q", torch.zeros(())), 1.0))


def bayes(x):
    m = pyro.sample("m", dist.Normal(0.0, 1.0))
    s = pyro.sample("s", dist.LogNormal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(m, s), obs=x)


def tensors(*shape):
    return (torch.randn(*shape),), {}


ONE = (torch.ones(()),), {}


# What runs leave behind ---------------------------------------------------------------------------


class Average(nn.Module):
    """Keeps a running mean, in one way or another."""

    def __init__(self, update):
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))
        self.weight = nn.Parameter(torch.ones(3))
        self.update = update

    def model(self, x):
        pyro.module("average", self)
        self.update(self, x.mean(0))
        observe(x, self.weight + self.mean)


def in_place(self, u):
    with torch.no_grad():
        self.mean *= 0.9
        self.mean += u


UPDATES = {
    "operators": in_place,
    "data": lambda self, u: self.mean.data.mul_(0.9).add_(u),
    "elements": lambda self, u: self.mean[1:].add_(u[1:]),
    "copy": lambda self, u: self.mean.copy_(0.9 * self.mean + u),
}
for name, update in UPDATES.items():

    def average(update=update):
        own = Average(update)
        return own.model, nothing, partial(tensors, 4, 3), Trace_ELBO(), lambda: own.mean

    PROGRAMS[f"running mean by {name}"] = average, None


@program("mean of _buffers of Average is given another value at each run")
def running_mean_by_name():
    own = Average(lambda self, u: setattr(self, "mean", 0.9 * self.mean + u))
    return own.model, nothing, partial(tensors, 4, 3), Trace_ELBO(), lambda: own.mean


@program("disagrees")
def running_mean_by_memory():
    own = Average(lambda self, u: setattr(self.mean, "data", 0.9 * self.mean + u))
    return own.model, nothing, partial(tensors, 4, 3), Trace_ELBO(), lambda: own.mean


class ActNorm(nn.Module):
    """Begins at the mean of the first data that it sees (Kingma, Dhariwal 2018)."""

    def __init__(self, begun):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(3))
        self.begun = begun

    def model(self, x):
        pyro.module("norm", self)
        if not self.begun:
            self.loc.data.copy_(x.mean(0))
            if torch.is_tensor(self.begun):
                self.begun.fill_(True)
            else:
                self.begun = True
        observe(x, self.loc)


@program()
def begins_at_data_by_a_flag():
    own = ActNorm(False)
    return own.model, nothing, partial(tensors, 4, 3), Trace_ELBO(), lambda: own.loc


@program()
def begins_at_data_by_a_tensor():
    own = ActNorm(torch.tensor(False))
    return own.model, nothing, partial(tensors, 4, 3), Trace_ELBO(), lambda: own.begun


@program()
def mask_that_grows():
    mask = torch.zeros(3, dtype=torch.bool)

    def model(x):
        mask.logical_or_(x.mean(0) > 0.5)
        observe(x, pyro.param("loc", torch.zeros(3)) * mask)

    return model, nothing, partial(tensors, 4, 3), Trace_ELBO(), lambda: mask


@program()
def parameters_made_by_random_numbers():
    def guide(x):
        loc = pyro.param("q", lambda: torch.randn(()))
        pyro.sample("z", dist.Normal(loc, 0.5 + torch.rand(())))

    return locate, guide, lambda: ONE, Trace_ELBO()


@program()
def modules_made_at_first_use():
    class Own(PyroModule):
        def __init__(self):
            super().__init__()
            self.net = None

        def forward(self, x):
            if self.net is None:
                self.net = PyroModule[nn.Linear](3, 3)
            observe(x, self.net(x))

    return Own(), nothing, partial(tensors, 4, 3), Trace_ELBO()


@program("n of Own is given another value at each run")
def counter():
    class Own:
        n = 0

        def __call__(self, x):
            self.n += 1
            scalar(x, 0.1 * self.n)

    return Own(), nothing, lambda: ONE, Trace_ELBO()


@program("kept of .*model is given another value at each run")
def list_that_grows():
    kept = []

    def model(x):
        kept.append(len(kept))
        scalar(x, 0.0)

    return model, nothing, lambda: ONE, Trace_ELBO(), lambda: torch.tensor(len(kept))


@program("the random state of rng")
def generator_of_numpy():
    rng = np.random.default_rng(0)
    return lambda x: scalar(x, float(rng.normal())), nothing, lambda: ONE, Trace_ELBO()


@program("averaging baselines")
def averaging_baseline():
    def model(x):
        z = pyro.sample("z", dist.Bernoulli(0.3))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        p = pyro.param("p", torch.tensor(0.4), constraint=constraints.unit_interval)
        infer = {"baseline": {"use_decaying_avg_baseline": True}}
        pyro.sample("z", dist.Bernoulli(p), infer=infer)

    return model, guide, lambda: ONE, TraceGraph_ELBO()


# What has been an error ---------------------------------------------------------------------------


@program()
def messenger_for_a_guide():
    return bayes, AutoNormalMessenger(bayes), partial(tensors, 5), Trace_ELBO()


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_recurrent_networks(cell):
    def make():
        net = getattr(nn, cell)(3, 3, batch_first=True)

        def model(x):
            pyro.module("net", net)
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(net(x)[0], 1.0).to_event(2), obs=x)

        return model, nothing, partial(tensors, 2, 4, 3), Trace_ELBO()

    check(make, None)


@program("value of a tensor there, which is known only in a run")
def shape_that_depends_on_values():
    def model(x):
        x = x[x[:, 0] > 0].view(-1, 3)
        observe(x, pyro.param("loc", torch.zeros(3)))

    return model, nothing, partial(tensors, 6, 3), Trace_ELBO()


@program("raises an error when traced")
def plate_that_is_a_loop():
    def model(x):
        for i in pyro.plate("data", 3):
            z = pyro.sample(f"z_{i}", dist.Normal(0.0, 1.0))
            pyro.sample(f"x_{i}", dist.Normal(z, 1.0), obs=x[i])

    def guide(x):
        for i in pyro.plate("data", 3):
            pyro.sample(f"z_{i}", dist.Normal(pyro.param(f"q_{i}", torch.zeros(())), 1.0))

    return model, guide, partial(tensors, 3), Trace_ELBO()


@program("has no parameters")
def without_parameters():
    return locate, lambda x: pyro.sample("z", dist.Normal(0.0, 1.0)), lambda: ONE, Trace_ELBO()


@program()
def without_arguments():
    return lambda: locate(torch.ones(())), lambda: guess(None), lambda: ((), {}), Trace_ELBO()


@program()
def loss_near_zero():
    def model():
        pyro.sample("z", dist.Normal(torch.zeros(999), 1.0).to_event(1))

    def guide():
        loc = pyro.param("q", torch.zeros(999))
        pyro.sample("z", dist.Normal(loc, 1.0).to_event(1))

    return model, guide, lambda: ((), {}), TraceMeanField_ELBO()


@program("an argument is a torch.sparse_coo tensor")
def sparse_argument():
    def model(w, x):
        observe(x, (w @ pyro.param("loc", torch.zeros(3, 1))).squeeze(-1))

    return model, nothing, lambda: ((torch.eye(3).to_sparse(), torch.ones(2, 3)), {}), Trace_ELBO()


@program("computes with a torch.sparse_coo tensor")
def sparse_tensor_elsewhere():
    w = torch.eye(3).to_sparse()

    def model(x):
        observe(x, (w @ pyro.param("loc", torch.zeros(3, 1))).squeeze(-1))

    return model, nothing, partial(tensors, 2, 3), Trace_ELBO()


@program()
def transform_with_a_cache():
    flow = transforms.planar(3)

    def model(x):
        z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        observe(x, z)

    def guide(x):
        pyro.module("flow", flow)
        base = dist.Normal(torch.zeros(3), 1.0).to_event(1)
        pyro.sample("z", dist.TransformedDistribution(base, [flow]))

    return model, guide, partial(tensors, 2, 3), Trace_ELBO()


@program()
def model_without_a_hash():
    class Own:
        __hash__ = None

        def __call__(self, x):
            scalar(x, 0.0)

    return Own(), nothing, lambda: ONE, Trace_ELBO()


@program()
def sparse_gaussian_process():
    x = torch.linspace(0, 1, 9)
    own = gp.models.SparseGPRegression(x, x.sin(), gp.kernels.RBF(1), x[::3].clone(), jitter=1e-3)
    return own.model, own.guide, lambda: ((), {}), Trace_ELBO()


# What has been run by SVI without need ------------------------------------------------------------


@dataclasses.dataclass
class Settings:
    level: float


@program()
def namespace_for_an_argument():
    own = argparse.Namespace(level=0.5)
    return (
        lambda x, own: scalar(x, own.level),
        nothing,
        lambda: ((torch.ones(()), own), {}),
        Trace_ELBO(),
    )


@program()
def data_class_for_an_argument():
    return (
        lambda x, own: scalar(x, own.level),
        nothing,
        lambda: ((torch.ones(()), Settings(0.5)), {}),
        Trace_ELBO(),
    )


@program()
def setting_that_changes():
    own = Settings(0.0)

    def arguments():
        own.level += 0.1
        return (torch.ones(()), own), {}

    return lambda x, own: scalar(x, own.level), nothing, arguments, Trace_ELBO()


@program()
def array_for_an_argument():
    rng = np.random.default_rng(0)

    def model(x):
        observe(torch.as_tensor(x), pyro.param("loc", torch.zeros(3)))

    return model, nothing, lambda: ((rng.normal(size=(4, 3)).astype("f"),), {}), Trace_ELBO()


@program()
def number_that_changes():
    betas = iter(np.linspace(0.1, 1, STEPS).tolist())
    return (
        lambda x, beta: locate(x),
        guess,
        lambda: ((torch.ones(()),), {"beta": next(betas)}),
        Trace_ELBO(),
    )


@program()
def batch_for_an_attribute():
    class Own:
        def model(self):
            observe(self.batch, pyro.param("loc", torch.zeros(3)))

    own = Own()

    def arguments():
        own.batch = torch.randn(4, 3)
        return (), {}

    return own.model, nothing, arguments, Trace_ELBO()


@dataclasses.dataclass
class Batch:
    x: torch.Tensor
    names: list


@program()
def data_class_that_holds_a_batch():
    return (
        lambda batch: observe(batch.x, pyro.param("loc", torch.zeros(3))),
        nothing,
        lambda: ((Batch(torch.randn(4, 3), ["a"]),), {}),
        Trace_ELBO(),
    )


@program()
def determinant_of_a_random_correlation():
    def model(x):
        scale = pyro.sample("L", dist.LKJCholesky(3, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.MultivariateNormal(torch.zeros(3), scale_tril=scale), obs=x)

    return model, AutoNormal(model), partial(tensors, 4, 3), Trace_ELBO()


@program()
def assertions():
    def model(x):
        assert torch.isfinite(x).all()
        assert not (x > 100).any(), "too large"
        if not (x > -100).all():
            raise ValueError("too small")
        observe(x, pyro.param("loc", torch.zeros(3)))

    return model, nothing, partial(tensors, 4, 3), Trace_ELBO()


@program()
def chain_of_discrete_variables():
    def model(x):
        p = pyro.param("p", torch.tensor([[0.9, 0.1], [0.2, 0.8]]), constraint=constraints.simplex)
        loc, z = pyro.param("loc", torch.tensor([-1.0, 1.0])), 0
        for t in pyro.markov(range(3)):
            infer = {"enumerate": "parallel"}
            z = pyro.sample(f"z{t}", dist.Categorical(p[z]), infer=infer)
            pyro.sample(f"x{t}", dist.Normal(loc[z], 1.0), obs=x[t])

    return model, nothing, partial(tensors, 3), TraceEnum_ELBO(max_plate_nesting=0)


@program()
def structured_guide():
    return bayes, AutoStructured(bayes), partial(tensors, 5), Trace_ELBO()


@program()
def list_of_guides():
    guide = AutoGuideList(bayes)
    guide.append(AutoNormal(poutine.block(bayes, expose=["m"])))
    guide.append(AutoNormal(poutine.block(bayes, expose=["s"])))
    return bayes, guide, partial(tensors, 5), Trace_ELBO()


@program("a parameter has a hook on its gradient")
def hook_on_a_gradient():
    calls = []

    def model(x):
        loc = pyro.param("loc", torch.zeros(()))
        if not loc._post_accumulate_grad_hooks:
            loc.register_post_accumulate_grad_hook(calls.append)
        pyro.sample("x", dist.Normal(loc, 1.0), obs=x)

    return model, nothing, lambda: ONE, Trace_ELBO(), lambda: torch.tensor(len(calls))


SCHEDULES = {  # of the number of steps
    "linear": lambda step: min(1.0, (step + 1) / 100),
    "cosine": lambda step: 1.5 - math.cos(math.pi * min(1.0, step / 50)),
    "in two phases": lambda step: 0.1 if step < 3 else 0.5 * step,
    "by remainder": lambda step: 0.1 + (step % 2) * 0.5,
}
REPLACED = {
    "a list": lambda x: [x, 2.0],
    "a dictionary": lambda x: {"x": x, "scale": 2.0},
    "a named tuple": lambda x: Pair(x, 2.0),
    "an object": lambda x: argparse.Namespace(x=x, scale=2.0),
}
Pair = collections.namedtuple("Pair", "x scale")


READINGS = {  # of a number v and a whole number n: what no arithmetic of tensors shows
    "in a set": lambda v, n: 2.0 if v in {1.0, 3.0, 5.0} else 0.5,
    "in a frozen set": lambda v, n: 2.0 if n in frozenset((1, 3, 5)) else 0.5,
    "in a new set": lambda v, n: 0.1 * len({v, 3.0, 4.0}),
    "key": lambda v, n: {1.0: 0.1, 3.0: 0.3}.get(v, 0.7),
    "hash": lambda v, n: float(hash(v) == hash(3.0)),
    "identity": lambda v, n: 0.1 * len({id(v), id(2.5)}),
    "text": lambda v, n: float(str(v) == "3.0"),
    "representation": lambda v, n: float(repr(v) == "3.0"),
    "old format": lambda v, n: float("%s" % v == "3.0"),  # noqa: UP031
    "format": lambda v, n: float(f"{v:.1f}" == "3.0"),
    "text of a whole number": lambda v, n: {"a3": 1.0}.get(f"a{n}", 0.3),
    "rounded": lambda v, n: 0.1 * int(v / 2),
    "index": lambda v, n: [0.1 * i for i in range(10)][n],
    "truth": lambda v, n: 1.0 if v - 3 else 0.5,
    "attribute": lambda v, n: 0.1 if hasattr(v, "item") else 0.3,
    "division by zero": lambda v, n: attempt(lambda: 1 / (n - 4)),
    "logarithm of zero": lambda v, n: attempt(lambda: math.log(v)),
    "negative power": lambda v, n: 2 ** (4 - n),
    "beyond 64 bits": lambda v, n: 0.1 * (((n + 1) * 2**61) % 7),
}


def attempt(call):
    try:
        return call()
    except (ZeroDivisionError, ValueError):
        return 0.7


@pytest.mark.parametrize("name", READINGS)
def test_what_python_reads_of_a_number_is_followed(name):
    """The first numbers give the same answer, so that a graph which takes it for granted agrees."""

    def make():
        values = iter([6, 7, 3, 0, 4, 3])

        def model(x, v, n):
            scalar(x, READINGS[name](v, n) + 0.01 * v + 0.01 * n)

        def arguments():
            n = next(values)
            return (torch.ones(()), float(n), n), {}

        return model, nothing, arguments, Trace_ELBO()

    check(make, ANY)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_by_a_counter_needs_few_graphs(name):
    """The counter is an attribute that the training loop moves on."""

    def make():
        own = argparse.Namespace(step=-1)

        def model(x):
            with poutine.scale(scale=SCHEDULES[name](own.step)):
                locate(x)

        def arguments():
            own.step += 1
            return ONE

        return model, lambda x: guess(x), arguments, Trace_ELBO()

    assert check(make, None) <= 3


@pytest.mark.parametrize("name", REPLACED)
def test_a_batch_that_is_replaced_needs_two_graphs(name):
    def make():
        own = argparse.Namespace()

        def model():
            batch = own.batch
            x = batch.x if hasattr(batch, "x") else batch[0 if name == "a list" else "x"]
            observe(x, pyro.param("loc", torch.zeros(3)))

        def arguments():
            own.batch = REPLACED[name](torch.randn(4, 3))
            return (), {}

        return model, nothing, arguments, Trace_ELBO()

    assert check(make, None) <= 2


def test_settings_that_are_replaced_by_equal_ones_are_compared_quickly():
    own = argparse.Namespace()
    svi = CompiledSVI(
        lambda x: scalar(x, own.settings.level),
        nothing,
        pyro.optim.Adam({"lr": 0.01}),
        Trace_ELBO(),
        backend="graph",
    )
    for _ in range(4):
        own.settings = Settings(0.5)
        svi.step(torch.ones(()))
    ((made,),) = svi._programs.values()
    own.settings = Settings(0.5)
    assert made.take([torch.ones(())])
    assert made.watch.same()
    own.settings.level = 3.0  # in place, after it was accepted
    expected = SVI.evaluate_loss(svi, torch.ones(()))
    assert svi.step(torch.ones(())) == pytest.approx(expected)


@pytest.mark.parametrize(("scale", "steps"), [(0.0, 4), (-1.0, 1)])
def test_a_scale_that_pyro_refuses_is_refused_at_once(scale, steps):
    def model(x, scale):
        with poutine.scale(scale=scale):
            scalar(x, 0.0)

    svi = CompiledSVI(model, nothing, pyro.optim.Adam({"lr": 0.01}), Trace_ELBO(), backend="graph")
    for step in range(steps):
        svi.step(torch.ones(()), 0.5 + step)
    before = pyro.param("loc").item()
    with pytest.raises(ValueError, match="Expected scale > 0"):
        svi.step(torch.ones(()), scale)
    assert pyro.param("loc").item() == before
    assert isinstance(svi.step(torch.ones(()), 2.0), float)


def lazy(x):
    """Its parameter is drawn when it is first used."""
    observe(x, pyro.param("loc", lambda: torch.randn(3)) + torch.randn(3))


def counting():
    own = argparse.Namespace(runs=0)

    def model(x):
        own.runs += 1
        scalar(x, 0.1 * own.runs)

    return model


def listing():
    seen = []

    def model(x):
        seen.append(len(seen))
        scalar(x, 0.1 * sum(seen))

    return model


def iterating():
    numbers = iter(range(100))
    return lambda x: scalar(x, 0.1 * next(numbers))


def starting():
    own = argparse.Namespace(started=False)

    def model(x):
        scalar(x, 0.0 if own.started else 3.0)
        own.started = True

    return model


COLD = {
    "counter": (lambda: (counting(), nothing, lambda: ONE, Trace_ELBO()), "at each run"),
    "list": (lambda: (listing(), nothing, lambda: ONE, Trace_ELBO()), "at each run"),
    "iterator": (lambda: (iterating(), nothing, lambda: ONE, Trace_ELBO()), "rewind"),
    "first time": (lambda: (starting(), nothing, lambda: ONE, Trace_ELBO()), None),
    "lazy parameter": (lambda: (lazy, nothing, partial(tensors, 4, 3), Trace_ELBO()), None),
    "hook on a gradient": PROGRAMS["hook_on_a_gradient"],
    "sparse tensor": PROGRAMS["sparse_tensor_elsewhere"],
    "random guide": (lambda: (bayes, AutoNormal(bayes), partial(tensors, 5), Trace_ELBO()), None),
}


@pytest.mark.parametrize("name", COLD)
def test_a_first_step_without_warming_up_is_svis(name):
    check(*COLD[name], warm_up=False)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program(name):
    check(*PROGRAMS[name])


def test_arguments_of_many_shapes(monkeypatch):
    monkeypatch.setattr("pvae.inference.compiled.MOST_KINDS", 3)

    def make():
        sizes = iter(range(1, STEPS + 1))

        def model(x):
            observe(x, pyro.param("loc", torch.zeros(3)))

        return model, nothing, lambda: tensors(next(sizes), 3), Trace_ELBO()

    check(make, "more than 3 kinds")


def check(make, cause, **settings):
    """Compare losses, parameters and what else is kept with SVI's; return the number of graphs."""
    ended = []
    for cls in (SVI, partial(CompiledSVI, backend="graph", **settings)):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        model, guide, arguments, loss, *kept = make()
        svi = cls(model, guide, pyro.optim.Adam({"lr": 0.01}), loss)
        pyro.set_rng_seed(1)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            ended.append([])
            for _ in range(STEPS):
                args, kwargs = arguments()
                ended[-1].append(torch.tensor(svi.step(*args, **kwargs)))
        store = pyro.get_param_store()
        ended[-1] += [store[name].detach() for name in sorted(store)]
        ended[-1] += [keep().detach().float().clone() for keep in kept]
        ended[-1].append(torch.rand(()))
    assert len(ended[0]) == len(ended[1])
    for eager, compiled in zip(*ended, strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-4)
    said = [str(w.message) for w in warned if "static graph" in str(w.message)]
    assert len(said) == (cause is not None) or cause == ANY
    assert not said or re.search(cause, said[0])
    return sum(map(len, svi._programs.values()))


# Validation, and what is found later --------------------------------------------------------------


def test_values_are_validated_at_growing_intervals_and_on_request():
    def model(x):
        p = pyro.param("p", torch.tensor(0.3), constraint=constraints.unit_interval)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Bernoulli(p), obs=x)

    svi = CompiledSVI(model, nothing, pyro.optim.Adam({"lr": 0.01}), Trace_ELBO(), backend="graph")
    good, bad = torch.ones(3), torch.full((3,), 7.0)
    for _ in range(5):
        svi.step(good)
    svi.check(good)
    before = pyro.param("p").item()
    with pytest.raises(ValueError, match="within the support"):
        svi.check(bad)
    for _ in range(3):
        svi.step(bad)
    with pytest.raises(ValueError, match="within the support"):  # the eighth step of the graph
        svi.step(bad)
    assert pyro.param("p").item() == pytest.approx(before, abs=0.1)


def test_what_no_watch_can_see_is_found_by_comparing(tmp_path):
    """A program that reads a file is traced again, and run by SVI when that happens again."""
    file = tmp_path / "level"
    file.write_text("0.0")
    svi = CompiledSVI(
        lambda x: scalar(x, float(file.read_text())),
        nothing,
        pyro.optim.Adam({"lr": 0.01}),
        Trace_ELBO(),
        backend="graph",
    )
    svi.step(torch.ones(()))
    file.write_text("2.0")
    for _ in range(2):
        svi.step(torch.ones(()))
    file.write_text("3.0")
    with pytest.raises(RuntimeError, match="disagrees with the eager program"):
        svi.check(torch.ones(()))
    with pytest.warns(RuntimeWarning, match="disagrees with it again and again, the loss is"):  # noqa: PT031
        for _ in range(8):
            svi.step(torch.ones(()))
    assert svi.step(torch.ones(())) == pytest.approx(SVI.evaluate_loss(svi, torch.ones(())), 0.2)


@pytest.mark.parametrize("accumulate", [False, True])
def test_gradients_are_left_and_added_to_as_svi_does(accumulate):
    ended = []
    for cls in (SVI, partial(CompiledSVI, backend="graph")):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        svi = cls(locate, guess, pyro.optim.SGD({"lr": 0.1, "momentum": 0.9}), Trace_ELBO())
        losses = []
        for _ in range(6):
            if accumulate and losses:
                pyro.param("q").unconstrained().grad.add_(1.0)
            losses.append(svi.step(torch.ones(())))
        ended.append([*losses, pyro.param("q").unconstrained().grad.item()])
    assert ended[1] == pytest.approx(ended[0], rel=1e-5)


# Optimizers ---------------------------------------------------------------------------------------


class Clipped(PyroOptim):
    """Clips the norm of all gradients together."""

    def __call__(self, params, *args, **kwargs):
        params = list(params)
        nn.utils.clip_grad_norm_(params, 0.1)
        super().__call__(params, *args, **kwargs)


class Own(PyroOptim):
    """Chooses the optimizer of each parameter by itself."""

    def _get_optim(self, param):
        return torch.optim.SGD([param], lr=0.01)


OPTIMIZERS = {
    "Adam": lambda: pyro.optim.Adam({"lr": 0.05}),
    "SGD": lambda: pyro.optim.SGD({"lr": 0.01, "momentum": 0.9}),
    "a schedule": lambda: pyro.optim.ExponentialLR(
        {"optimizer": torch.optim.Adam, "optim_args": {"lr": 0.05}, "gamma": 0.8}
    ),
    "clipped together": lambda: Clipped(torch.optim.Adam, {"lr": 0.05}),
    "chosen": lambda: Own(torch.optim.Adam, {"lr": 0.05}),
}


@pytest.mark.parametrize(
    ("name", "shared"), [*((name, True) for name in OPTIMIZERS), ("Adam", False), ("chosen", False)]
)
def test_an_optimizer_may_be_shared_and_be_of_a_users_class(name, shared):
    def other(x):
        pyro.sample("y", dist.Normal(pyro.param("q", torch.zeros(())) * 2, 1.0), obs=x)

    ended = []
    for cls in (SVI, partial(CompiledSVI, backend="graph")):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        optim = OPTIMIZERS[name]()
        one = cls(locate, guess, optim, Trace_ELBO())
        two = cls(other, nothing, optim if shared else OPTIMIZERS[name](), Trace_ELBO())
        losses = []
        for _ in range(4):
            losses += [svi.step(torch.ones(())) for svi in (one, two, two)]
            if hasattr(optim, "step"):
                optim.step()
        steps = [
            float(state.get("step", 0))
            for one in optim.optim_objs.values()
            for state in getattr(one, "optimizer", one).state.values()
        ]
        ended.append([*losses, *steps])
    assert ended[1] == pytest.approx(ended[0], rel=1e-4)


def test_a_number_changes_while_an_autoguide_replaces_its_plates():
    """Two graphs: the second has the number as an input, though each run makes new plates."""
    weight = 0.0

    def model(x):
        with poutine.scale(scale=weight):
            with pyro.plate("groups", len(x)):
                loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(loc, 1.0), obs=x)

    def train(kind, **options):
        nonlocal weight
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        optim = pyro.optim.Adam({"lr": 0.1})
        svi = kind(model, AutoNormal(model), optim, Trace_ELBO(), **options)
        losses = []
        for i in range(9):
            weight = (i + 1) / 10
            losses.append(svi.step(torch.arange(3.0)))
        return svi, losses

    svi, losses = train(CompiledSVI, backend="graph")
    assert losses == pytest.approx(train(SVI)[1], rel=1e-5)
    assert [len(programs) for programs in svi._programs.values()] == [2]
