"""Python state that programs read and that changes: the loss must follow it at every step."""

import argparse
import array
import builtins
import collections
import contextvars
import dataclasses
import enum
import functools
import operator
import os
import queue
import sys
import threading
import types
import typing
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import nn

from pvae.inference import CompiledSVI
from pvae.inference.guards import MOST_VALUES

CASES = {}


def case(make):
    CASES[make.__name__] = make
    return make


def observe(x, level):
    pyro.sample("x", dist.Normal(pyro.param("loc", torch.ones(())) + level, 1.0), obs=x)


class Holder:
    """Something that holds whatever it is given."""


@dataclasses.dataclass
class Data:
    level: float


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    level: float


class Slotted:
    __slots__ = ("level",)

    def __init__(self, level):
        self.level = level


class Level(enum.Enum):
    NONE, TWO, THREE = 0.0, 2.0, 3.0


# Attributes that are given another value ---------------------------------------------------------

REBOUND = {
    "number": (float, lambda v: v),
    "NumPy number": (np.float64, float),
    "list": (lambda v: [v], lambda v: v[0]),
    "tuple": (lambda v: (v,), lambda v: v[0]),
    "dictionary": (lambda v: {"level": v}, lambda v: v["level"]),
    "data class": (Data, lambda v: v.level),
    "frozen data class": (Frozen, lambda v: v.level),
    "slots": (Slotted, lambda v: v.level),
    "enumeration": (Level, lambda v: v.value),
    "class": (lambda v: type("Own", (), {"level": v}), lambda v: v.level),
    "named tuple": (collections.namedtuple("Named", "level"), lambda v: v.level),
    "distribution": (lambda v: dist.Normal(v, 1.0), lambda v: v.mean),
    "data set": (
        lambda v: torch.utils.data.TensorDataset(torch.full((3,), v)),
        lambda v: v[0][0],
    ),
    "tensor": (torch.tensor, lambda v: v),
    "array": (lambda v: np.full(2, v), lambda v: float(v[0])),
    "function": (lambda v: lambda: v, lambda v: v()),
    "partial": (lambda v: functools.partial(float, v), lambda v: v()),
    "module": (lambda v: nn.Hardtanh(-9.0, v + 0.5), lambda v: v(torch.tensor(5.0))),
}


@pytest.mark.parametrize("kind", REBOUND)
def test_an_attribute_is_given_another_value(kind):
    make, read = REBOUND[kind]
    holder = Holder()
    check(lambda x: observe(x, read(holder.value)), lambda v: setattr(holder, "value", make(v)))


# Values in other places ------------------------------------------------------------------------


class Config:
    beta = 0.0
    table: typing.ClassVar = {"level": 0.0}
    levels: typing.ClassVar = [0.0]


class Meta(type):
    beta = 0.0


class OfMeta(metaclass=Meta):
    """A class with an attribute of its class."""


settings = types.ModuleType("own_settings")
settings.beta, settings.beta_1 = 0.0, 0.0
sys.modules["own_settings"] = settings
LEVEL, VARIABLE = 0.0, contextvars.ContextVar("level", default=0.0)


def set_global(value):
    global LEVEL
    LEVEL = value


@case
def attribute_of_a_class():
    return lambda x: observe(x, Config.beta), lambda v: setattr(Config, "beta", v)


@case
def attribute_of_a_metaclass():
    return lambda x: observe(x, OfMeta.beta), lambda v: setattr(Meta, "beta", v)


@case
def attribute_of_a_base_class():
    class Derived(Config):
        pass

    own = Derived()
    return lambda x: observe(x, own.beta), lambda v: setattr(Config, "beta", v)


@case
def dictionary_in_a_class():
    return lambda x: observe(x, Config.table["level"]), lambda v: Config.table.update(level=v)


@case
def list_in_a_class():
    return lambda x: observe(x, Config().levels[0]), lambda v: Config.levels.__setitem__(0, v)


@case
def attribute_of_a_module():
    return lambda x: observe(x, settings.beta), lambda v: setattr(settings, "beta", v)


@case
def attribute_of_a_module_that_is_not_named():
    return (
        lambda x: observe(x, getattr(settings, "beta_" + str(1))),
        lambda v: setattr(settings, "beta_1", v),
    )


@case
def attribute_of_an_imported_module():
    def model(x):
        from own_settings import beta

        observe(x, beta)

    return model, lambda v: setattr(settings, "beta", v)


@case
def slot():
    own = Slotted(0.0)
    return lambda x: observe(x, own.level), lambda v: setattr(own, "level", v)


@case
def set_of_numbers():
    own = {0.0}

    def change(value):
        own.clear()
        own.add(value)

    return lambda x: observe(x, max(own)), change


@case
def double_ended_queue():
    own = collections.deque([0.0], maxlen=1)
    return lambda x: observe(x, own[0]), own.append


@case
def chain_of_dictionaries():
    base = {"level": 0.0}
    own = collections.ChainMap({}, collections.UserDict(base))
    return lambda x: observe(x, own["level"]), lambda v: own.maps[1].update(level=v)


@case
def read_only_view():
    base = {"level": 0.0}
    views = types.MappingProxyType(base), base.values()
    return lambda x: observe(x, views[0]["level"] + sum(views[1])), lambda v: base.update(level=v)


@case
def key_of_a_dictionary():
    own = {"a": 1.0}

    def change(value):
        own.clear()
        own["b" if value else "a"] = 1.0

    return lambda x: observe(x, 2.0 * ("b" in own)), change


@case
def array_in_place():
    own = np.zeros(2)
    return lambda x: observe(x, float(own[0])), own.fill


@case
def array_made_a_tensor():
    own = np.zeros(2, dtype=np.float32)
    return (
        lambda x: observe(x, torch.tensor(own).sum() + torch.from_numpy(own).sum()),
        own.fill,
    )


@case
def array_of_the_standard_library():
    own = array.array("d", [0.0])
    return lambda x: observe(x, own[0]), lambda v: own.__setitem__(0, v)


@case
def bytes_in_place():
    own = bytearray(1)
    return lambda x: observe(x, float(own[0])), lambda v: own.__setitem__(0, int(v))


@case
def default_argument():
    def model(x, config={"level": 0.0}):  # noqa: B006
        observe(x, config["level"])

    return model, lambda v: model.__defaults__[0].update(level=v)


@case
def other_defaults():
    def model(x, level=0.0, *, more=0.0):
        observe(x, level + more)

    def change(value):
        model.__defaults__, model.__kwdefaults__ = (value,), {"more": value}

    return model, change


@case
def global_of_a_method():
    class Own:
        def level(self):
            return LEVEL

        def model(self, x):
            observe(x, self.level())

    return Own().model, set_global


@case
def attribute_that_comes_later():
    own = Holder()

    def change(value):
        vars(own).clear()
        if value:
            own.late = value

    return lambda x: observe(x, getattr(own, "late", 0.0)), change


@case
def global_that_comes_later():
    def model(x):
        try:
            level = COMES_LATER
        except NameError:
            level = 0.0
        observe(x, level)

    def change(value):
        globals().pop("COMES_LATER", None)
        if value:
            globals()["COMES_LATER"] = value

    return model, change


@case
def attribute_far_down():
    own = last = Holder()
    for _ in range(9):
        last.next = Holder()
        last = last.next
    last.level = 0.0

    def model(x):
        there = own
        while hasattr(there, "next"):
            there = there.next
        observe(x, there.level)

    return model, lambda v: setattr(last, "level", v)


@case
def list_far_down():
    own = last = [0.0]
    for _ in range(12):
        own = [own]

    def model(x):
        there = own
        while isinstance(there, list):
            there = there[0]
        observe(x, there)

    return model, lambda v: last.__setitem__(0, v)


@case
def flag_that_hides_its_change():
    flag = torch.zeros((), dtype=torch.bool)
    return lambda x: observe(x, 2.0 if flag else 0.0), lambda v: flag.data.fill_(bool(v))


class Hooked(nn.Module):
    """A module with another inside."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Identity()
        self.register_buffer("level", torch.zeros(()))

    def forward(self, x):
        observe(x, self.inner(torch.zeros(())) + self.level)


@case
def hook_that_comes_later():
    own, handles = Hooked(), []

    def change(value):
        while handles:
            handles.pop().remove()
        if value:
            handles.append(own.inner.register_forward_hook(lambda *given: given[-1] + value))

    return own, change


@case
def buffer_of_another_tensor():
    own = Hooked()
    return own, lambda v: setattr(own, "level", torch.tensor(v))


@case
def buffer_of_other_memory():
    own = Hooked()
    return own, lambda v: setattr(own.level, "data", torch.tensor(v))


@case
def argparse_namespace():
    own = argparse.Namespace(deeper=types.SimpleNamespace(beta=0.0))
    return lambda x: observe(x, own.deeper.beta), lambda v: setattr(own.deeper, "beta", v)


@case
def attribute_of_a_function():
    def model(x):
        observe(x, model.level)

    return model, lambda v: setattr(model, "level", v)


@case
def property_of_a_class():
    class Own:
        level = property(lambda self: self.hidden)

    own = Own()
    return lambda x: observe(x, own.level), lambda v: setattr(own, "hidden", v)


@case
def method_of_a_class():
    class Own:
        def level(self):
            return 0.0

    own = Own()
    return lambda x: observe(x, own.level()), lambda v: setattr(Own, "level", lambda self: v)


@case
def method_of_an_object():
    class Own:
        def level(self):
            return 0.0

    own = Own()
    return lambda x: observe(x, own.level()), lambda v: setattr(own, "level", lambda: v)


@case
def static_method():
    class Own:
        levels: typing.ClassVar = [0.0]

        @staticmethod
        def level():
            return Own.levels[0]

    return lambda x: observe(x, Own.level()), lambda v: Own.levels.__setitem__(0, v)


@case
def closure():
    level = 0.0

    def change(value):
        nonlocal level
        level = value

    return lambda x: observe(x, level), change


@case
def wrapped_function():
    levels: typing.ClassVar = [0.0]

    def model(x):
        observe(x, levels[0])

    @functools.wraps(model)
    def wrapper(x):
        model(x)

    return wrapper, lambda v: levels.__setitem__(0, v)


@case
def keywords_of_a_partial():
    own = functools.partial(lambda x, level: observe(x, level), level=0.0)
    return own, lambda v: own.keywords.update(level=v)


@case
def bound_method_of_a_container():
    own = {"level": 0.0}
    get = own.get
    return lambda x: observe(x, get("level")), lambda v: own.update(level=v)


@case
def getter_of_attributes():
    own, get = Holder(), operator.attrgetter("level")
    return lambda x: observe(x, get(own)), lambda v: setattr(own, "level", v)


@case
def weak_reference():
    own = Holder()
    reference, kept = weakref.ref(own), [own]
    return lambda x: observe(x, reference().level), lambda v: setattr(kept[0], "level", v)


@case
def context_variable():
    return lambda x: observe(x, VARIABLE.get()), VARIABLE.set


@case
def local_of_a_thread():
    own = threading.local()
    return lambda x: observe(x, own.level), lambda v: setattr(own, "level", v)


@case
def environment():
    return (
        lambda x: observe(x, float(os.environ["OWN_LEVEL"])),
        lambda v: os.environ.__setitem__("OWN_LEVEL", str(v)),
    )


@case
def cached_function():
    levels: typing.ClassVar = [0.0]

    @functools.lru_cache
    def level():
        return levels[0]

    def change(value):
        levels[0] = value
        level.cache_clear()

    return lambda x: observe(x, level()), change


@case
def setting_of_a_module():
    own = nn.Hardtanh(-9.0, 0.5)
    return (
        lambda x: observe(x, own(torch.tensor(5.0))),
        lambda v: setattr(own, "max_val", 0.5 + v),
    )


@case
def values_held_weakly():
    own, kept = weakref.WeakValueDictionary(), []

    def change(value):
        kept.append(Data(value))
        own["k"] = kept[-1]

    return lambda x: observe(x, own["k"].level), change


@case
def set_held_weakly():
    own, kept = weakref.WeakSet(), [Holder(), Holder(), Holder()]

    def change(value):
        own.clear()
        own.update(kept[: int(value)])

    return lambda x: observe(x, float(len(own))), change


@case
def default_of_a_dictionary():
    own = collections.defaultdict(float)

    def model(x):
        observe(x, own["level"])
        del own["level"]

    return model, lambda v: setattr(own, "default_factory", lambda: v)


@pytest.mark.filterwarnings("ignore:The program has no static graph:RuntimeWarning")
@pytest.mark.parametrize("name", CASES)
def test_a_value_elsewhere_changes(name):
    check(*CASES[name]())


def check(model, change):
    """Compare with SVI at each step, for values that change and change back."""
    losses = []
    for cls in (SVI, functools.partial(CompiledSVI, backend="graph")):
        pyro.clear_param_store()
        change(0.0)
        svi = cls(model, lambda x: None, pyro.optim.Adam({"lr": 0.1}), Trace_ELBO())
        losses.append([])
        for value in (0.0, 0.0, 2.0, 2.0, 0.0, 3.0):
            change(value)
            losses[-1].append(svi.step(torch.zeros(())))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


# What cannot be followed -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "cause"),
    [
        (lambda: iter([float(i) for i in range(9)]), "list_iterator, which no run can rewind"),
        (lambda: collections.deque(range(MOST_VALUES + 1)), "more than 20,000 Python values"),
        (lambda: np.zeros(2**18), "an array of 2,097,152 bytes, too many to compare"),
    ],
)
def test_what_cannot_be_followed_is_run_eagerly(held, cause):
    losses = []
    for cls in (SVI, functools.partial(CompiledSVI, backend="graph")):
        pyro.clear_param_store()
        own = held()

        def model(x, own=own):
            observe(x, float(next(own) if hasattr(own, "__next__") else own[0]))

        svi = cls(model, lambda x: None, pyro.optim.Adam({"lr": 0.1}), Trace_ELBO())
        losses.append([])
        if cls is SVI:
            losses[-1].append(svi.step(torch.zeros(())))
        else:
            with pytest.warns(RuntimeWarning, match=cause):
                losses[-1].append(svi.step(torch.zeros(())))
        losses[-1] += [svi.step(torch.zeros(())) for _ in range(3)]
    assert losses[0] == losses[1]


def test_a_builtin_function_is_replaced(monkeypatch):
    before = ascii
    monkeypatch.setattr(builtins, "ascii", before)  # which puts it back in the end
    check(
        lambda x: observe(x, float(ascii(0))),
        lambda v: setattr(builtins, "ascii", (lambda x: v) if v else before),
    )


class Scripted(nn.Module):
    level: float

    def __init__(self):
        super().__init__()
        self.level = 0.0

    def forward(self, x):
        return x + self.level


def test_a_module_in_torchscript_is_run_eagerly():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript itself
        warnings.simplefilter("ignore", FutureWarning)
        own = torch.jit.script(Scripted())
    with pytest.warns(RuntimeWarning, match="RecursiveScriptModule, whose state cannot"):
        check(lambda x: observe(x, own(x)), lambda v: setattr(own, "level", v))


@pytest.mark.parametrize("how", ["a pool", "queues"])
def test_work_of_running_threads_is_run_eagerly(how):
    """By a pool, or by queues; nothing of theirs may be put back, or the threads would hang."""
    given, taken = queue.Queue(), queue.Queue()
    worker = threading.Thread(
        target=lambda: [taken.put(number()) for number in iter(given.get, None)], daemon=True
    )
    worker.start()
    level = [0.0]

    def ask():
        given.put(lambda: level[0])
        return taken.get(timeout=5)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        answer = ask if how == "queues" else lambda: pool.submit(lambda: level[0]).result()
        with pytest.warns(RuntimeWarning, match="hands work to other threads"):
            check(lambda x: observe(x, answer()), lambda v: level.__setitem__(0, v))
    given.put(None)


def test_what_programs_do_not_read_needs_no_new_graph():
    """Such as the counters of a training loop, on the same objects and in the same module."""

    class Own(nn.Module):
        def forward(self, x):
            observe(x, self.level)

    own = Own()
    own.level, own.epoch = 1.0, 0
    svi = CompiledSVI(
        own, lambda x: None, pyro.optim.Adam({"lr": 0.1}), Trace_ELBO(), backend="graph"
    )
    for epoch in range(12):
        own.epoch, own.level = epoch, float(1)
        svi.step(torch.zeros(()))
    assert [len(found) for found in svi._programs.values()] == [1]
