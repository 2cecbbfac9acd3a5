"""Published tables as studies: what a paper reports, and whether runs of ours reproduce it."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from pvae.checks import check_count, check_number, check_size
from pvae.messages import brief, choices, ended, shown
from pvae.storage import configuration
from pvae.studies.arguments import changed, check_name, defaults, described
from pvae.studies.measures import Measures
from pvae.studies.metrics import METRICS, check_metrics
from pvae.studies.results import CellResult, collect
from pvae.studies.statistics import Interval
from pvae.studies.study import Plan, Study
from pvae.studies.tables import number
from pvae.studies.typesetting import Column, markdown_table

# Beside the package in a wheel, and among the results in a checkout.
FOLDERS = (Path(__file__).parents[1] / "papers", Path(__file__).parents[2] / "results" / "papers")


@dataclass(frozen=True)
class Row:
    """A row of a published table.

    Attributes:
        changes: arguments of its runs that differ from the base of the table.
        published: the figure in the paper.
        error: its standard error or deviation, if the paper gives one.
        others: figures of other packages for the same row, by name.
        note: what else the paper says of it.
    """

    changes: Mapping[str, Any]
    published: float
    error: float | None = None
    others: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        """Raise if an entry has another type."""
        _check_named("changes", self.changes)
        _check_named("others", self.others)
        for name, figure in {**self.others, "published": self.published}.items():
            check_number(name, figure)
        if self.error is not None:
            check_number("error", self.error)


@dataclass(frozen=True)
class Table:
    """A published table as a study.

    Attributes:
        name: of its file.
        paper: authors, year and title.
        source: where to find the paper.
        table: which of its tables.
        metric: the name in `pvae.studies.metrics.METRICS` of what it reports.
        protocol: what the paper did.
        deviations: what ours does otherwise, a sentence each.
        checked: where the figures were checked.
        base: arguments of the runs of all rows.
        scaled: dotted paths of the arguments that a budget is a share of.
        rows: by name.
        num_samples: importance samples.
        items: test items that are measured; 0 for all.
        seeds: runs of each row.
        paper_seeds: runs of each row in the paper, if it has several.
    """

    name: str
    paper: str
    source: str
    table: str
    metric: str
    protocol: str
    deviations: tuple[str, ...]
    checked: str
    base: Mapping[str, Any]
    scaled: tuple[str, ...]
    rows: Mapping[str, Row]
    num_samples: int = 5000
    items: int = 0
    seeds: int = 1
    paper_seeds: int = 1

    def __post_init__(self) -> None:
        """Raise if an entry has another type, or is out of range."""
        _check_named("base", self.base)
        for name in ("paper", "source", "table", "protocol", "checked"):
            if not isinstance(text := getattr(self, name), str):
                raise TypeError(f"{name} is {shown(text)}: it must be a text")
        for name in ("num_samples", "seeds", "paper_seeds"):
            check_size(name, getattr(self, name))
        check_count("items", self.items)
        for path in self.scaled:
            check_name(path.partition(".")[0])
        if not self.rows:
            raise ValueError("it has no rows")

    @classmethod
    def read(cls, name: str) -> "Table":
        """Read a table that comes with pvae, by its name, or a file of one's own, by its path.

        Raises:
            ValueError: if there is none, or the file is no table.
        """
        paths = {path.stem: path for path in available()}
        if name.endswith((".yaml", ".yml")):
            path = Path(name)
        elif name in paths:
            path = paths[name]
        else:
            raise ValueError(f"There is no table {shown(name)}: {choices(name, paths)}")
        content = dict(configuration.read(path))
        try:
            _check_named("rows", content["rows"])
            rows = {str(key): _made(Row, str(key), row) for key, row in content["rows"].items()}
            lists = {key: _listed(key, content[key]) for key in ("deviations", "scaled")}
            table = _made(cls, "it", {**content, **lists, "name": path.stem, "rows": rows})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a table: {ended(brief(error))}") from error
        check_metrics([table.metric])
        return table

    def plan(self, budget: float = 1.0, seeds: int | None = None) -> Plan:
        """The study of the table.

        Args:
            budget: share of the paper's training, up to 1.
            seeds: runs of each row, from seed 0; ``None`` for the number of the table.

        Raises:
            ValueError: if the budget is outside (0, 1], or an argument is none of a run.
        """
        if not 0 < check_number("budget", budget) <= 1:
            raise ValueError(
                f"budget is {budget:g}: give a share of the paper's training, above 0 and up to 1."
            )
        base = {key: described(key, value) for key, value in self.base.items()}
        cells = {}
        for name, row in self.rows.items():
            changes = {key: described(key, value) for key, value in row.changes.items()}
            cells[name] = _scaled(changes, self.scaled, budget)
        return Plan(
            changed(defaults(), _scaled(base, self.scaled, budget)),
            (cells,),
            tuple(range(self.seeds if seeds is None else seeds)),
            Measures(
                metrics=tuple(dict.fromkeys((self.metric, "neg_elbo", "active_units"))),
                num_samples=self.num_samples,
                items=self.items,
            ),
        )


@dataclass(frozen=True)
class Reproduced:
    """A row of ours beside the published one.

    Attributes:
        name: of the row.
        row: the published row.
        ours: our results, ``None`` before there is a run.
        verdict: ``"reproduced"``, ``"short"``, ``"not reproduced"``, ``"failed"`` or ``"not run"``,
            with its reason.
    """

    name: str
    row: Row
    ours: CellResult | None
    verdict: str


def available() -> list[Path]:
    """The files of the tables that come with pvae."""
    return sorted(path for folder in FOLDERS for path in folder.glob("*.yaml"))


def compared(table: Table, study: Study, budget: float) -> list[Reproduced]:
    """The rows of a table beside the results of its study."""
    found = []
    for cell in collect(study).cells:
        row = table.rows[cell.name]
        if cell.seeds:
            said = verdict(cell.estimates[table.metric], row.published, table.metric, budget)
        elif cell.failures:
            said = f"failed: {next(iter(cell.failures.values()))}"
        else:
            said = "not run"
        found.append(Reproduced(cell.name, row, cell if cell.seeds else None, said))
    return found


def verdict(ours: Interval, published: float, metric: str, budget: float) -> str:
    """Whether runs reproduce a published figure.

    A run with less than the paper's budget is short, whatever its figure is. Otherwise a figure is
    reproduced if ours is at least as good, or if theirs lies within our interval over seeds.

    Args:
        ours: our figure.
        published: theirs.
        metric: the name of the metric.
        budget: the share of the paper's training that ours had.
    """
    described = METRICS[metric]
    sign = -1 if described.lower_is_better else 1
    unit, digits = described.unit, described.digits
    gap = round(sign * (ours.mean - published), digits)
    apart = f"{abs(gap):.{digits}f} {unit} {'better' if gap >= 0 else 'worse'}".replace("  ", " ")
    if budget < 1:
        return f"short: {100 * budget:g} % of the paper's training, {apart}"
    if gap >= 0:
        return f"reproduced: {apart}"
    if ours.low <= published <= ours.high:
        return f"reproduced: within our interval, {apart}"
    alone = ", from one seed" if math.isnan(ours.standard_error) else ""
    return f"not reproduced: {apart}{alone}"


def markdown(table: Table, rows: list[Reproduced]) -> str:
    """The table as Markdown: what it is, ours beside theirs, and what deviates."""
    metric = METRICS[table.metric]
    others = list(dict.fromkeys(name for row in table.rows.values() for name in row.others))
    title = f"{metric.title}, {metric.unit}" if metric.unit else metric.title
    figures = [each.ours.estimates[table.metric] if each.ours else None for each in rows]
    costs = [each.ours.costs if each.ours else {} for each in rows]
    units = [each.ours.estimates["active_units"].mean if each.ours else None for each in rows]
    notes = [Column("the paper also says", [each.row.note for each in rows])]

    def written(value: float | None, error: float | None = None) -> str:
        text = "" if value is None else number(value, metric.digits)
        if error is None or math.isnan(error):
            return text
        return f"{text} ± {number(error, metric.digits)}"

    columns = [
        Column("row", [each.name for each in rows]),
        Column("paper", [written(each.row.published, each.row.error) for each in rows]),
        *(Column(name, [written(each.row.others.get(name)) for each in rows]) for name in others),
        Column("ours", [written(f.mean, f.standard_error) if f else "" for f in figures]),
        Column("active units", ["" if n is None else number(n, 1) for n in units]),
        *(notes if any(each.row.note for each in rows) else ()),
        Column("seeds", [str(len(each.ours.seeds)) if each.ours else "" for each in rows]),
        Column("epochs", [number(cost["epochs"], 0) if cost else "" for cost in costs]),
        Column("training, s", [number(c["train_seconds"], 0) if c else "" for c in costs]),
        Column("verdict", [each.verdict for each in rows]),
    ]
    lines = [
        f"# {table.paper}: {table.table}",
        "",
        f"{title}, by {table.num_samples:,} importance samples. Source: {table.source}.",
        "",
        markdown_table(columns),
        "",
        f"Protocol: {table.protocol.strip()}",
        "",
        *(
            f"- Deviation: {deviation}"
            for deviation in (*missing_runs(table, rows), *table.deviations)
        ),
        f"- Checked: {table.checked.strip()}",
    ]
    return "\n".join(lines) + "\n"


def missing_runs(table: Table, rows: list[Reproduced]) -> list[str]:
    """That there are fewer runs of a row than in the paper, if there are."""
    runs = [len(each.ours.seeds) for each in rows if each.ours] or [table.seeds]
    least = min(runs)
    if least >= table.paper_seeds:
        return []
    ours = "One run" if least == 1 else f"{least} runs"
    return [f"{ours}, where the paper has {table.paper_seeds}."]


def _check_named(name: str, entry: Any) -> None:
    if not isinstance(entry, Mapping):
        raise TypeError(f"{name} is {shown(entry)}: it must be entries by name")


def _made(kind: type[Any], name: str, entries: Any) -> Any:
    """Make a dataclass of entries of a file, which it must all know."""
    _check_named(name, entries)
    known = {field.name: field for field in fields(kind)}
    for entry in entries:
        if entry not in known:
            raise ValueError(f"{name} has an entry {shown(entry)}: {choices(str(entry), known)}")
    for entry, of in known.items():
        if entry not in entries and of.default is of.default_factory is MISSING:
            raise ValueError(f"{name} lacks the entry {entry}")
    return kind(**entries)


def _listed(name: str, entry: Any) -> tuple[str, ...]:
    if not isinstance(entry, list) or not all(isinstance(each, str) for each in entry):
        raise TypeError(f"{name} is {shown(entry)}: it must be a list of texts")
    return tuple(entry)


def _scaled(config: Mapping[str, Any], paths: tuple[str, ...], budget: float) -> dict[str, Any]:
    """A configuration whose numbers at some paths are a share of what they were."""
    found = dict(config)
    for path in paths:
        first, _, rest = path.partition(".")
        if first not in found or found[first] is None:
            continue
        if rest:
            found[first] = _scaled(found[first], (rest,), budget)
        elif isinstance(found[first], list):
            found[first] = [round(budget * check_number(path, value)) for value in found[first]]
        else:
            found[first] = max(1, round(budget * check_number(path, found[first])))
    return found
