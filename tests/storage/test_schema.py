import pytest

from pvae.storage import schema

SCHEMA = {
    "epochs": int,
    "rate?": int | float,
    "mode?": {"eager", "graph"},
    "sizes?": [int],
    "inner?": {"a": str, "*": int},
    "count?": schema.Count | None,
    "loss?": schema.Finite,
}


def test_what_is_as_expected():
    good = {
        "count": None,
        "loss": 0.5,
        "epochs": 3,
        "rate": 0.5,
        "mode": "graph",
        "sizes": [1, 2],
        "later": object(),
    }
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
        ({"epochs": 1, "count": -1}, "count is -1, where a whole number from 0 or nothing"),
        ({"epochs": 1, "count": 2**64}, "count is 18446744073709551616"),
        ({"epochs": 1, "count": 0.5}, "count is 0.5"),
        ({"epochs": 1, "loss": float("nan")}, "loss is nan, where a finite number"),
        ({"epochs": 1, "loss": -float("inf")}, "loss is -inf"),
        ({"epochs": 1, "loss": 10**400}, "loss is an object of type int"),
        ({"epochs": 1, "loss": 10**5000}, "loss is an object of type int"),
        ({"epochs": 1, 7: 7}, "a name in it is 7, where a text"),
        ({"epochs": 1, "inner": {}}, "inner lacks a"),
        ({"epochs": 1, "inner": {"a": "x", "b": "y"}}, r"inner\.b is 'y'"),
    ],
)
def test_what_is_not(value, sentence):
    with pytest.raises(ValueError, match=sentence) as raised:
        schema.check(value, SCHEMA, "run.json")
    assert len(str(raised.value)) < 300
