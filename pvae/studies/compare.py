"""`compare`: a study in one call."""

import concurrent.futures
import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pvae.checks import check_count, check_flag, check_size
from pvae.evaluation.batching import check_seconds
from pvae.messages import kind_of, shown
from pvae.storage import trust as trusted_modules
from pvae.studies import tables
from pvae.studies.measures import Measures
from pvae.studies.metrics import check_metrics
from pvae.studies.results import Results, collect
from pvae.studies.study import Plan, Study
from pvae.studies.trial import check_cells

# Arguments that do not change a study, but only where and how it is continued.
CONTINUING = {"study", "vary", "jobs", "executor", "trust", "progress"}


def compare(
    study: str | Path,
    base: Mapping[str, Any] | None = None,
    vary: Mapping[str, Any] | None = None,
    seeds: int | Sequence[int] = 3,
    *,
    baseline: str | None = None,
    metrics: Sequence[str] = Measures.metrics,
    num_samples: int = Measures.num_samples,
    items: int = Measures.items,
    ais_items: int = Measures.ais_items,
    jobs: int = 1,
    executor: concurrent.futures.Executor | None = None,
    threads: int = 1,
    steps: int | None = None,
    seconds: float | None = None,
    race: bool = False,
    many: bool = False,
    trust: str | Iterable[str] | None = None,
    progress: bool = True,
) -> Results:
    """Train every combination of what varies with every seed, and compare them.

    Each run is an ordinary run folder in the study folder, which `pvae.load` and `pvae evaluate`
    read. All runs of a seed have the same data parts, minibatches and binarization, and are
    measured on the same items with the same draws, so that differences are paired. A study that
    was stopped continues where it was; if its arguments changed, only changed cells are trained.

    Args:
        study: the study folder.
        base: arguments of every run, those of `pvae train` that differ from its defaults; parts as
            factories, objectives, names, or ``class_path`` and ``init_args``.
        vary: what varies, as `pvae.studies.cells.make_axes` takes it: lists of values form a grid.
            ``None`` to continue the study in the folder, with no other argument that changes it.
        seeds: their number, or the seeds.
        baseline: the name of the cell that others are compared with; ``None`` for the best.
        metrics: names of `pvae.studies.metrics.METRICS`.
        num_samples: importance samples for log p(x).
        items: items of the test part that are measured; 0 for all.
        ais_items: of these, items on which annealed importance sampling checks log p(x).
        jobs: runs at a time, as processes of this machine.
        executor: runs on its workers instead, such as Dask's.
        threads: threads of each run. The bits of a run depend on it, and not on ``jobs``.
        steps: gradient steps of each run, in place of epochs, so that batch sizes compare; rounded
            to whole epochs, which a note says where it is so.
        seconds: training time of each run; epochs are then the most it may take.
        race: whether cells that are clearly behind are stopped early, by successive halving, at a
            third of the epochs or less for five cells or more (see `pvae.studies.race`).
        many: whether more than 10,000 runs are meant, up to 100,000.
        trust: modules of your own that parts may be imported from, besides those of the given
            classes.
        progress: whether to show progress.

    Returns:
        The results; a run that failed is part of them. The study folder has them as table.md,
        table.tex, table.csv and study.json.

    Raises:
        TypeError: if an argument has another type.
        ValueError: if there is no such argument or metric, fewer than two cells, or a value that
            varies cannot be trained with any of the others; without an executor this is found
            before any run.
        FileExistsError: if the folder holds something else.
        FileNotFoundError: if there are no such data.
        BlockingIOError: if another process runs the study.

    Example:
        >>> import tempfile
        >>> import pvae
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = pvae.studies.compare(
        ...         f"{folder}/latents",
        ...         {"epochs": 1, "network": {"class_path": "MLP", "init_args": {"hidden": [8]}}},
        ...         {"latent_dim": [2, 4]},
        ...         seeds=2,
        ...         metrics=["neg_elbo"],
        ...         items=20,
        ...         progress=False,
        ...     )
        >>> [cell.name for cell in found.cells]
        ['latent_dim=2', 'latent_dim=4']
    """
    if vary is None:
        _check_continued(locals())
    if not isinstance(study, str | os.PathLike):
        raise TypeError(f"study is {kind_of(study)}: it must be the path of a folder.")
    if not hasattr(executor, "submit") and executor is not None:
        raise TypeError(
            f"executor is {kind_of(executor)}: it must be a concurrent.futures.Executor, or None."
        )
    check_flag("many", many)
    check_flag("progress", progress)
    if seconds is not None:
        check_seconds(seconds)
    given = [trust] if isinstance(trust, str) else trust or ()
    if not isinstance(given, Iterable):
        raise TypeError(f"trust is {shown(trust)}: it must be names of modules, as strings.")
    given = [*given]
    if vary is None:
        opened = Study(study)
        opened.plan = opened.plan.trusting(given)
    else:
        measures = Measures(
            metrics=check_metrics(metrics),
            num_samples=check_size("num_samples", num_samples),
            items=check_count("items", items),
            ais_items=check_count("ais_items", ais_items),
        )
        plan = Plan.make(
            {} if base is None else base,
            vary,
            seeds,
            many,
            measures=measures,
            baseline=baseline,
            threads=check_size("threads", threads),
            steps=None if steps is None else check_size("steps", steps),
            seconds=seconds,
            race=check_flag("race", race),
        )
        named = {m for cell in plan.cells for m in trusted_modules.outside(plan.config(cell))}
        opened = Study(study, plan.trusting([*named, *given]))
        if executor is None:  # others may have data, modules and devices that are not here
            check_cells(opened, show=progress)
    opened.run(executor, jobs, progress)
    results = collect(opened)
    tables.write(opened, results)
    return results


def _check_continued(arguments: Mapping[str, Any]) -> None:
    """Raise if a study is continued, without saying what varies, with arguments that change it."""
    for name, parameter in inspect.signature(compare).parameters.items():
        if name not in CONTINUING and arguments[name] != parameter.default:
            raise ValueError(
                f"{name} without vary: to continue a study leave it out; to change one, give all "
                "its arguments and say what varies."
            )
