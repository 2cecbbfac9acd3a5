"""A trial of the cells of a study: what cannot be trained is refused before anything is."""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pyro
from pyro.util import get_rng_state, set_rng_state

from pvae import memory
from pvae.data.dataset import Dataset
from pvae.data.loading import load
from pvae.messages import shorten, shown
from pvae.progress_bar import bar
from pvae.storage import trust
from pvae.studies.jobs import Job, is_of_machine, planned, sentence_of
from pvae.studies.metrics import check_labelled
from pvae.studies.study import Study
from pvae.training.configured import build_configured, check_configured
from pvae.training.rebuild import select

DELAY = 2.0  # seconds after which progress is shown


def check_cells(study: Study, cells: Sequence[str] | None = None, show: bool = True) -> None:
    """Raise if a value that varies cannot begin to train on this machine, whatever the others are.

    A combination that alone cannot is left to the run, which fails with the same sentence while
    the others go on; so is what does not fit into memory: at another time, or on another machine,
    it may. Nothing is written, and the state of Pyro and torch stays as it is.

    Args:
        study: the study.
        cells: names of the cells; ``None`` for all.
        show: whether to show progress.

    Raises:
        ValueError: naming the cell. If all fail alike, the error that each has, of any type.
    """
    every = {cell.name for cell in study.plan.cells if cells is None or cell.name in cells}
    left = {job.cell: job for job in study.jobs() if study.measured(job) is None}
    jobs = [job for name, job in left.items() if name in every]
    trial, errors = _Trial(), {}
    with trust.trusting(study.plan.trusted), _state_kept():
        options = {"desc": "trial", "unit": "cell", "leave": False, "delay": DELAY}
        for job in bar(iterable=jobs, **options) if show else jobs:
            if (error := trial.error(job)) is not None:
                errors[job.cell] = error
    sentences = {sentence_of(error) for error in errors.values()}
    if errors.keys() == every and len(sentences) == 1:
        raise next(iter(errors.values()))
    name = _first_refused(study, errors, every)
    if name is not None:
        said = f"The cell {shown(shorten(name, 50))} cannot be trained: {sentence_of(errors[name])}"
        raise ValueError(shorten(said)) from errors[name]


def _first_refused(
    study: Study, errors: Mapping[str, Exception], cells: Collection[str]
) -> str | None:
    """The first cell of a value that has an error with all values of the other axes."""
    axes = study.plan.axes
    for i in range(len(axes)):
        of_value: dict[str, list[str]] = {}
        for cell, values in zip(study.plan.cells, itertools.product(*axes), strict=True):
            if cell.name in cells:
                of_value.setdefault(values[i], []).append(cell.name)
        for names in of_value.values():
            if errors.keys() >= {*names}:
                return names[0]
    return None


class _Trial:
    """Tries runs one after another; those of the same data load them once."""

    def __init__(self) -> None:
        self.data: Dataset | None = None
        self.arguments: dict[str, object] = {}

    def error(self, job: Job) -> Exception | None:
        """The error of a run before its first step, ``None`` if it can begin.

        Raises:
            OSError: of this machine, such as a file that may not be read.
        """
        arguments = select(job.config, load)
        if arguments != self.arguments:
            self.data, self.arguments = None, arguments
        try:
            vae, self.data = build_configured(job.seeded_config, self.data)
            check_labelled(self.data, job.measures.metrics)
            check_configured(vae, self.data, planned(job, self.data))
        except Exception as error:  # a part of the user's own may raise anything
            if is_of_machine(error):
                raise
            short = isinstance(error, memory.MemoryShort) or memory.ran_out(error)
            return None if short else error
        return None


@contextmanager
def _state_kept() -> Iterator[None]:
    """Leave the random state and the parameter store of Pyro as they are."""
    state = get_rng_state()
    try:
        with pyro.get_param_store().scope():
            yield
    finally:
        set_rng_state(state)
