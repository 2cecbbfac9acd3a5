"""The stages of a training run, which `fit` runs in order."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pyro
import torch
from pyro.infer import SVI
from torch import Tensor

from pvae.data.batches import AT_ONCE, Batches, batches_for
from pvae.data.dataset import Dataset
from pvae.data.part import Part
from pvae.evaluation.elbo import elbo
from pvae.evaluation.summary import summarize
from pvae.inference.backends import best_backend
from pvae.inference.compiled import CompiledSVI
from pvae.interfaces import option
from pvae.objectives.counting import risen_after
from pvae.objectives.semi_supervised import counted_once
from pvae.objectives.warmup import Warmup
from pvae.seeds import seeded
from pvae.training.arguments import check_sampler
from pvae.training.checkpoint import Checkpoint, Position, weights_of
from pvae.training.device import choose_device, deterministic
from pvae.training.hessian import approximate
from pvae.training.history import History
from pvae.training.indexed import Drawn
from pvae.training.initialization import begin_at_data
from pvae.training.interrupt import Interrupt
from pvae.training.labelled import repeated_share, with_share
from pvae.training.mode import Mode, choose_mode
from pvae.training.optimization import make_optimizer, make_schedule, step
from pvae.training.progress import Report, binarized_note, bound_note, kept_note, planned_notes, say
from pvae.training.resuming import check_saved, rehearse
from pvae.training.runs import Run
from pvae.training.selection import Monitor
from pvae.training.settings import Settings
from pvae.training.snapshots import snapshot_steps
from pvae.training.spectral import limited
from pvae.training.threads import threads_for
from pvae.training.unused_latents import unused_latents
from pvae.training.writer import FolderWriter, Writer
from pvae.vae import VAE
from pvae.weights.objective import WithWeights

MOST_EVALUATED = 5000  # train items that are evaluated if there is no validation part


class Trainer:
    """Trains a VAE: `start` or `resume`, then epoch by epoch within `running`, then `finish`.

    Args:
        vae: the VAE.
        data: the training data.
        settings: the settings of the run.

    Attributes:
        position: the progress of training.
        stopped: why it ended: ``finished``, ``early`` or ``interrupted``; ``None`` before.
    """

    def __init__(self, vae: VAE, data: Dataset, settings: Settings) -> None:
        self.vae = vae
        self.data = data
        self.settings = settings.for_labels(vae)
        self.stopped: str | None = None
        self.writer = Writer()

    # Start or resume ---------------------------------------------------------------------------

    def start(self, folder: str | Path | None) -> None:
        """Start a run, in a new folder if one is given.

        Raises:
            FileExistsError: if the folder exists and is not empty.
            OSError: if it cannot be written.
            ValueError: if the settings and the data do not fit the VAE.
        """
        self.settings = self.settings.planned(self.data)
        config = self.settings.describe(self.vae, self.data)
        if folder is not None:
            Run.check_new(folder)
        self._prepare()
        pyro.set_rng_seed(int(self.settings.seed))
        if option(self.objective, "step") is not None:
            self.objective.step = 0
        begin_at_data(self.vae, self.train, int(self.settings.seed))
        self.position = Position()
        if folder is not None:
            state = self.checkpoint.state(self.position)
            steps = self._snapshot_steps()
            run = Run.create(folder, config, self.data, self.device, state, snapshot=0 in steps)
            self.writer = FolderWriter(run, self.checkpoint, steps)
        self.mode = self._choose_mode()

    def resume(self, folder: str | Path) -> None:
        """Resume the run in a folder. Nothing in it is changed unless all of it is valid.

        Raises:
            FileNotFoundError: if there is no run.
            ValueError: if it was started with other settings or data, or is damaged.
        """
        run = Run(folder)
        run.check()
        self.settings = self.settings.as_begun(run).planned(self.data)
        config = self.settings.describe(self.vae, self.data)
        run.check_same(config, self.data)
        self._prepare()
        state, source = run.state(), run.path / "state.pt"
        check_saved(
            state,
            source,
            self.checkpoint,
            self.settings.optimizer,
            self.settings.scheduler,
            self.monitor.followed(),
            len(self.train),
        )
        self.position = self.checkpoint.restore(state, source)
        if self.position.epoch > self.settings.epochs:
            raise ValueError(
                f"epochs is {self.settings.epochs}: the run in {folder} has {self.position.epoch} "
                "already."
            )
        if self._ending() is None:
            rehearse(self.checkpoint, self.position, self.train.first(self.size), source)
        self.writer = FolderWriter(run, self.checkpoint, self._snapshot_steps(), config)
        self.mode = self._choose_mode(run.info.get("mode", "eager"))

    def _prepare(self) -> None:
        """Create minibatches, optimizer, schedule, objective and checkpoint."""
        vae, data, settings = self.vae, self.data, self.settings
        self.device = choose_device(str(settings.device))
        vae.to(self.device)
        if vae.labels is not None:
            vae.labels.name(data.classes)
        self.size = min(settings.batch_size, len(data.train))
        self.train = batches_for(
            vae, data, data.train, self.size, _trains_on_labels(vae, data.train)
        )
        known = None if vae.classifier is None else self.train.labels
        self.known = None if known is None else known.cpu() >= 0
        self.validation = monitored = None
        if data.validation:
            self.validation = batches_for(vae, data, data.validation)
            labels = _trains_on_labels(vae, data.validation)
            monitored = batches_for(vae, data, data.validation, self.size, labels)
        objective, learned = settings.objective, [*vae.parameters()]
        if parameters := option(objective, "parameters"):  # such as a discriminator's
            objective.to(device=self.device, dtype=vae.dtype)
            learned += parameters()
        norms = settings.clip_norm, settings.skip_norm, limited(vae, settings.spectral_limit)
        self.optim = make_optimizer(learned, settings.optimizer, *norms)
        check_sampler(vae, self.optim.torch_optimizer, settings.keep, settings.patience)
        self.schedule = make_schedule(
            self.optim, settings.optimizer, settings.scheduler, settings.epochs
        )
        self.objective: Any = Warmup(objective, settings.warmup) if settings.warmup else objective
        if vae.weights is not None:
            vae.weights.observe(len(data.train))
            self.objective = WithWeights(self.objective, vae.weights)
        self.monitor = Monitor(settings.monitor, self.objective, monitored)
        self.monitor.check(vae)
        self.checkpoint = Checkpoint(vae, self.optim, self.schedule, self.objective, self.device)
        self.work = self.size * _look(self.objective, vae, self.train)

    def _snapshot_steps(self) -> frozenset[int]:
        """The steps after which the run folder keeps the weights."""
        if not self.settings.snapshots:
            return frozenset()
        return snapshot_steps(sum(w.nbytes for w in self.vae.state_dict().values()))

    def _choose_mode(self, begun: Mode | None = None) -> Mode:
        """Choose how steps are computed: as requested, as before, or as measured to be fastest."""
        if self.settings.compile != "auto":
            return "inductor" if self.settings.compile else "eager"
        if begun is not None:
            return begun
        with threads_for(self.work):
            planned = self.settings.epochs * len(self.train)
            return choose_mode(self.vae, self.objective, self.train, planned)

    # Train an epoch ----------------------------------------------------------------------------

    @contextmanager
    def running(self, progress: bool) -> Iterator[None]:
        """Enter all contexts of training, such as the lock of the run folder.

        Args:
            progress: whether to show progress.
        """
        vae, settings, planned = self.vae, self.settings, self.settings.epochs * len(self.train)
        self.svi, self.drawn = self._inference()
        vae.train()
        self.good = self.checkpoint.state(self.position)
        self.began = time.monotonic() - self.position.seconds
        self.notes = planned_notes(
            settings.epochs,
            planned,
            settings.warmup,
            settings.patience,
            risen_after(self.objective),
        )
        self.notes += filter(None, [binarized_note(vae, self.data)])
        self.progress = progress
        if progress:
            say(self.notes)
        self.report = Report(settings.epochs, len(self.train), self.position, progress)
        sizes = {name: vae.arguments.get(name) for name in ("classes", "label_dim")}
        with (
            self.writer.writing(mode=self.mode, labels=sizes, monitor=self.monitor.name()),
            threads_for(self.work) as self.spare,
            Interrupt() as self.interrupt,
            self.report,
            pyro.validation_enabled(False),  # the programs were checked before
            deterministic(),
        ):
            yield

    def goes_on(self, pause: Callable[[History], bool] | None = None) -> bool:
        """Whether there is another epoch to train now; if not, `stopped` says why.

        Args:
            pause: whether to interrupt training at this point of its history.
        """
        self.stopped = self.stopped or self._ending()
        if self.stopped is None and pause is not None and self.position.rows:
            self.stopped = "interrupted" if pause(self._history()) else None
        return self.stopped is None

    def train_epoch(self) -> bool:
        """Take the gradient steps of an epoch; return whether all were taken.

        Its minibatches depend only on the seed and the epoch, so that a run that was stopped within
        an epoch can resume there.
        """
        vae, position, report = self.vae, self.position, self.report
        with counted_once(self.objective, repeated_share(self.known)), self._unwatched():
            for arguments in self._minibatches():
                self.optim.batch_size = len(arguments[0])
                loss = self.svi.step(*arguments)
                if isinstance(loss, float) and not math.isfinite(loss):
                    self._refuse(loss)
                position.batch += 1
                position.step += 1
                position.loss += loss
                if vae.weights is not None:
                    vae.weights.follow(self.optim.torch_optimizer)
                report.step(loss, self.optim.batch_size)
                position.seconds = time.monotonic() - self.began
                self.writer.step(position)
                if self.interrupt.requested:  # before the next minibatch draws random numbers
                    break
        if self.interrupt.requested and position.batch < len(self.train):
            self.stopped = "interrupted"
        return self.stopped is None

    def _unwatched(self) -> AbstractContextManager[None]:
        """No search for changes of the programs where only steps run between steps.

        Data that are read on demand run code of the user, and draws of weights replace weights.
        """
        if not isinstance(self.svi, CompiledSVI) or self.vae.weights is not None:
            return nullcontext()
        return self.svi.unwatched() if self.train.in_memory else nullcontext()

    def _minibatches(self) -> Iterable[tuple[Tensor, ...]]:
        """The rest of the epoch, as indices if the step looks up the data itself."""
        n, batch = len(self.data.train), self.position.batch
        order, seed = _shuffle(n, self.settings.seed, self.position.epoch)
        if self.known is not None:
            order = with_share(order, self.known, seed)
        if self.drawn:
            return ((rows,) for rows in self.train.rows(order, batch))
        return self.train.arguments(order, batch, seed, ahead=self.spare)

    def _inference(self) -> tuple[SVI, bool]:
        """Create the SVI; return also whether its steps take indices."""
        vae, train = self.vae, self.train
        if self.mode == "eager":
            return SVI(vae.model, vae.guide, self.optim, self.objective), False
        drawn = train.device.type == "cuda" and train.in_memory
        svi = CompiledSVI(
            vae.model,
            vae.guide,
            self.optim,
            Drawn(self.objective, train) if drawn else self.objective,
            compile=self.settings.compile is True or "auto",
            backend=best_backend(train.device) if self.mode == "inductor" else self.mode,
            warm_up=False,  # a resumed run takes the same steps as an uninterrupted one
        )
        return svi, drawn

    # Evaluate it -------------------------------------------------------------------------------

    def evaluate_epoch(self) -> None:
        """Record the metrics of an epoch, keep the best weights, and step the schedule."""
        vae, position = self.vae, self.position
        if vae.weights is not None:
            vae.weights.center(vae)
        # On a GPU this is the first time that the host waits for a result.
        position.loss = float(position.loss)
        if not math.isfinite(position.loss):
            self._refuse(position.loss)
        position.epoch += 1
        position.seconds = time.monotonic() - self.began
        row = {
            "epoch": position.epoch,
            "step": position.step,
            "seconds": round(position.seconds, 3),
            "loss": position.loss / len(self.data.train),
        }
        items = len(self.validation.part) if self.validation else MOST_EVALUATED
        figures = summarize(vae, self.train.at_least(AT_ONCE), items=items)
        row |= {f"train/{name}": value for name, value in figures.items()}
        if self.validation:
            figures = summarize(vae, self.validation) | self.monitor.figures(vae)
            row |= {f"validation/{name}": value for name, value in figures.items()}
        followed = self.monitor.loss(row)
        for figure in (figures["neg_elbo"], followed):
            if not math.isfinite(figure):
                self._refuse(figure)
        position.rows.append(row)
        position.batch, position.loss = 0, 0.0
        position.stale += position.step > risen_after(self.objective)
        if not self.monitor.chooses or followed < position.best:
            position.best, position.stale = followed, 0
            position.best_weights = weights_of(vae) if self.settings.keep == "best" else {}
        if self.schedule:
            step(self.schedule, followed)
        self.report.epoch(row)

    # Checkpoint it -----------------------------------------------------------------------------

    def checkpoint_epoch(self) -> None:
        """Keep the state after an epoch as the last good one."""
        self.good = self.checkpoint.state(self.position)
        self.writer.epoch(self.position)

    # Finish ------------------------------------------------------------------------------------

    def finish(self) -> History:
        """Save the run, and load the kept weights into the VAE."""
        vae, position = self.vae, self.position
        position.seconds = time.monotonic() - self.began
        approximated = None
        if vae.weights is not None:
            vae.weights.center(vae)  # it may have stopped within an epoch
            if vae.weights.has_hessian and position.rows:
                approximated = self._approximate()
        self.writer.save(position, self.stopped)
        if position.best_weights:
            vae.load_state_dict(position.best_weights)
        vae.eval()
        history = self._history()
        if position.rows:
            ending = [
                approximated,
                kept_note(history, self.validation is not None),
                bound_note(self.settings.objective),
                unused_latents(vae, self.validation or self.train, self.settings.objective),
            ]
            history.notes += filter(None, ending)
        if self.progress:
            self.report.close()
            say(history.notes[len(self.notes) :])
        return history

    def _approximate(self) -> str | None:
        """Make the Laplace approximation of the weights, at those that are kept; return a note."""
        vae, position, last = self.vae, self.position, weights_of(self.vae)
        if position.best_weights:
            vae.load_state_dict(position.best_weights)
        vae.eval()
        note = approximate(vae, self.objective, self.train, int(self.settings.seed))
        if position.best_weights:
            position.best_weights = weights_of(vae)
            vae.load_state_dict(last)
        return note

    def _history(self) -> History:
        rows, settings = self.position.rows, self.settings
        return History(rows, self.stopped, self.monitor.name(), settings.keep, self.notes)

    def _ending(self) -> str | None:
        """Why training ends before another epoch, if it does."""
        if self.position.epoch >= self.settings.epochs:
            return "finished"
        patience = self.settings.patience
        return "early" if patience is not None and self.position.stale >= patience else None

    def _refuse(self, loss: float) -> None:
        """Restore the last good state, and raise an error that says where the loss diverged."""
        step, epoch = self.position.step + 1, len(self.position.rows) + 1
        last = self.checkpoint.restore(self.good, "the last good state")
        self.writer.save(last, "failed")
        raise FloatingPointError(
            f"The loss is {loss} at step {step} (epoch {epoch}): lower the learning rate or clip "
            f"the gradient; the VAE{self.writer.where} hold the last good state, after epoch "
            f"{last.epoch}."
        )


def _trains_on_labels(vae: VAE, part: Part) -> bool:
    """Whether the programs are given labels, which a VAE with a classifier does without."""
    return vae.labels is not None and (vae.classifier is None or part.y is not None)


def _shuffle(n: int, seed: int, epoch: int) -> tuple[Tensor, int]:
    """The order of items in an epoch, and the seed of random draws in its minibatches."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(n, generator=generator)
    return order, int(torch.randint(2**62, (), generator=generator))


def _look(objective: Any, vae: VAE, train: Batches) -> float:
    """Let Pyro check the programs and find their plates, without an effect on the run.

    Some objectives draw random numbers to find the plates on their first call. A resumed run would
    draw them again, and continue differently.

    Returns:
        The operations in matrix products per datum.
    """
    from torch.utils.flop_counter import FlopCounterMode  # which imports Triton

    arguments = train.first(2)
    counter = FlopCounterMode(display=False)
    given = arguments if vae.classifier is None else arguments[:1]
    with seeded(0, train.device), vae.evaluating():
        # Not by Pyro's validation: only what is not finite is an error of the data.
        with pyro.validation_enabled(False):
            finite = bool(elbo(vae, *given).elbo.isfinite().all())
        if not finite:
            x = arguments[0]
            raise ValueError(
                f"The VAE gives no finite density for these data, whose values lie from "
                f"{float(x.min()):.4g} to {float(x.max()):.4g}: rescale them to the order of 1 "
                "(standardize the columns of a table), or choose another likelihood."
            )
        # With gradients, as in training: a posterior may take some, which the counter's hooks
        # allow of no leaf.
        with pyro.validation_enabled(True), torch.enable_grad(), counter:
            objective.loss(vae.model, vae.guide, *arguments)
    return counter.get_total_flops() / len(arguments[0])
