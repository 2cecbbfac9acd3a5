"""Safe reading of YAML configurations of unknown origin, within bounds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pvae.messages import brief, shown
from pvae.storage import files

MOST_BYTES = 2**20
MOST_VALUES = 20_000
MOST_DEPTH = 50

# Those of libyaml are about ten times faster.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Unique(_Loader):
    """A loader that refuses a mapping with one name twice, of which others keep the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise ValueError(f"it has two values of the name {shown(key.value)}")
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else "")
        return super().construct_mapping(node, deep)


def read(
    path: str | Path, most_values: int = MOST_VALUES, most_bytes: int = MOST_BYTES
) -> dict[str, Any]:
    """Read a YAML file of named values.

    Aliases are expanded, and count as often as they occur: a file of a kilobyte could otherwise
    expand to billions of values.

    Args:
        path: the file.
        most_values: bound on its values, with those in aliases.
        most_bytes: bound on its length.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not such a file, or is longer, deeper or of more values than any
            configuration.
    """
    path = Path(path)
    content = files.read(path, most_bytes)
    try:
        text = content.decode()
        within = within_bounds(text, most_values)
        found = yaml.load(text, Loader=_Unique) if within else None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: for huge numbers
        raise ValueError(f"{path} is damaged and cannot be read: {brief(error)}.") from error
    if not within:
        raise ValueError(
            f"{path} is not a configuration: it holds more than {most_values:,} values, or values "
            f"nested deeper than {MOST_DEPTH}."
        )
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"{path} is incomplete: it holds no values by name.")
    return found


def check_names(text: str) -> None:
    """Raise if a mapping in a YAML text has one name twice, of which a parser keeps the last.

    Raises:
        ValueError: with the name.
    """
    try:
        yaml.load(text, Loader=_Unique)
    except yaml.YAMLError:
        return  # which the parser says better


def as_yaml(content: Mapping[str, Any]) -> bytes:
    """Named plain values as a YAML file."""
    text: str = yaml.dump(dict(content), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text.encode()


def within_bounds(text: str, most_values: int = MOST_VALUES) -> bool:
    """Whether a text, with aliases expanded, has at most so many values, none nested too deep."""
    sizes: dict[str, int] = {}  # of the values under each anchor
    opened: list[tuple[str | None, int]] = []  # anchors of the enclosing collections
    count = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:  # recursive
                return False
            count += sizes[event.anchor]
        elif isinstance(event, yaml.NodeEvent):
            count += 1
            if isinstance(event, yaml.CollectionStartEvent):
                opened.append((event.anchor, count))
            elif event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor:
                sizes[anchor] = count - before + 1
        if count > most_values or len(opened) > MOST_DEPTH:
            return False
    return True
