import pytest

from pvae import schema

SCHEMA = {
    "epochs": int,
    "rate?": int | float,
    "mode?": {"eager", "graph"},
    "sizes?": [int],
    "inner?": {"a": str, "*": int},
}


def test_what_is_as_expected():
    good = {"epochs": 3, "rate": 0.5, "mode": "graph", "sizes": [1, 2], "later": object()}
    schema.check(good | {"inner": {"a": "x", "b": 1}}, SCHEMA, "run.json")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([], r"run.json is damaged: it is \[\], where values by name is expected"),
        ({}, "run.json is incomplete: it lacks epochs"),
        ({"epochs": True}, "epochs is True, where a whole number"),
        ({"epochs": 1.5}, "epochs is 1.5"),
        ({"epochs": 1, "rate": "x" * 1000}, "rate is the string 'xxx"),
        ({"epochs": 1, "mode": "fast"}, "mode is 'fast', where eager or graph"),
        ({"epochs": 1, "mode": []}, "mode is"),
        ({"epochs": 1, "sizes": [1, None]}, "sizes is None"),
        ({"epochs": 1, "inner": {}}, "inner lacks a"),
        ({"epochs": 1, "inner": {"a": "x", "b": "y"}}, r"inner\.b is 'y'"),
    ],
)
def test_what_is_not(value, sentence):
    with pytest.raises(ValueError, match=sentence) as raised:
        schema.check(value, SCHEMA, "run.json")
    assert len(str(raised.value)) < 300
