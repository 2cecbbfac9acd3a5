"""The pictures of a study, in the folder ``figures`` of its folder."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from matplotlib.figure import SubFigure

from pvae import plots
from pvae.data.domains import picture_range
from pvae.messages import shorten
from pvae.plots.cells import MOST_CELLS
from pvae.plots.style import Canvas
from pvae.storage import files
from pvae.studies.metrics import METRICS
from pvae.studies.results import CellResult, Results
from pvae.studies.study import Study
from pvae.studies.tables import compared, titled
from pvae.training.runs import Run
from pvae.vae import VAE

_MOST_SAMPLED = 12  # cells whose samples are shown
_SAMPLES = 36  # of each
_TITLE = 60  # letters above the samples of a cell
_REFERENCE = 36  # letters of its name below an axis that may be narrow


def draw(study: Study, results: Results) -> list[Path]:
    """Plot all that applies to a study: forest plots, differences, learning curves and samples.

    What compares is in one picture; if several groups of cells do not compare, each has pictures of
    its own, with a number. Of more than 60 cells the 60 best are shown, and the title says so.

    Returns:
        The paths of the pictures.

    Raises:
        OSError: if a picture cannot be written.
        ValueError: if a run folder is damaged, or ``figures`` is a link.
    """
    folder = study.path / "figures"
    files.check_own_folder(folder)
    paths = []
    for name, figure in _figures(study, results):
        paths.append(folder / f"{name}.png")
        plots.save(figure, paths[-1])
    return paths


def _figures(study: Study, results: Results) -> Iterator[tuple[str, Canvas]]:
    """The pictures and their names, one after the other, since a figure takes much memory."""
    for metric in compared(results):
        groups = results.comparable(metric)
        for number, group in _numbered(groups):
            cells, note = _shown(group, metric)
            title = _title(cells) + note
            yield f"forest-{metric}{number}", _forest(cells, metric, title)
            if differences := _differences(results, cells, metric, title):
                yield f"differences-{metric}{number}", differences
    ranked = next(iter(compared(results)), None)
    places = {(job.cell, job.seed): study.path / job.place for job in study.jobs()}
    for number, group in _numbered([g for g in results.groups.values() if g[0].seeds]):
        cells, note = _shown(group, ranked)
        if curves := _learning_curves(study, places, cells, note):
            yield f"learning-curves{number}", curves
    if done := [cell for cell in results.cells if cell.seeds]:
        cells, _ = _shown(done, ranked, _MOST_SAMPLED)
        if samples := _samples(study, places, cells):
            yield "samples", samples


def _numbered(groups: Sequence[list[CellResult]]) -> list[tuple[str, list[CellResult]]]:
    """Groups with what follows the names of their pictures, which is nothing for a single one."""
    return [(f"-{i + 1}" if len(groups) > 1 else "", group) for i, group in enumerate(groups)]


def _shown(
    cells: Sequence[CellResult], metric: str | None, most: int = MOST_CELLS
) -> tuple[list[CellResult], str]:
    """The cells that a picture shows, in their order, and what its title says of the others."""
    if metric is None or len(cells) <= most:
        return [*cells[:most]], ""
    sign = 1 if METRICS[metric].lower_is_better else -1

    def rank(cell: CellResult) -> float:
        mean = sign * cell.estimates[metric].mean
        return math.inf if math.isnan(mean) else mean

    best = {cell.name for cell in sorted(cells, key=rank)[:most]}
    return [c for c in cells if c.name in best], f"; the {most} best of {len(cells):,} cells"


def _title(cells: Sequence[CellResult]) -> str:
    """The test data that the numbers of cells are of, and their values."""
    title = cells[0].group if len({cell.group for cell in cells}) == 1 else cells[0].data
    return _literal(title)


def _literal(text: str) -> str:
    """The text with dollar signs that do not begin mathematics."""
    return text.replace("$", r"\$")


def _forest(cells: Sequence[CellResult], metric: str, title: str) -> Canvas:
    found = [cell.estimates[metric] for cell in cells]
    better = "lower" if METRICS[metric].lower_is_better else "higher"
    return plots.forest(
        [cell.name for cell in cells],
        [estimate.mean for estimate in found],
        [estimate.low for estimate in found],
        [estimate.high for estimate in found],
        by_seed=[cell.by_seed[metric] for cell in cells],
        label=f"{titled(metric)}, {better} is better",
        title=title,
    )


def _differences(
    results: Results, cells: Sequence[CellResult], metric: str, title: str
) -> Canvas | None:
    names = [cell.name for cell in cells]
    found = [c for c in results.comparisons if c.metric == metric and c.cell in names]
    if not found:
        return None
    short = dict(zip([cell.name for cell in cells], _short(cells), strict=True))
    reference = _literal(shorten(short.get(found[0].reference, found[0].reference), _REFERENCE))
    better = "lower" if METRICS[metric].lower_is_better else "higher"
    return plots.differences(
        [c.cell for c in found],
        [c.difference.interval.mean for c in found],
        [c.difference.interval.low for c in found],
        [c.difference.interval.high for c in found],
        [c.verdict for c in found],
        doubt=[c.doubt for c in found],
        label=f"{titled(metric)}, {better} is better,\nminus that of {reference}",
        title=title,
    )


def _learning_curves(
    study: Study, places: Mapping[tuple[str, int], Path], cells: Sequence[CellResult], note: str
) -> Canvas | None:
    """The −ELBO of the validation data by epoch, or of the training data if no run has any."""
    runs = [
        [Run(places[cell.name, seed], study.plan.trusted) for seed in cell.seeds] for cell in cells
    ]
    histories = [[run.history for run in seeds] for seeds in runs]
    # Not the title of the other pictures, which names the test items.
    values = cells[0].group.removeprefix(cells[0].data)
    title = _literal(runs[0][0].info["data"]["name"] + values) + note
    for part in ("validation", "train"):
        column = f"{part}/neg_elbo"
        curves = [[(h["epoch"], h[column]) for h in seeds if column in h] for seeds in histories]
        if any(curves):
            return plots.learning_curves(
                _short(cells), curves, label=f"{part} −ELBO (nats per datum)", title=title
            )
    return None


def _samples(
    study: Study, places: Mapping[tuple[str, int], Path], cells: Sequence[CellResult]
) -> Canvas | None:
    """Samples of the first finished seed of each cell whose events can be plotted."""
    pictures, titles = [], []
    for cell, name in zip(cells, _short(cells), strict=True):
        run = Run(places[cell.name, cell.seeds[0]], study.plan.trusted)
        vae = run.vae()
        event = vae.event_shape
        if len(event) == 1 or (len(event) == 3 and event[0] in (1, 3)):
            pictures.append(_picture(vae, run))
            titles.append(_literal(shorten(name, _TITLE)))
    return plots.side_by_side(pictures, titles) if pictures else None


def _short(cells: Sequence[CellResult]) -> list[str]:
    """The names of cells without the arguments of their parts, if these still tell them apart."""
    names = [cell.name for cell in cells]
    short = [re.sub(r"\([^()]*\)", "", name) for name in names]
    return short if all(short) and len(set(short)) == len(short) else names


def _picture(vae: VAE, run: Run) -> Callable[[SubFigure], Canvas]:
    y = None
    if vae.labels is not None:
        classes = vae.labels.classes
        y = vae.labels.loc if classes is None else torch.arange(_SAMPLES) % classes
    x = vae.sample(_SAMPLES, y, seed=0)
    known = run.info["data"]
    limits = picture_range(vae.likelihood, known["domain"], known["value_range"])
    return lambda figure: plots.samples(x, value_range=limits, figure=figure)
