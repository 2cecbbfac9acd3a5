"""`fit`: train a VAE."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from pyro.infer import ELBO
from torch.optim.lr_scheduler import LRScheduler

from pvae.data.loading import load
from pvae.evaluation.batching import check_vae
from pvae.openmp import considerate
from pvae.training.arguments import check_dataset, check_places
from pvae.training.history import History
from pvae.training.selection import Figure, Keep
from pvae.training.settings import Settings
from pvae.training.trainer import Trainer
from pvae.vae import VAE


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
    skip_norm: float | None = None,
    spectral_limit: float | None = None,
    warmup: int | Literal["auto"] = "auto",
    monitor: Figure = "objective",
    keep: Keep = "best",
    patience: int | Literal["auto"] | None = "auto",
    compile: bool | Literal["auto"] = "auto",
    device: str = "auto",
    seed: int = 0,
    run: str | Path | None = None,
    snapshots: bool = True,
    pause: Callable[[History], bool] | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train a VAE by stochastic variational inference.

    Runs `pyro.infer.SVI`, or `CompiledSVI`, over shuffled minibatches. The decoder's output is
    initialized to the mean of the data (if likelihood and network support it, as ours do). The VAE
    gets the weights of its best epoch, by the training objective evaluated on the validation part
    if there is one. The same seed on the same machine gives the same weights, bit for bit, whether
    or not the run was stopped and resumed; initial weights are those that `pvae.build` drew with
    its own seed. (``compile="auto"`` decides by measured time: if compilation barely pays off, two
    runs may choose differently, and round differently.)

    Against posterior collapse the weight of the KL rises over the first steps (see
    `pvae.objectives.Warmup`); against overfitting, training stops early. The history's ``notes``
    say what was chosen by default, which epoch was kept and why, and which latents are unused;
    they are also printed with the progress.

    If few data have labels, a quarter of every minibatch has: they are repeated, and as many of
    the others wait for the next epochs (see `pvae.training.labelled`).

    Ctrl-C ends training after the current step, with everything saved. Outside of a terminal or
    notebook a progress line is printed, at most every ten seconds.

    Args:
        vae: the VAE; it is moved to the device.
        data: a `pvae.data.Dataset`, or anything that `pvae.data.load` takes.
        epochs: total number of passes over the train part.
        batch_size: data per gradient step, or all if there are fewer; the last step of an epoch
            may have fewer.
        objective: a Pyro ELBO with a scalar loss; ``None`` for `Trace_ELBO`. Its warm-up
            starts at step 0. That of a VAE with a classifier is wrapped by `SemiSupervised`.
        optimizer: called with the parameters: a torch optimizer, or a `functools.partial` of one.
            It gets the gradient of the mean loss per datum.
        scheduler: called with the torch optimizer: a learning-rate schedule, or a
            `functools.partial` of one; it steps once an epoch.
        clip_norm: maximum norm of the gradient; ``None`` for no clipping.
        skip_norm: norm of the gradient, before clipping, above which a step is skipped, as deep
            hierarchies may need (Child 2021); ``None`` to skip none.
        spectral_limit: the largest spectral norm of a layer, to which its weights are scaled after
            each step (Gouk et al. 2021), against networks whose depth amplifies small differences,
            as hierarchies may (Vahdat and Kautz 2020); ``None`` for no limit.
        warmup: gradient steps over which the weight of the KL rises from 0; 0 for none. ``"auto"``
            is 10 % of the planned steps if the objective has a KL that can be warmed up (see
            `pvae.objectives.warmup.can_warm_up`) and no schedule of its own, else 0.
        monitor: the validation metric by which the best epoch is chosen: the ``"objective"``, with
            all warm-up weights at their final values; ``"neg_elbo"``; ``"log_likelihood"``, for
            which higher is better; or ``"bits_per_dim"``.
        keep: the weights that the VAE gets: of the ``"best"`` epoch or the ``"last"``.
        patience: number of epochs without improvement, counted from the end of the warm-up, after
            which training stops; ``None`` for never. ``"auto"`` is 20 % of the epochs, but at least
            20, and never without a validation part or with a learning-rate schedule, which is made
            for all epochs.
        compile: ``True`` runs `CompiledSVI`, ``False`` `pyro.infer.SVI`; ``"auto"`` measures a few
            steps and compiles if that pays off over the planned steps, and runs SVI if the programs
            have no static graph.
        device: ``auto`` (CUDA if available), ``cpu``, ``cuda``, ``cuda:1``, ...
        seed: of all randomness in training.
        run: folder for the run, new or empty; ``None`` writes nothing to disk.
        snapshots: whether the run folder keeps the weights at steps 0, 1, 2, 3, 4, 6, 8, 11, ...,
            for pictures over training time: about 30, of big models fewer, at most 128 MiB in all
            (see `pvae.training.snapshots.snapshot_steps`).
        pause: called with the history after each epoch; where it returns true, training pauses as
            if by Ctrl-C, and a resumed run continues there.
        resume: continue the run in that folder, with the same arguments except ``epochs``,
            ``patience``, ``compile`` and ``device``. Values chosen by ``"auto"`` stay the same for
            any number of epochs; features newer than the version that started the run stay off.
        progress: whether to show progress.

    Returns:
        The history of the run, one row per epoch.

    Raises:
        TypeError: if an argument has another type, such as a class instead of an instance.
        ValueError: if an argument is out of range, optimizer or scheduler fail in a trial of their
            steps, the data do not fit the VAE, or a resumed run was started with other arguments or
            data.
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
    settings = Settings(
        epochs=epochs,
        batch_size=batch_size,
        objective=objective,
        optimizer=optimizer,
        scheduler=scheduler,
        clip_norm=clip_norm,
        skip_norm=skip_norm,
        spectral_limit=spectral_limit,
        warmup=warmup,
        monitor=monitor,
        keep=keep,
        patience=patience,
        compile=compile,
        device=device,
        seed=seed,
        snapshots=snapshots,
    )
    check_places(run, device)
    if resume and run is None:
        raise ValueError("resume needs the run folder to continue: pass run=.")
    data = load(data)
    check_dataset(vae, data)

    with considerate():
        trainer = Trainer(vae, data, settings)
        if resume and run is not None:
            trainer.resume(run)
        else:
            trainer.start(run)
        with trainer.running(progress):
            while trainer.goes_on(pause):
                if trainer.train_epoch():
                    trainer.evaluate_epoch()
                    trainer.checkpoint_epoch()
            history = trainer.finish()
    return history
