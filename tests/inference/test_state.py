from collections import OrderedDict, deque
from types import MappingProxyType, SimpleNamespace

import pytest

from pvae.inference import state


class Own:
    __slots__ = ("level",)


def closing():
    level = 1.0

    def get():
        return level

    def change(value):
        nonlocal level
        level = value

    return get, change


def slotted():
    made = Own()
    return state.Slots(made, ("level",), "it", False), lambda: setattr(made, "level", 2.0)


def cells():
    get, change = closing()
    return state.Cells(get, "it"), lambda: change(2.0)


def of(kind, holder, change, *args):
    return lambda: (kind(holder, *args, "it"), lambda: change(holder))


CASES = {
    "entries": of(state.Entries, {"a": 1.0}, lambda x: x.update(a=2.0, b=1.0)),
    "their order": of(state.Entries, OrderedDict(a=1, b=2), lambda x: x.move_to_end("a")),
    "elements": of(state.Elements, [1.0], lambda x: x.append(2.0)),
    "elements of a set": of(state.Elements, {1.0}, lambda x: x.clear()),
    "elements of a deque": of(state.Elements, deque([1.0]), lambda x: x.rotate() or x.pop()),
    "an absent name": of(state.Names, {}, lambda x: x.update(a=1), ["a"]),
    "a class": of(state.OfClass, type("Some", (), {"a": 1}), lambda x: setattr(x, "a", 2)),
    "a slot": slotted,
    "a closure": cells,
}


@pytest.mark.parametrize("name", CASES)
def test_a_place_is_compared_and_put_back(name):
    place, change = CASES[name]()
    assert place.same()
    assert not list(place.changes())
    change()
    assert list(place.changes())
    place.restore()
    assert place.same()


def test_what_is_written_elsewhere_is_only_read():
    holder = {"a": 1.0}
    place = state.Readable(MappingProxyType(holder), "it")
    holder["a"] = 2.0
    (change,) = place.changes()
    assert str(change) == "a of it"
    place.restore()
    assert holder == {"a": 2.0}


def test_slots_of_bases_are_found():
    assert state.slots(type("Derived", (Own,), {"__slots__": ("more",)})) == ["more", "level"]
    assert not state.slots(SimpleNamespace)
