"""Objectives that count their gradient steps, for weights that change with them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pyro.infer import ELBO
from torch import Tensor


class Counting(ELBO):
    """An objective that counts its gradient steps.

    Args:
        elbo: arguments of the objective.

    Attributes:
        step: gradient steps taken so far; counted by `loss_and_grads`.
        warmup_steps: gradient steps over which a weight rises, which a subclass sets.
    """

    warmup_steps = 0

    def __init__(self, **elbo: Any) -> None:
        super().__init__(**elbo)
        # A tensor, so that a compiled step can increment it.
        self._step = torch.zeros((), dtype=torch.float64)
        self._settled = False

    @property
    def step(self) -> int:
        """Gradient steps taken so far."""
        return int(self._step)

    @step.setter
    def step(self, step: int) -> None:
        self._step.fill_(step)

    def _steps_on(self, device: torch.device) -> Tensor:
        """The number of steps so far, on the device of the data."""
        if self._step.device != device:
            self._step = self._step.to(device)
        return self._step

    def _rise(self, device: torch.device, over: int, cycle: int | None = None) -> Tensor | float:
        """A factor that rises linearly from 0 to 1 over some steps, then stays or starts again."""
        if not over or self._settled:
            return 1.0
        steps = self._steps_on(device)
        return ((steps if cycle is None else steps % cycle) / over).clamp(max=1.0)

    def loss_and_grads(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """Estimate the loss, accumulate its gradients, and count the step."""
        loss = super().loss_and_grads(  # type: ignore[misc]  # of the ELBO that this is mixed into
            model, guide, *args, **kwargs
        )
        self._step += 1
        return loss


@contextmanager
def settled(objective: ELBO) -> Iterator[None]:
    """Set all warm-up weights of an objective to their final values while entered."""
    counting = list(_counting(objective))
    before = [each._settled for each in counting]
    for each in counting:
        each._settled = True
    try:
        yield
    finally:
        for each, was in zip(counting, before, strict=True):
            each._settled = was


def risen_after(objective: ELBO) -> int:
    """The number of gradient steps until all warm-up weights of an objective are final."""
    return max((each.warmup_steps for each in _counting(objective)), default=0)


def nested(objective: ELBO | None) -> Iterator[ELBO]:
    """Yield an objective, and those that it wraps."""
    while objective is not None:
        yield objective
        objective = vars(objective).get("objective")


def _counting(objective: ELBO) -> Iterator[Counting]:
    """The counting objectives among an objective and those that it wraps."""
    return (each for each in nested(objective) if isinstance(each, Counting))
