"""The cells of a study: every combination of what varies."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pvae.messages import shown
from pvae.studies.arguments import check_name, described, label

MOST_RUNS = 10_000


@dataclass(frozen=True)
class Cell:
    """One combination of what varies.

    Attributes:
        name: unique within the study, as tables show it.
        changes: the arguments that differ from the base, in the form of a configuration.
    """

    name: str
    changes: Mapping[str, Any]


def make_cells(vary: Mapping[str, Any]) -> list[Cell]:
    """Make the cells of a study, the full grid of its axes.

    Each entry of ``vary`` is an axis:

    - ``{"prior": [StandardNormal, Flow]}``: an argument and its values;
    - ``{"prior": {"plain": StandardNormal, "vamp": partial(VampPrior, components=500)}}``: the same
      with names of your own;
    - ``{"latent_dim, epochs": [[2, 100], [10, 50]]}``: arguments that vary together;
    - ``{"variants": {"wide": {"latent_dim": 50, "batch_size": 64}, "plain": {}}}``: named sets of
      arguments.

    Args:
        vary: the axes.

    Raises:
        TypeError: if an axis has another form.
        ValueError: if there is no axis, an axis is empty, a name is no argument of a run or occurs
            on two axes, or two cells have the same name or are the same.

    Example:
        >>> from pvae.studies.cells import make_cells
        >>> [cell.name for cell in make_cells({"latent_dim": [2, 10]})]
        ['latent_dim=2', 'latent_dim=10']
    """
    if not isinstance(vary, Mapping) or not vary:
        raise ValueError(
            "Nothing varies: name an argument and its values, such as vary={'prior': "
            "['StandardNormal', 'Flow']}."
        )
    axes = [_axis(key, values) for key, values in vary.items()]
    seen: set[str] = set()
    for axis in axes:
        names = {name for _, changes in axis for name in changes}
        if twice := sorted(names & seen):
            raise ValueError(f"{twice[0]} varies twice: give it on one axis only.")
        seen |= names
    cells: dict[str, Cell] = {}
    for combination in itertools.product(*axes):
        name = ", ".join(name for name, _ in combination)
        changes = {k: v for _, change in combination for k, v in change.items()}
        if name in cells:
            raise ValueError(f"Two variants have the same name {shown(name)}: name them apart.")
        same = next((c.name for c in cells.values() if c.changes == changes), None)
        if same is not None:
            raise ValueError(f"The variants {shown(same)} and {shown(name)} are the same.")
        cells[name] = Cell(name, changes)
    return [*cells.values()]


def _axis(key: str, values: Any) -> list[tuple[str, dict[str, Any]]]:
    """The names and changes of the values of an axis."""
    if not isinstance(key, str):
        raise TypeError(f"An axis is named {shown(key)}: it must be the name of an argument.")
    if key == "variants":
        if not isinstance(values, Mapping) or not values:
            raise ValueError("variants must be named sets of arguments, {'wide': {...}, ...}.")
        return [(str(name), _changes(name, changes)) for name, changes in values.items()]
    names = [name.strip() for name in key.split(",")]
    for name in names:
        check_name(name)
    if isinstance(values, str) or not isinstance(values, Sequence | Mapping):
        raise TypeError(f"{key} varies over {shown(values)}: give a list of values.")
    if not values:
        raise ValueError(f"{key} varies over an empty list: give at least two values.")
    named = isinstance(values, Mapping) and "class_path" not in values
    if isinstance(values, Mapping) and not named:
        raise TypeError(f"{key} varies over one part: give a list of parts.")
    pairs = values.items() if isinstance(values, Mapping) else [(None, v) for v in values]
    axis = []
    for own, value in pairs:
        if len(names) == 1:
            changes = {names[0]: described(names[0], value)}
        elif isinstance(value, Sequence) and not isinstance(value, str):
            if len(value) != len(names):
                raise ValueError(
                    f"{key} varies together: {shown(value)} has {len(value)} values for "
                    f"{len(names)} arguments."
                )
            changes = {n: described(n, v) for n, v in zip(names, value, strict=True)}
        else:
            raise TypeError(f"{key} varies together: {shown(value)} must be a list of values.")
        axis.append((_name(changes) if own is None else str(own), changes))
    return axis


def _changes(name: object, changes: Any) -> dict[str, Any]:
    if not isinstance(changes, Mapping):
        raise TypeError(f"The variant {shown(name)} must be a set of arguments, such as {{}}.")
    return {str(k): described(str(k), v) for k, v in changes.items()}


def _name(changes: Mapping[str, Any]) -> str:
    """The name of changes: parts by their class, other arguments with their names."""
    return ", ".join(
        label(v) if isinstance(v, Mapping) else f"{k}={label(v)}" for k, v in changes.items()
    )
