"""The optimizer and the learning-rate schedule of a run, each tried before it is used."""

import inspect
import math
import re
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from pvae.inference.optimizer import Optimizer, Projection, check_closure
from pvae.messages import kind_of, shown

EXAMPLES = {
    "optimizer": "functools.partial(torch.optim.Adam, lr=1e-3)",
    "scheduler": "functools.partial(torch.optim.lr_scheduler.StepLR, step_size=10)",
}
# Names in the annotation of an argument that is a number.
NUMERIC = {"int", "float", "Tensor", "torch.Tensor", "None", "Union", "Optional"}


def check_factory(name: str, factory: object) -> None:
    """Raise if this is not a factory, such as an instance, a name or an optimizer of Pyro.

    Raises:
        TypeError: if it cannot be called, or is such an object.
    """
    made = isinstance(factory, torch.optim.Optimizer | LRScheduler)
    pyro_own = "pyro.optim" in type(factory).__module__
    if made or pyro_own or not callable(factory):
        raise TypeError(
            f"{name} is {kind_of(factory)}: it must be a torch class, or a functools.partial of "
            f"one, such as {EXAMPLES[name]}."
        )
    if isinstance(factory, partial):
        _check_texts(name, factory)


def _check_texts(name: str, factory: partial) -> None:
    """Raise if an argument is a text where torch takes numbers, and would fail on comparing it."""
    texts = {k: v for k, v in factory.keywords.items() if isinstance(v, str)}
    parameters = inspect.signature(factory.func).parameters if texts else {}
    for argument in texts.keys() & parameters.keys():
        types = re.findall(r"[\w.]+", inspect.formatannotation(parameters[argument].annotation))
        if NUMERIC.issuperset(types):
            raise TypeError(
                f"{argument} of the {name} is {shown(texts[argument])}: it must be a number."
            )


def make_optimizer(
    learned: Sequence[nn.Parameter],
    factory: Callable[..., torch.optim.Optimizer],
    clip: float | None,
    skip: float | None,
    project: Projection | None = None,
) -> Optimizer:
    """Make the optimizer of a run, after a trial of its steps on a stand-in.

    Raises:
        TypeError: if the factory does not make a torch optimizer.
        ValueError: if its arguments or its steps fail.
    """
    _rehearse("optimizer", lambda: _stand_in(learned, factory).step())
    try:
        return Optimizer(learned, factory, clip, skip, project)
    except (TypeError, RuntimeError, AttributeError) as error:
        raise ValueError(_failed("optimizer", error)) from error


def make_schedule(
    optimizer: Optimizer,
    optimizer_factory: Callable[..., torch.optim.Optimizer],
    factory: Callable[..., LRScheduler] | None,
    epochs: int,
) -> LRScheduler | None:
    """Make the learning-rate schedule of a run, after a trial of all its epochs on a stand-in.

    torch accepts a ``step_size`` of 0, say, and fails at the first step; a `OneCycleLR` that is
    shorter than the run fails at its end.

    Raises:
        TypeError: if the factory does not make a schedule.
        ValueError: if its arguments or a step fail, or the learning rate is not finite.
    """
    if factory is None:
        return None

    def run() -> None:
        stand_in = _stand_in(optimizer.parameters, optimizer_factory)
        schedule = factory(stand_in)
        if not isinstance(schedule, LRScheduler):
            raise TypeError(f"it makes {kind_of(schedule)}, not a torch learning-rate schedule")
        stand_in.step()
        for epoch in range(epochs):
            try:
                step(schedule, float(-epoch))
            except Exception as error:
                raise ValueError(f"{_said(error)}, at epoch {epoch + 1}") from error
            rates = [float(group["lr"]) for group in stand_in.param_groups]
            if not all(math.isfinite(rate) and rate >= 0 for rate in rates):
                raise ValueError(f"the learning rate becomes {rates[0]} after epoch {epoch + 1}")

    _rehearse("scheduler", run)
    return factory(optimizer.torch_optimizer)


def step(schedule: LRScheduler, figure: float) -> None:
    """Step a schedule after an epoch, with the monitored metric if it takes one."""
    schedule.step(figure) if isinstance(schedule, ReduceLROnPlateau) else schedule.step()


def _stand_in(
    learned: Sequence[nn.Parameter], factory: Callable[..., torch.optim.Optimizer]
) -> torch.optim.Optimizer:
    """Make an optimizer like that of the run, for small parameters with gradients."""
    parameters = [
        torch.nn.Parameter(torch.ones([min(n, 2) for n in p.shape], dtype=p.dtype, device=p.device))
        for p in learned
        if p.requires_grad
    ] or [torch.nn.Parameter(torch.ones(1))]
    made = factory(parameters)
    if not isinstance(made, torch.optim.Optimizer):
        raise TypeError(f"it makes {kind_of(made)}, not a torch optimizer")
    check_closure(made)
    for p in parameters:
        p.grad = torch.ones_like(p)
    return made


def _rehearse(name: str, run: Callable[[], None]) -> None:
    try:
        run()
    except TypeError as error:
        raise TypeError(_failed(name, error)) from error
    except Exception as error:  # a user's code may raise anything
        raise ValueError(_failed(name, error)) from error


def _failed(name: str, error: Exception) -> str:
    return f"The {name} cannot be used: {_said(error)}; give one such as {EXAMPLES[name]}."


def _said(error: Exception) -> str:
    kind = "" if isinstance(error, ValueError | TypeError) else f"{type(error).__name__}: "
    return kind + " ".join(str(error).split()).rstrip(".")[:140]
