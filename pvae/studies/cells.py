"""The cells of a study: every combination of what varies."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pvae.checks import check_size, is_whole
from pvae.messages import shown
from pvae.studies.arguments import check_name, described, label

MOST_RUNS = 10_000
MOST_MEANT = 100_000  # also where many are meant: the cells must fit in memory

# For each axis the arguments that each of its values changes, by name.
Axes = Sequence[Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Cell:
    """One combination of what varies.

    Attributes:
        name: unique within the study, as tables show it.
        changes: the arguments that differ from the base, in the form of a configuration.
    """

    name: str
    changes: Mapping[str, Any]


def make_axes(vary: Mapping[str, Any]) -> Axes:
    """Make the axes of a study, whose full grid are its cells.

    Each entry of ``vary`` is an axis:

    - ``{"prior": [StandardNormal, Flow]}``: an argument and its values;
    - ``{"prior": {"plain": StandardNormal, "vamp": partial(VampPrior, components=500)}}``: the same
      with names of your own;
    - ``{"optimizer.lr": [1e-4, 1e-3]}``: an argument of a part, whichever that is in a cell;
    - ``{"latent_dim, epochs": [[2, 100], [10, 50]]}``: arguments that vary together;
    - ``{"variants": {"wide": {"latent_dim": 50, "batch_size": 64}, "plain": {}}}``: named sets of
      arguments.

    Args:
        vary: the axes.

    Returns:
        For each axis the arguments that each of its values changes, by name.

    Raises:
        TypeError: if an axis has another form.
        ValueError: if there is no axis, an axis is empty, a name is no argument of a run or occurs
            on two axes, or two values of an axis have the same name or are the same.

    Example:
        >>> from pvae.studies.cells import make_axes
        >>> make_axes({"latent_dim": [2, 10]})
        ({'latent_dim=2': {'latent_dim': 2}, 'latent_dim=10': {'latent_dim': 10}},)
    """
    if not isinstance(vary, Mapping) or not vary:
        raise ValueError(
            "Nothing varies: vary must name an argument and its values, such as {'prior': "
            "['StandardNormal', 'Flow']}."
        )
    axes = []
    seen: set[str] = set()
    for key, values in vary.items():
        axis: dict[str, dict[str, Any]] = {}
        same: dict[Any, str] = {}
        for name, changes in _axis(key, values):
            if not name.strip():
                raise ValueError("The name of a variant is empty: give it one.")
            if name in axis:
                raise ValueError(f"Two variants have the same name {shown(name)}: name them apart.")
            before = same.setdefault(_hashable(changes), name)
            if before != name:
                raise ValueError(f"The variants {shown(before)} and {shown(name)} are the same.")
            axis[name] = changes
        names = {name for changes in axis.values() for name in changes}
        if twice := sorted(names & seen):
            raise ValueError(f"{twice[0]} varies twice: give it on one axis only.")
        seen |= names
        axes.append(axis)
    return tuple(axes)


def check_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Return seeds, given as such or by their number.

    Raises:
        ValueError: if there is none, one occurs twice, or one is no whole number below 2^32.

    Example:
        >>> from pvae.studies.cells import check_seeds
        >>> check_seeds(3), check_seeds([5, 7])
        ((0, 1, 2), (5, 7))
    """
    if not isinstance(seeds, Sequence):
        return tuple(range(check_size("seeds", seeds)))
    if not all(is_whole(seed) and 0 <= seed < 2**32 for seed in seeds):
        raise ValueError(f"seeds is {shown(seeds)}: seeds are whole numbers from 0 to 4294967295.")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds is {shown(seeds)}: give a number, or seeds that differ.")
    return tuple(seeds)


def check_runs(axes: Axes, seeds: int, many: bool) -> None:
    """Raise if a grid has more runs than are meant, before it is made.

    Raises:
        ValueError: if there are more than 10,000, or with ``many`` more than 100,000.
    """
    cells = math.prod(map(len, axes))
    if cells * seeds <= (MOST_MEANT if many else MOST_RUNS):
        return
    grid = f"The grid of {_count(cells)} cells, each by {seeds:,} seed{'s' * (seeds > 1)}, has "
    grid += f"{_count(cells * seeds)} runs: "
    if cells * seeds > MOST_MEANT:
        raise ValueError(f"{grid}a study has at most {MOST_MEANT:,}; vary less, or make several.")
    raise ValueError(f"{grid}give many=True if so many are meant.")


def make_cells(axes: Axes) -> tuple[Cell, ...]:
    """Make the cells of a study, the full grid of its axes.

    Raises:
        ValueError: if two cells have the same name.

    Example:
        >>> from pvae.studies.cells import make_axes, make_cells
        >>> [cell.name for cell in make_cells(make_axes({"latent_dim": [2, 10]}))]
        ['latent_dim=2', 'latent_dim=10']
    """
    cells: dict[str, Cell] = {}
    for combination in itertools.product(*(axis.items() for axis in axes)):
        name = ", ".join(name for name, _ in combination)
        if name in cells:
            raise ValueError(f"Two variants have the same name {shown(name)}: name them apart.")
        cells[name] = Cell(name, {k: v for _, changes in combination for k, v in changes.items()})
    return tuple(cells.values())


def _hashable(value: Any) -> Any:
    """A plain value as one that a set can hold."""
    if isinstance(value, Mapping):
        return frozenset((key, _hashable(each)) for key, each in value.items())
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def _count(number: int) -> str:
    """A number as a message has it: the product of many lengths may have hundreds of digits."""
    return f"{number:,}" if number < 10**12 else f"over {10**12:,}"


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
