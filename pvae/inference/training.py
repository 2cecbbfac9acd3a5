"""The training loop."""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyro
import torch
from pyro.infer import ELBO, SVI, Trace_ELBO
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from pvae import factories
from pvae.data.batches import Batches
from pvae.data.dataset import Dataset
from pvae.data.loading import load
from pvae.evaluation.summary import batches_for, summarize
from pvae.inference import storage
from pvae.inference.checkpoint import Checkpoint, Position, weights_of
from pvae.inference.history import History
from pvae.inference.interrupt import Interrupt
from pvae.inference.optimizer import Optimizer
from pvae.inference.runs import Run, snapshot_name
from pvae.progress import bar, in_notebook
from pvae.vae import VAE

SECONDS_BETWEEN_CHECKPOINTS = 20.0
SECONDS_BETWEEN_LINES = 10.0
EVALUATION_BATCH = 500
MOST_EVALUATED = 5000  # items of the train part whose figures are followed when none are held out


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
    patience: int | None = None,
    device: str = "auto",
    seed: int = 0,
    run: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train a VAE by stochastic variational inference.

    Runs `pyro.infer.SVI` over shuffled minibatches. The VAE is left with the weights of its best
    epoch, by the −ELBO of the validation part where there is one. The same seed on the same
    machine gives the same weights, bit for bit, whether or not the run was stopped and resumed.

    Ctrl-C ends training after the step in hand, with everything saved. Without a terminal or
    notebook to draw a progress bar in, a line is printed every ten seconds at the most.

    Args:
        vae: the VAE; it is moved to the device.
        data: a `pvae.data.Dataset`, or anything that `pvae.data.load` takes.
        epochs: passes over the train part, in all.
        batch_size: data per gradient step; the last step of an epoch may have fewer.
        objective: any Pyro ELBO; ``None`` for `Trace_ELBO`.
        optimizer: called with the parameters: a torch optimizer, or a `functools.partial` of one.
            It is given the gradient of the mean loss per datum.
        scheduler: called with the torch optimizer: a learning-rate schedule, or a
            `functools.partial` of one; it steps once an epoch.
        clip_norm: largest norm of the gradient; ``None`` for no clipping.
        patience: stop after so many epochs without a better validation −ELBO.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda``, ``cuda:1``, ...
        seed: of everything random in training.
        run: folder to keep the run in, new or empty; ``None`` keeps nothing on disk.
        resume: continue the run in that folder, with the same arguments but for ``epochs``,
            ``patience`` and ``device``.
        progress: whether progress is shown.

    Returns:
        The history of the run, one row an epoch.

    Raises:
        ValueError: if an argument is out of range, the data do not fit the VAE, or a resumed run
            was made with other arguments.
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
    if epochs < 1:
        raise ValueError(f"epochs is {epochs}: train for at least 1.")
    if patience is not None and patience < 1:
        raise ValueError(f"patience is {patience}: wait for at least 1 epoch.")
    if resume and run is None:
        raise ValueError("resume needs the run folder to continue: pass run=.")
    data = load(data)
    check_fit(vae, data)
    if patience is not None and data.validation is None:
        raise ValueError(
            "Early stopping needs a validation part: load the data with validation= a fraction."
        )
    chosen_device = choose_device(device)
    objective = Trace_ELBO() if objective is None else objective
    config = {
        **data.arguments,
        **_describe_model(vae),
        "objective": _try(lambda: factories.describe_instance("objective", objective)),
        "optimizer": _try(lambda: factories.describe("optimizer", optimizer)),
        "scheduler": scheduler and _try(lambda: factories.describe("scheduler", scheduler)),
        "epochs": epochs,
        "batch_size": batch_size,
        "clip_norm": clip_norm,
        "patience": patience,
        "device": device,
        "seed": seed,
    }

    device = chosen_device
    vae.to(device).train()
    train = Batches(data, data.train, vae.likelihood.domain, batch_size, device, vae.dtype)
    validation = data.validation and batches_for(vae, data, data.validation, EVALUATION_BATCH)
    pyro.set_rng_seed(seed)
    optim = Optimizer(vae.parameters(), optimizer, clip_norm)
    schedule = scheduler(optim.torch_optimizer) if scheduler else None
    checkpoint = Checkpoint(vae, optim, schedule, objective, device)
    svi = SVI(vae.model, vae.guide, optim, loss=objective)

    if resume:
        folder = Run(run)
        folder.check_same(config)
        position = checkpoint.restore(storage.read_state(folder.state), folder.state)
    else:
        position = Position()
        state = checkpoint.state(position)
        folder = run and Run.create(run, config, str(device), state, state["weights"])

    good = weights_of(vae)
    stopped = None
    began = time.monotonic() - position.seconds
    saved = time.monotonic()
    report = _Report(epochs, len(train), position, progress)
    with (
        Interrupt() as interrupt,
        report,
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        while stopped is None:
            if position.epoch >= epochs:
                stopped = "finished"
                break
            if patience is not None and position.stale >= patience:
                stopped = "early"
                break

            # One epoch. Its order depends on the seed and the epoch alone, so that a run that was
            # stopped in its midst finds its place again.
            for x in train.epoch(_order(len(data.train), seed, position.epoch), position.batch):
                optim.batch_size = len(x)
                # Pyro's checks find mistakes in the programs, which the first step shows.
                with pyro.validation_enabled(position.step == 0):
                    loss = svi.step(x)
                if not math.isfinite(loss):
                    _refuse(loss, vae, good, position, folder)
                position.batch += 1
                position.step += 1
                position.loss += loss
                report.step(loss / len(x))
                if folder and time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                    position.seconds = time.monotonic() - began
                    checkpoint.save(folder, position, None)
                    saved = time.monotonic()
                if interrupt.requested:  # before the next minibatch takes random numbers
                    break
            if interrupt.requested and position.batch < len(train):
                stopped = "interrupted"
                break

            # Its figures.
            position.epoch += 1
            position.seconds = time.monotonic() - began
            row = {
                "epoch": position.epoch,
                "step": position.step,
                "seconds": round(position.seconds, 3),
                "loss": position.loss / len(data.train),
            }
            followed = len(data.validation) if validation else MOST_EVALUATED
            figures = summarize(vae, train, items=followed)
            row |= {f"train/{name}": value for name, value in figures.items()}
            if validation:
                figures = summarize(vae, validation)
                row |= {f"validation/{name}": value for name, value in figures.items()}
            if not math.isfinite(figures["neg_elbo"]):
                _refuse(figures["neg_elbo"], vae, good, position, folder)
            good = weights_of(vae)
            position.rows.append(row)
            position.batch, position.loss = 0, 0.0
            position.stale += 1
            if validation is None or figures["neg_elbo"] < position.best:
                position.best, position.best_weights = figures["neg_elbo"], good
                position.stale = 0
            if isinstance(schedule, ReduceLROnPlateau):
                schedule.step(figures["neg_elbo"])
            elif schedule:
                schedule.step()
            report.epoch(row)

            # Its traces on disk.
            if folder:
                if position.epoch & (position.epoch - 1) == 0:  # a power of two
                    storage.write_weights(folder.path / snapshot_name(position.epoch), good)
                if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                    checkpoint.save(folder, position, None)
                    saved = time.monotonic()

        position.seconds = time.monotonic() - began
        if folder:
            folder.write_config(config)
            checkpoint.save(folder, position, stopped)
    if position.best_weights:
        vae.load_state_dict(position.best_weights)
    vae.eval()
    return History(position.rows, stopped)


def choose_device(device: str) -> torch.device:
    """Return the device of that name; ``auto`` is CUDA where there is one.

    Raises:
        ValueError: if there is no such device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"The device {device!r} is not to be had here ({reason}): use device='cpu' or 'auto'."
        ) from error
    return chosen


def check_fit(vae: VAE, data: Dataset) -> None:
    """Check that data are of the event shape of a VAE.

    Raises:
        ValueError: if they are not; both shapes are named.
    """
    if tuple(data.event_shape) != tuple(vae.event_shape):
        raise ValueError(
            f"The data {data.name} have event shape {tuple(data.event_shape)}, the VAE was made "
            f"for {tuple(vae.event_shape)}: build it for the data, or load the data in its shape."
        )


def _order(n: int, seed: int, epoch: int) -> torch.Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


def _describe_model(vae: VAE) -> dict[str, Any]:
    arguments = getattr(vae, "arguments", {})
    latent_shape = vae.prior().event_shape
    return {
        "event_shape": list(vae.event_shape),
        "latent_dim": arguments.get("latent_dim", latent_shape.numel()),
    } | {
        part: _try(lambda part=part: factories.describe(part, arguments[part]))
        for part in ("prior", "likelihood", "posterior", "network")
    }


def _try(describe: Callable[[], dict]) -> dict | None:
    """A description, or None for what only the caller's own code can make again."""
    try:
        return describe()
    except (ValueError, KeyError):
        return None


def _refuse(loss: float, vae: VAE, good: dict, position: Position, folder: Run | None) -> None:
    vae.load_state_dict(good)
    kept = f" and {folder.path} keeps its last checkpoint" if folder else ""
    raise FloatingPointError(
        f"The loss is {loss} at step {position.step + 1} (epoch {len(position.rows) + 1}): lower "
        f"the learning rate or clip the gradient; the VAE holds its state after epoch "
        f"{len(position.rows)}{kept}."
    )


class _Report:
    """Running figures: a bar where one can be drawn, else a line now and then."""

    def __init__(self, epochs: int, steps: int, position: Position, show: bool) -> None:
        self.epochs = epochs
        self.show = show
        self.text = ""
        self.bar = None
        self.lines = show and not (sys.stderr.isatty() or in_notebook())
        self.printed = time.monotonic()
        if show and not self.lines:
            self.bar = bar(
                total=epochs * steps,
                initial=position.step,
                unit="step",
                desc=f"epoch {position.epoch}/{epochs}",
                dynamic_ncols=True,
            )

    def __enter__(self) -> "_Report":
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def step(self, loss: float) -> None:
        if self.bar is not None:
            self.bar.set_postfix_str(f"loss {loss:.2f}, {self.text}", refresh=False)
            self.bar.update()

    def epoch(self, row: dict[str, Any]) -> None:
        if not self.show:
            return
        self.text = f"−ELBO train {row['train/neg_elbo']:.2f}"
        if "validation/neg_elbo" in row:
            self.text += f", validation {row['validation/neg_elbo']:.2f}"
        if self.bar is not None:
            self.bar.set_description(f"epoch {row['epoch']}/{self.epochs}", refresh=False)
        due = time.monotonic() - self.printed > SECONDS_BETWEEN_LINES
        if self.lines and (due or row["epoch"] in (1, self.epochs)):
            self.printed = time.monotonic()
            print(
                f"epoch {row['epoch']}/{self.epochs}: {self.text} nats, {row['seconds']:.0f} s",
                file=sys.stderr,
                flush=True,
            )
