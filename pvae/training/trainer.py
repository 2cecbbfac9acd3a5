"""The training loop."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pyro
import torch
from pyro.infer import ELBO, SVI, Trace_ELBO
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.flop_counter import FlopCounterMode

from pvae import factories
from pvae.data.batches import Batches, batches_for
from pvae.data.dataset import Dataset
from pvae.data.domains import domain_of
from pvae.data.loading import load
from pvae.evaluation.summary import summarize
from pvae.inference.backends import best_backend
from pvae.inference.compiled import CompiledSVI
from pvae.inference.optimizer import Optimizer
from pvae.interfaces import option
from pvae.messages import shown
from pvae.objectives.counting import risen_after
from pvae.objectives.warmup import Warmup
from pvae.objectives.wrapper import check_objective
from pvae.seeds import seeded
from pvae.storage.tensors import pack_weights
from pvae.training.arguments import (
    check_auto,
    check_factory,
    check_numbers,
    check_places,
    check_vae,
    make_optimizer,
    make_schedule,
    step,
)
from pvae.training.checkpoint import Checkpoint, Position, weights_of
from pvae.training.history import History
from pvae.training.indexed import Drawn
from pvae.training.interrupt import Interrupt
from pvae.training.mode import Mode, choose_mode
from pvae.training.progress import Report, kept_note, planned_notes, say
from pvae.training.runs import Run, snapshot_name
from pvae.training.selection import (
    Figure,
    Keep,
    Monitor,
    check_monitor,
    choose_patience,
    choose_warmup,
)
from pvae.training.threads import threads_for
from pvae.training.unused_latents import unused_latents
from pvae.vae import VAE

SECONDS_BETWEEN_CHECKPOINTS = 20.0
MOST_EVALUATED = 5000  # items of the train part whose figures are followed when none are held out
MOST_AVERAGED = 1000  # items of the train part at whose mean the likelihood begins
MOST_SHOWN = 5000  # items of the train part that a prior may begin at


def fit(
    vae: VAE,
    data: Any,
    *,
    epochs: int = 200,
    batch_size: int = 128,
    objective: ELBO | None = None,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
    scheduler: Callable[..., LRScheduler] | None = None,
    clip_norm: float | None = None,
    warmup: int | Literal["auto"] = "auto",
    monitor: Figure = "objective",
    keep: Keep = "best",
    patience: int | Literal["auto"] | None = "auto",
    compile: bool | Literal["auto"] = "auto",
    device: str = "auto",
    seed: int = 0,
    run: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train a VAE by stochastic variational inference.

    Runs `pyro.infer.SVI`, or `CompiledSVI`, over shuffled minibatches, from a decoder whose output
    begins at the mean of the data (where likelihood and network offer that, as ours do). The VAE is
    left with the weights of its best epoch, by the objective that is trained, evaluated on the
    validation part where there is one. The same seed on the same machine gives the same weights,
    bit for bit, whether or not the run was stopped and resumed; the first weights are those that
    `pvae.build` drew, by a seed of its own. (With ``compile="auto"`` a clock has a say: where
    compiling hardly repays, two runs may choose differently, and round differently.)

    So that latents are not given up before they are of use, the weight of the KL rises over the
    first steps (see `pvae.objectives.Warmup`); so that few data are not learned by heart, training
    stops early. What was decided so, which epoch was kept and why, and which latents are not used
    is said where progress is shown, and stands in the history's ``notes``.

    Ctrl-C ends training after the step in hand, with everything saved. Without a terminal or
    notebook to draw a progress bar in, a line is printed every ten seconds at the most.

    Args:
        vae: the VAE; it is moved to the device.
        data: a `pvae.data.Dataset`, or anything that `pvae.data.load` takes.
        epochs: passes over the train part, in all.
        batch_size: data per gradient step, or all where there are fewer; the last step of an epoch
            may have fewer.
        objective: a Pyro ELBO whose loss is one number; ``None`` for `Trace_ELBO`. Its warm-up
            begins anew.
        optimizer: called with the parameters: a torch optimizer, or a `functools.partial` of one.
            It is given the gradient of the mean loss per datum.
        scheduler: called with the torch optimizer: a learning-rate schedule, or a
            `functools.partial` of one; it steps once an epoch.
        clip_norm: largest norm of the gradient; ``None`` for no clipping.
        warmup: gradient steps over which the weight of the KL rises from 0; 0 for none. ``"auto"``
            is a tenth of the planned steps where the objective has a KL that this is right
            for (see `pvae.objectives.warmup.can_warm_up`) and no schedule of its own, and else 0.
        monitor: the figure of the validation part that the best epoch is chosen by: the
            ``"objective"``, all that rises in it counting in full; ``"neg_elbo"``;
            ``"log_likelihood"``, the highest; or ``"bits_per_dim"``.
        keep: whose weights the VAE is left with: of the ``"best"`` epoch or the ``"last"``.
        patience: stop after so many epochs without a better figure, counted from the end of the
            warm-up; ``None`` for never. ``"auto"`` is a fifth of the epochs, but at least 20, and
            never without a validation part, or with a schedule of the learning rate, which is
            made for all epochs.
        compile: ``True`` runs `CompiledSVI`, ``False`` `pyro.infer.SVI`; ``"auto"`` takes what a
            few measured steps say that the planned ones repay, and falls back to SVI where the
            programs have no static graph.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda``, ``cuda:1``, ...
        seed: of everything random in training.
        run: folder to keep the run in, new or empty; ``None`` keeps nothing on disk.
        resume: continue the run in that folder, with the same arguments but for ``epochs``,
            ``patience``, ``compile`` and ``device``. What is ``"auto"`` stays what it was, whatever
            the epochs; what the version that began the run did not have yet is left out.
        progress: whether progress is shown.

    Returns:
        The history of the run, one row an epoch.

    Raises:
        TypeError: if an argument is of another kind, such as a class in place of an instance.
        ValueError: if an argument is out of range, optimizer or scheduler fail when their steps are
            rehearsed, the data do not fit the VAE, or a resumed run
            was made with other arguments or data.
        FileExistsError: if the run folder is not empty.
        FileNotFoundError: if there is no run to resume.
        FloatingPointError: if the loss is not finite; the VAE and the run folder then hold the
            last good state.
        OSError: if the run folder cannot be written.

    Example:
        >>> import pvae
        >>> data = pvae.data.load("digits")
        >>> vae = pvae.build(data.event_shape, latent_dim=2)
        >>> history = pvae.fit(vae, data, epochs=2, progress=False)
        >>> len(history["validation/neg_elbo"])
        2
    """
    check_vae(vae)
    check_numbers(epochs=epochs, batch_size=batch_size, clip_norm=clip_norm, seed=seed)
    check_auto("warmup", warmup, 0)
    check_auto("patience", patience, 1)
    monitor, keep = check_monitor(monitor, keep)
    if not isinstance(compile, bool) and compile != "auto":
        raise ValueError(f"compile is {shown(compile)}: it must be 'auto', True or False.")
    check_places(run, device)
    if resume and run is None:
        raise ValueError("resume needs the run folder to continue: pass run=.")
    objective = Trace_ELBO() if objective is None else check_objective(objective)
    check_factory("optimizer", optimizer)
    if scheduler is not None:
        check_factory("scheduler", scheduler)
    data = load(data)
    check_fit(vae, data)
    folder = Run(run) if resume else None
    if folder:
        folder.check()
        begun = folder.config
        warmup = begun["warmup"] if warmup == "auto" else warmup
        patience = begun.get("patience") if patience == "auto" else patience
        monitor, keep = (
            folder.lacking.get(k, v) for k, v in (("monitor", monitor), ("keep", keep))
        )
    warmup = choose_warmup(warmup, objective, epochs * -(-len(data.train) // batch_size))
    patience = choose_patience(patience, epochs, data.validation is not None, scheduler)
    config = _describe(data, vae, objective, optimizer, scheduler) | {
        "epochs": int(epochs),
        "batch_size": int(batch_size),
        "clip_norm": None if clip_norm is None else float(clip_norm),
        "warmup": warmup,
        "monitor": monitor,
        "keep": keep,
        "patience": patience,
        "compile": compile,
        "device": str(device),
        "seed": int(seed),
    }
    if folder:
        folder.check_same(config, data)
    elif run is not None:
        Run.check_new(run)

    device = choose_device(str(device))
    vae.to(device)
    if vae.labels is not None:
        vae.labels.name(data.classes)
    labels = vae.labels is not None
    size = min(batch_size, len(data.train))
    train = Batches(data, data.train, vae.likelihood.domain, size, device, vae.dtype, labels)
    validation = data.validation and batches_for(vae, data, data.validation)
    learned = [*vae.parameters()]
    if parameters := option(objective, "parameters"):  # such as a discriminator's
        objective.to(device=device, dtype=vae.dtype)
        learned += parameters()
    optim = make_optimizer(learned, optimizer, clip_norm)
    schedule = make_schedule(optim, optimizer, scheduler, epochs)
    if warmup:
        objective = Warmup(objective, warmup)
    monitored = data.validation and batches_for(vae, data, data.validation, size)
    monitor = Monitor(monitor, objective, monitored)
    monitor.check(vae)
    checkpoint = Checkpoint(vae, optim, schedule, objective, device)
    threads = partial(threads_for, size * _look(objective, vae, train))

    if resume:
        position = checkpoint.restore(folder.state(), folder.path / "state.pt")
        if position.epoch > epochs:
            raise ValueError(f"epochs is {epochs}: the run in {run} has {position.epoch} already.")
    else:
        pyro.set_rng_seed(int(seed))
        if option(objective, "step") is not None:
            objective.step = 0
        _begin_at_data(vae, train, int(seed))
        position = Position()
        folder = run and Run.create(run, config, data, device, checkpoint.state(position))
    if compile == "auto" and resume:
        mode = folder.info.get("mode", "eager")
    elif compile == "auto":
        with threads():
            mode = choose_mode(vae, objective, train, epochs * len(train))
    else:
        mode = "inductor" if compile else "eager"
    svi, drawn = _inference(mode, compile is True, vae, optim, objective, train)
    vae.train()
    good = checkpoint.state(position)
    stopped = None
    began = time.monotonic() - position.seconds
    saved = time.monotonic()
    notes = planned_notes(epochs * len(train), warmup, patience)
    if progress:
        say(notes)
    report = Report(epochs, len(train), position, progress)
    with (
        folder.lock() if folder else nullcontext(),
        threads(),
        Interrupt() as interrupt,
        report,
        pyro.validation_enabled(False),  # of the programs, which have been looked at
        _deterministic(),
    ):
        if folder:
            if resume:
                folder.write_config(config)
            sizes = {name: vae.arguments.get(name) for name in ("classes", "label_dim")}
            folder.update(mode=mode, labels=sizes)
        while stopped is None:
            if position.epoch >= epochs:
                stopped = "finished"
                break
            if patience is not None and position.stale >= patience:
                stopped = "early"
                break

            # One epoch. Its minibatches depend on the seed and the epoch alone, so that a run that
            # was stopped in its midst finds its place again.
            order, epoch_seed = _shuffle(len(data.train), seed, position.epoch)
            if drawn:
                batches = ((rows,) for rows in train.rows(order, position.batch))
            else:
                batches = train.arguments(order, position.batch, epoch_seed)
            for arguments in batches:
                optim.batch_size = len(arguments[0])
                loss = svi.step(*arguments)
                if isinstance(loss, float) and not math.isfinite(loss):
                    _refuse(loss, checkpoint, good, position, folder)
                position.batch += 1
                position.step += 1
                position.loss += loss
                report.step(loss, optim.batch_size)
                if folder and time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                    position.seconds = time.monotonic() - began
                    checkpoint.save(folder, position, None)
                    saved = time.monotonic()
                if interrupt.requested:  # before the next minibatch takes random numbers
                    break
            if interrupt.requested and position.batch < len(train):
                stopped = "interrupted"
                break

            # Its figures. On a GPU they are the first that anything waits for.
            position.loss = float(position.loss)
            if not math.isfinite(position.loss):
                _refuse(position.loss, checkpoint, good, position, folder)
            position.epoch += 1
            position.seconds = time.monotonic() - began
            row = {
                "epoch": position.epoch,
                "step": position.step,
                "seconds": round(position.seconds, 3),
                "loss": position.loss / len(data.train),
            }
            items = len(data.validation) if validation else MOST_EVALUATED
            figures = summarize(vae, train, items=items)
            row |= {f"train/{name}": value for name, value in figures.items()}
            if validation:
                figures = summarize(vae, validation) | monitor.figures(vae)
                row |= {f"validation/{name}": value for name, value in figures.items()}
            followed = monitor.loss(row) if validation else figures["neg_elbo"]
            for figure in (figures["neg_elbo"], followed):
                if not math.isfinite(figure):
                    _refuse(figure, checkpoint, good, position, folder)
            position.rows.append(row)
            position.batch, position.loss = 0, 0.0
            position.stale += position.step > risen_after(objective)
            if validation is None or followed < position.best:
                position.best, position.stale = followed, 0
                position.best_weights = weights_of(vae) if keep == "best" else {}
            if schedule:
                step(schedule, followed)
            report.epoch(row)

            # Its traces.
            good = checkpoint.state(position)
            if folder:
                if position.epoch & (position.epoch - 1) == 0:  # a power of two
                    snapshot = {snapshot_name(position.epoch): pack_weights(good["weights"])}
                    folder.write_files(snapshot)
                if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                    checkpoint.save(folder, position, None)
                    saved = time.monotonic()

        position.seconds = time.monotonic() - began
        if folder:
            checkpoint.save(folder, position, stopped)
        if position.best_weights:
            vae.load_state_dict(position.best_weights)
        vae.eval()
        history = History(position.rows, stopped, monitor.name(), keep, notes)
        if position.rows:
            ending = [kept_note(history), unused_latents(vae, validation or train)]
            history.notes += filter(None, ending)
    if progress:
        say(history.notes[len(notes) :])
    return history


def choose_device(device: str) -> torch.device:
    """Return the device of that name; ``auto`` is CUDA where there is one.

    Raises:
        ValueError: if there is no such device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.ones(1, device=chosen).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"The device {device!r} is not available here ({reason}): use device='cpu' or 'auto'."
        ) from error
    return chosen


def check_fit(
    vae: VAE, data: Dataset, labelled: Sequence[str] = ("train", "validation", "test")
) -> None:
    """Check that data are of the event shape of a VAE, whose likelihood has a domain.

    Args:
        vae: the VAE.
        data: the data set.
        labelled: the parts whose labels the VAE must know.

    Raises:
        ValueError: if not; both shapes are named.
    """
    domain_of(vae.likelihood)
    if tuple(data.event_shape) != tuple(vae.event_shape):
        raise ValueError(
            f"The data {data.name} have event shape {tuple(data.event_shape)}, the VAE was made "
            f"for {tuple(vae.event_shape)}: build it for the data, or load the data in its shape."
        )
    levels = option(vae.likelihood, "levels")
    if levels is not None and data.levels not in (None, levels):
        raise ValueError(
            f"The data {data.name} have {data.levels} levels, the likelihood "
            f"{type(vae.likelihood).__name__} {levels}: make it with levels={data.levels}."
        )
    if vae.labels is not None:
        for name, part in data.parts.items():
            if name in labelled:
                vae.labels.check(part.y)


def _shuffle(n: int, seed: int, epoch: int) -> tuple[torch.Tensor, int]:
    """The order of an epoch, and the seed of what its minibatches draw."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(n, generator=generator)
    return order, int(torch.randint(2**62, (), generator=generator))


def _describe(
    data: Dataset, vae: VAE, objective: ELBO, optimizer: Callable, scheduler: Callable | None
) -> dict[str, Any]:
    """What rebuilds the model and the data, as far as it can be written down."""
    arguments = vae.arguments
    described = {
        part: _try(lambda part=part: factories.describe(part, arguments[part]))
        for part in ("prior", "likelihood", "posterior", "network")
    }
    described["objective"] = _try(lambda: factories.describe_instance("objective", objective))
    described["optimizer"] = _try(lambda: factories.describe("optimizer", optimizer))
    described["scheduler"] = scheduler and _try(lambda: factories.describe("scheduler", scheduler))
    return {
        "data": None,
        **data.arguments,
        "event_shape": list(vae.event_shape),
        "latent_dim": arguments.get("latent_dim", vae.latent_shape.numel()),
        "conditional": list(arguments.get("conditional", ())) or False,
        **described,
    }


def _try(describe: Callable[[], dict]) -> dict | None:
    """A description, or None for what only the caller's own code can make again."""
    try:
        return describe()
    except (ValueError, KeyError):
        return None


def _begin_at_data(vae: VAE, train: Batches, seed: int) -> None:
    """Have parts that offer it begin at the data: those that are to be trained."""
    if vae.labels is not None:
        vae.labels.initialize(train.labels)
    for part, data in {
        vae.likelihood: lambda: train.head(MOST_AVERAGED).mean(0),
        vae.prior: lambda: vae.features(train.some(MOST_SHOWN, seed)),
    }.items():
        initialize = option(part, "initialize")
        if initialize and any(p.requires_grad for p in part.parameters()):
            initialize(data())


def _look(objective: ELBO, vae: VAE, train: Batches) -> float:
    """Let Pyro check the programs and find their plates, without a trace on the run that follows.

    Some objectives draw random numbers to find the plates when they are first called. A resumed
    run would draw them again, and go on differently.

    Returns:
        The operations that a datum takes in matrix products.
    """
    arguments = train.first(2)
    counter = FlopCounterMode(display=False)
    try:
        with seeded(0, train.device), vae.evaluating(), pyro.validation_enabled(True), counter:
            objective.loss(vae.model, vae.guide, *arguments)
    except ValueError as error:
        x = arguments[0]
        raise ValueError(
            f"The VAE gives no finite density for these data, whose values lie from "
            f"{float(x.min()):.4g} to {float(x.max()):.4g}: bring them to the order of 1 "
            "(standardize the columns of a table), or choose another likelihood."
        ) from error
    return counter.get_total_flops() / len(arguments[0])


def _inference(
    mode: Mode, strict: bool, vae: VAE, optim: Optimizer, objective: ELBO, train: Batches
) -> tuple[SVI, bool]:
    """Make the inference, and tell whether its steps take indices and draw the data themselves."""
    if mode == "eager":
        return SVI(vae.model, vae.guide, optim, objective), False
    drawn = train.device.type == "cuda" and train.in_memory
    backend = best_backend(train.device) if mode == "inductor" else mode
    svi = CompiledSVI(
        vae.model,
        vae.guide,
        optim,
        Drawn(objective, train) if drawn else objective,
        compile=strict or "auto",
        backend=backend,
        warm_up=False,  # a resumed run takes the same steps as one that was not stopped
    )
    return svi, drawn


@contextmanager
def _deterministic() -> Iterator[None]:
    """Have cuDNN choose algorithms that repeat."""
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before


def _refuse(
    loss: float, checkpoint: Checkpoint, good: dict, position: Position, folder: Run | None
) -> None:
    """Go back to the last good state, and say where it stopped being one."""
    step, epoch = position.step + 1, len(position.rows) + 1
    last = checkpoint.restore(good, "the last good state")
    if folder:
        checkpoint.save(folder, last, "failed")
    kept = f" and {folder.path}" if folder else ""
    raise FloatingPointError(
        f"The loss is {loss} at step {step} (epoch {epoch}): lower the learning rate or clip the "
        f"gradient; the VAE{kept} hold the last good state, after epoch {last.epoch}."
    )
