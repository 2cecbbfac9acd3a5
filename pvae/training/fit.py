"""`fit`: train a VAE, from its arguments to its history."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from pyro.infer import ELBO
from torch.optim.lr_scheduler import LRScheduler

from pvae.data.loading import load
from pvae.training.arguments import check_data, check_places, check_vae
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
    settings = Settings(
        epochs=epochs,
        batch_size=batch_size,
        objective=objective,
        optimizer=optimizer,
        scheduler=scheduler,
        clip_norm=clip_norm,
        warmup=warmup,
        monitor=monitor,
        keep=keep,
        patience=patience,
        compile=compile,
        device=device,
        seed=seed,
    )
    check_places(run, device)
    if resume and run is None:
        raise ValueError("resume needs the run folder to continue: pass run=.")
    data = load(data)
    check_data(vae, data)

    trainer = Trainer(vae, data, settings)
    if resume and run is not None:
        trainer.resume(run)
    else:
        trainer.start(run)
    with trainer.running(progress):
        while trainer.goes_on():
            if trainer.train_epoch():
                trainer.evaluate_epoch()
                trainer.checkpoint_epoch()
        history = trainer.finish()
    return history
