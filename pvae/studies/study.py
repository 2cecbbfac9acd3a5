"""A study: the runs of every cell and seed, in one folder that resumes.

::

    study.yaml     what varies, over what base, with how many seeds, and what is measured
    study.json     the results
    runs/          a run folder for each cell and seed
    table.md, table.tex, table.csv, figures/
"""

import concurrent.futures
import hashlib
import json
import math
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pvae.checks import check_size
from pvae.messages import brief, choices, ended, one_line, shorten, shown
from pvae.storage import configuration, files
from pvae.storage.lock import lock
from pvae.studies import arguments
from pvae.studies.cells import Axes, Cell, check_runs, check_seeds, make_axes, make_cells
from pvae.studies.jobs import Job, reached, read_measures, read_token, unpack
from pvae.studies.measures import Measures
from pvae.studies.metrics import Measured
from pvae.studies.progress import Progress
from pvae.studies.race import rungs
from pvae.studies.worker import WORKERS, run_on_worker
from pvae.training.runs import Run

ATTEMPTS = 4  # at a run whose worker was killed
PAUSE = 0.5  # seconds before the second, and twice as long before each further
MOST_VALUES = 100_000  # of study.yaml: 10,000 values of one axis, of four arguments each
MOST_BYTES = 2**23
SECONDS = 2.0  # to wait for runs that end; those on other machines may take longer


@dataclass(frozen=True)
class Plan:
    """What a study compares.

    Attributes:
        base: arguments of every run, in the form of a configuration.
        axes: what varies, whose full grid are the cells.
        seeds: the seeds of the runs of each cell.
        measures: what is measured.
        baseline: the name of the cell that others are compared with, ``None`` for the best.
        trusted: modules of the user's own that parts may be imported from; a study folder does
            not name them, since it may come from elsewhere.
        threads: threads of each run, however many run at a time, so that its bits do not depend
            on that.
        steps: gradient steps of each run, in place of epochs.
        seconds: training time of each run.
        race: whether cells that are behind are stopped early (see `pvae.studies.race`).
    """

    base: Mapping[str, Any]
    axes: Axes
    seeds: tuple[int, ...]
    measures: Measures = field(default_factory=Measures)
    baseline: str | None = None
    trusted: tuple[str, ...] = ()
    threads: int = 1
    steps: int | None = None
    seconds: float | None = None
    race: bool = False

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The cells."""
        return make_cells(self.axes)

    @classmethod
    def make(
        cls,
        base: Mapping[str, Any],
        vary: Mapping[str, Any],
        seeds: int | Sequence[int],
        many: bool = False,
        **others: Any,
    ) -> "Plan":
        """Make a plan from arguments as a user writes them.

        Args:
            base: arguments of `pvae train` that differ from its defaults.
            vary: the axes, as `make_axes` takes them.
            seeds: the number of seeds, from 0, or the seeds.
            many: whether more than 10,000 runs are meant.
            **others: further attributes of the plan.

        Raises:
            TypeError: if an argument has another type.
            ValueError: if there is no such argument, fewer than two cells, more runs than
                meant, or no cell of the name of the baseline.
        """
        if not isinstance(base, Mapping):
            raise TypeError(
                f"base is {shown(base)}: give arguments by name, such as {{'epochs': 50}}."
            )
        given = {name: arguments.described(name, value) for name, value in base.items()}
        axes = make_axes(vary)
        if all(len(axis) == 1 for axis in axes):
            varied = shorten("; ".join(vary), 100)
            raise ValueError(
                f"There is one cell only, as {varied} has one value: give at least two to compare."
            )
        numbers = check_seeds(seeds)
        check_runs(axes, len(numbers), many)
        whole = arguments.changed(arguments.defaults(), given)
        arguments.check_arguments(whole, given)
        plan = cls(whole, axes, numbers, **others)
        for cell in plan.cells:
            arguments.check_arguments(plan.config(cell), cell.changes)
            arguments.check_complete(plan.config(cell))
        names = [cell.name for cell in plan.cells]
        if plan.baseline is not None and plan.baseline not in names:
            raise ValueError(
                f"There is no cell {shown(plan.baseline)} for the baseline: "
                f"{choices(shown(plan.baseline), map(shown, names))}"
            )
        return plan

    def trusting(self, modules: Iterable[str]) -> "Plan":
        """The plan with modules that parts may be imported from."""
        return replace(self, trusted=tuple(sorted(set(modules))))

    def config(self, cell: Cell) -> dict[str, Any]:
        """The arguments of the runs of a cell."""
        return arguments.changed(self.base, cell.changes)

    def describe(self) -> dict[str, Any]:
        """The plan as a YAML file holds it."""
        return {
            "base": dict(self.base),
            "axes": [{name: dict(changes) for name, changes in a.items()} for a in self.axes],
            "seeds": list(self.seeds),
            "measures": asdict(self.measures) | {"metrics": list(self.measures.metrics)},
            "baseline": self.baseline,
            "threads": self.threads,
            "steps": self.steps,
            "seconds": self.seconds,
            "race": self.race,
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> "Plan":
        """Read what `describe` wrote.

        Raises:
            ValueError: if it is no such description.
        """
        fields = {name: value for name, value in description.items() if name != "trusted"}
        try:
            measures = dict(fields["measures"])
            fields["measures"] = Measures(**measures | {"metrics": tuple(measures["metrics"])})
            # A version of fewer arguments wrote fewer.
            fields["base"] = {**arguments.defaults(), **fields["base"]}
            fields["axes"] = tuple(fields["axes"])
            fields["seeds"] = check_seeds(fields["seeds"])
            changes = [each for axis in fields["axes"] for each in axis.values()]
            for name in {name for each in (fields["base"], *changes) for name in each}:
                arguments.check_name(name)
            plan = cls(**fields)
            check_runs(plan.axes, len(plan.seeds), many=True)
            _ = plan.cells
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it is not the plan of a study, {brief(error)}") from error
        return plan


class Study:
    """A study folder.

    Args:
        path: the folder.
        plan: what it compares; ``None`` to read it from the folder.

    Raises:
        FileNotFoundError: if there is no plan and no study in the folder.
        NotADirectoryError: if it is a file, or in one.
        FileExistsError: if the folder holds something else, or runs of a study without a cell in
            common; of runs that all failed any study may take the place.
        ValueError: if its files are damaged.
    """

    def __init__(self, path: str | Path, plan: Plan | None = None) -> None:
        self.path = Path(path)
        above = next(place for place in (self.path, *self.path.parents) if place.exists())
        if not above.is_dir():
            raise NotADirectoryError(f"{above} is a file: choose another folder, --study NAME.")
        saved = self.path / "study.yaml"
        before = _read_plan(saved) if saved.exists() else None
        if plan is None and before is None:
            raise FileNotFoundError(f"There is no study in {self.path}: it has no study.yaml.")
        self.plan: Plan = before if plan is None else plan  # type: ignore[assignment]
        if before is None and self.path.exists() and any(self.path.iterdir()):
            raise FileExistsError(
                f"{self.path} exists and is not a study: choose another folder, --study NAME."
            )
        self.notes: list[str] = []
        if before is not None and plan is not None and before.describe() != plan.describe():
            self._note_changes(before)

    def _note_changes(self, before: Plan) -> None:
        old = {self.place(before, cell) for cell in before.cells}
        new = {self.place(self.plan, cell) for cell in self.plan.cells}
        if not old & new and self._has_runs():
            raise FileExistsError(
                f"{self.path} holds another study, with no cell in common: choose another folder, "
                "--study NAME."
            )
        if old != new:
            self.notes.append(
                f"The study has changed: {len(new & old)} of {len(new)} cells stay as they were, "
                f"{len(new - old)} are new, and {len(old - new)} are no longer part of it (their "
                "runs are kept)."
            )

    def _has_runs(self) -> bool:
        """Whether there is a run that has not failed, which a study of other cells would leave."""
        begun = (path.parent for path in self.path.glob("runs/*/*/run.json"))
        return any(not run.with_suffix(".failed").exists() for run in begun)

    @staticmethod
    def place(plan: Plan, cell: Cell) -> str:
        """The folder of the runs of a cell: its name, and a hash of what its arguments say."""
        said = arguments.essence(plan.config(cell))
        content = json.dumps([said, plan.threads, plan.steps, plan.seconds], sort_keys=True)
        slug = re.sub(r"[^\w.=]+", "-", cell.name).strip("-.")[:60]
        return f"runs/{slug}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"

    def jobs(self) -> list[Job]:
        """The jobs of all runs: every cell of the first seed, then of the next."""
        plan, token = self.plan, self._token()
        return [
            Job(
                cell=cell.name,
                seed=seed,
                config=plan.config(cell),
                measures=plan.measures,
                study=str(self.path.resolve()),
                place=f"{self.place(plan, cell)}/seed-{seed}",
                token=token,
                threads=plan.threads,
                trusted=plan.trusted,
                steps=plan.steps,
                seconds=plan.seconds,
            )
            for seed in plan.seeds
            for cell in plan.cells
        ]

    def _token(self) -> str:
        return read_token(self.path) or ""

    def _renew_token(self) -> None:
        """Give the folder another token: jobs that have the one before end themselves."""
        files.write(self.path / "study.token", secrets.token_hex(16).encode())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        text = configuration.as_yaml(self.plan.describe())
        if len(text) > MOST_BYTES or not configuration.within_bounds(text.decode(), MOST_VALUES):
            raise ValueError(
                f"The plan has over {MOST_VALUES:,} values or {MOST_BYTES:,} bytes, which its file "
                "may not hold: vary less on one axis, or make several studies."
            )
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with lock(self.path):
                if not self._token():
                    self._renew_token()
                files.write(self.path / "study.yaml", text)
                try:
                    yield
                except BaseException:
                    self._renew_token()
                    raise
        except BlockingIOError as error:
            raise BlockingIOError(
                error.errno, f"Another process runs the study in {self.path}: wait until it ends."
            ) from error

    def run(
        self,
        executor: concurrent.futures.Executor | None = None,
        jobs: int = 1,
        show: bool = True,
        cells: Sequence[str] | None = None,
    ) -> None:
        """Run what is not finished.

        Args:
            executor: where; ``None`` for processes of this machine.
            jobs: how many at a time on this machine.
            show: whether to show progress.
            cells: names of the cells to run; ``None`` for all.

        Raises:
            BlockingIOError: if another process runs the study.
            KeyboardInterrupt: on Ctrl-C; runs continue later where they were.
        """
        check_size("jobs", jobs)
        with self._writing():
            pool = executor or concurrent.futures.ThreadPoolExecutor(jobs)
            try:
                meant = [job for job in self.jobs() if cells is None or job.cell in cells]
                for job in meant:  # what made a run fail may have changed
                    self._failure(job).unlink(missing_ok=True)
                raced = rungs(meant, self.losses, self.notes)
                for rung in raced if self.plan.race else [meant]:
                    waiting = [job for job in rung if not self.finished(job)]
                    self._run(pool, waiting, Progress(self.path, len(rung), len(waiting), show))
            finally:
                if executor is None:
                    pool.shutdown(cancel_futures=True)

    def _run(
        self, pool: concurrent.futures.Executor, waiting: Sequence[Job], progress: Progress
    ) -> None:
        attempts: dict[str, int] = {}
        running: dict[concurrent.futures.Future[dict[str, Any]], Job] = {}
        again: list[tuple[float, Job]] = []  # runs to try once more, and when
        with progress, _ending(running):
            for job in waiting:
                running[pool.submit(run_on_worker, job)] = job
            while running or again:
                done, _ = concurrent.futures.wait(
                    running, timeout=0.5, return_when=concurrent.futures.FIRST_COMPLETED
                )
                if not running:
                    time.sleep(PAUSE / 5)
                due = [job for when, job in again if when <= time.monotonic()]
                again = [(when, job) for when, job in again if job not in due]
                for job in due:
                    running[pool.submit(run_on_worker, job)] = job
                for future in done:
                    job = running.pop(future)
                    try:
                        self._keep(job, future.result())
                        progress.finished(job, self.failure(job))
                    # Of the executor: what a run raises is in its result.
                    except Exception as error:
                        tried = attempts[job.place] = attempts.get(job.place, 0) + 1
                        if tried < ATTEMPTS:
                            # What killed it, such as a full memory, may pass.
                            again.append((time.monotonic() + PAUSE * 2 ** (tried - 1), job))
                        else:
                            self._fail(job, f"{one_line(error)} It was tried {ATTEMPTS} times.")
                            progress.finished(job, self.failure(job))
                progress.update(running.values())

    def _keep(self, job: Job, result: Mapping[str, Any]) -> None:
        """Keep the result of a job: the files of a run made elsewhere, and why it failed."""
        folder = self.path / job.place
        if result.get("files"):
            unpack(result["files"], folder)
        if result["status"] == "failed":
            self._fail(job, result["sentence"])

    def _failure(self, job: Job) -> Path:
        return (self.path / job.place).with_suffix(".failed")

    def _fail(self, job: Job, sentence: str) -> None:
        path = self._failure(job)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, sentence.encode())

    def finished(self, job: Job) -> bool:
        """Whether a run is trained and measured as planned, or paused there, or has failed."""
        if self._failure(job).exists() or self.measured(job) is not None:
            return True
        if job.pause is None:
            return False
        run = self.begun(job)
        return run is not None and reached(job, run.history, run.config["epochs"])

    def begun(self, job: Job) -> Run | None:
        """The run folder of a job, if it has one."""
        folder = self.path / job.place
        return Run(folder, trust=self.plan.trusted) if (folder / "run.json").exists() else None

    def losses(self, jobs: Sequence[Job]) -> dict[str, list[float]]:
        """The least −ELBO of each run up to where it pauses, by cell; NaN if it failed.

        It is that of the validation part, and the same for every objective.
        """
        found: dict[str, list[float]] = {}
        for job in jobs:
            run = None if self.failure(job) else self.begun(job)
            value = math.nan
            if run is not None:
                last = math.ceil((job.pause or 1.0) * run.config["epochs"])
                rows = [row for row in run.history.rows if row["epoch"] <= last]
                values = [row.get("validation/neg_elbo", row["train/neg_elbo"]) for row in rows]
                value = min(values, default=math.nan)
            found.setdefault(job.cell, []).append(value)
        return found

    def failure(self, job: Job) -> str | None:
        """Why a run failed, if it did."""
        path = self._failure(job)
        return path.read_text(encoding="utf-8") if path.exists() else None

    def measured(self, job: Job) -> Measured | None:
        """The measures of a run, if it has those of the plan."""
        return read_measures(self.path / job.place, job.measures)


def _read_plan(path: Path) -> Plan:
    description = configuration.read(path, MOST_VALUES, MOST_BYTES)
    try:
        return Plan.from_description(description)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {ended(brief(error))}") from error


@contextmanager
def _ending(running: Mapping[concurrent.futures.Future[Any], Job]) -> Iterator[None]:
    """End the runs that are under way if an error ends the study, such as Ctrl-C."""
    try:
        yield
    except BaseException:
        for future in running:  # first, so that no thread starts another
            future.cancel()
        late = time.monotonic() + SECONDS
        # Again and again, since a thread may just be starting one.
        while not all(future.done() for future in running) and time.monotonic() < late:
            WORKERS.close()
            time.sleep(0.05)
        raise
