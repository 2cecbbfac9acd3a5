"""What the code that a run executes reads."""

import sys
import types

import pytest

from pvae.inference.executed import is_library, recorded


def test_a_name_of_the_standard_library_may_become_a_users(monkeypatch):
    """A package named as one of Python's that was not imported yet, such as `this`."""
    assert is_library("this")
    own = types.ModuleType("this")
    own.__file__ = "/home/somebody/this/__init__.py"
    monkeypatch.setitem(sys.modules, "this", own)
    assert not is_library("this.models")


LEVEL = 1.0


@pytest.mark.parametrize(
    ("call", "names", "asks"),
    [
        (lambda own: LEVEL, set(), False),
        (lambda own: own.level, {"level"}, False),
        (lambda own: getattr(own, "level", None), {"level"}, False),
        (lambda own: own is None, set(), False),
        (lambda own: own is LEVEL, set(), True),
        (lambda own: isinstance(own, float), set(), True),
    ],
)
def test_names_and_questions_of_type_are_recorded(call, names, asks):
    with recorded() as executed:
        call(types.SimpleNamespace(level=1.0))
    _, loaded = executed.reads[call.__code__]
    assert names <= executed.names
    assert executed.asks_types is asks
    assert ("LEVEL" in loaded) is ("LEVEL" in call.__code__.co_names)
