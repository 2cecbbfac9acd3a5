import os

import pytest

from pvae.storage import configuration

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)


def test_aliases_are_followed(tmp_path):
    (tmp_path / "c.yaml").write_text("a: &a [1, 2]\nb: *a\nβ: {c: 1e-3}\n", encoding="utf-8")
    assert configuration.read(tmp_path / "c.yaml") == {"a": [1, 2], "b": [1, 2], "β": {"c": "1e-3"}}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (LAUGHS, "more than 20,000 values"),
        ("a: &a [*a]", "more than 20,000 values"),
        ("[" * 900, "nested deeper than 50"),
        ("[" * 100_000, "c.yaml is"),
        ("a: [1, 2]\n" * 200_000, "1,048,576 are the most"),
        ("a: " + "1" * 10_000, "cannot be read"),
        ("a: !!python/object/apply:os.system ['true']", "cannot be read"),
        (b"a: \xff", "cannot be read"),
        ("a: *b", "c.yaml is"),
        ("1: 2", "no values by name"),
        ("vary: {x: {a: 1, a: 2}}", "two values of the name 'a'"),
        ("5", "no values by name"),
    ],
)
def test_what_is_refused(tmp_path, content, sentence):
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "c.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as raised:
        configuration.read(tmp_path / "c.yaml")
    assert len(str(raised.value)) < 300
    assert "\n" not in str(raised.value)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "c.yaml")
    with pytest.raises(ValueError, match="pipe or device"):
        configuration.read(tmp_path / "c.yaml")
    with pytest.raises(FileNotFoundError):
        configuration.read(tmp_path / "none.yaml")
