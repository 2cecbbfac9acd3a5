"""Base class of objectives that wrap other objectives."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from pyro.infer import ELBO
from pyro.poutine import Trace
from torch import Tensor

from pvae.messages import kind_of


class Wrapper(ELBO):
    """Base class of objectives that run another one on modified programs.

    The attributes of the wrapped objective, such as its step, its parameters and their state, are
    available on the wrapper.

    Args:
        objective: any Pyro ELBO, which may be a wrapper itself.

    Raises:
        TypeError: if the objective is not an instance of a Pyro ELBO.
    """

    objective: Any  # an ELBO, whose base class does not declare what ELBOs have in common

    def __init__(self, objective: ELBO) -> None:
        # The settings of an ELBO, such as num_particles, are those of the wrapped one.
        self.objective = check_objective(objective)

    @abstractmethod
    def _programs(self, model: Callable, guide: Callable, args: tuple) -> tuple[Callable, Callable]:
        """Return the modified model and guide for these arguments."""

    def _get_trace(
        self, model: Callable, guide: Callable, args: tuple, kwargs: dict
    ) -> tuple[Trace, Trace]:
        return self.objective._get_trace(*self._programs(model, guide, args), args, kwargs)

    def differentiable_loss(
        self, model: Callable, guide: Callable, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Estimate the loss, as a differentiable tensor."""
        programs = self._programs(model, guide, args)
        return self.objective.differentiable_loss(*programs, *args, **kwargs)

    def loss(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> float:
        """Estimate the loss."""
        return self.objective.loss(*self._programs(model, guide, args), *args, **kwargs)

    def loss_and_grads(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> float:
        """Estimate the loss, and accumulate its gradients."""
        return self.objective.loss_and_grads(*self._programs(model, guide, args), *args, **kwargs)

    @property
    def step(self) -> int:
        """Gradient steps taken so far, if the wrapped objective counts them."""
        return self.objective.step

    @step.setter
    def step(self, step: int) -> None:
        self.objective.step = step

    def __getattr__(self, name: str) -> Any:
        if name == "objective" or name.startswith("__"):  # in a copy that is not initialized yet
            raise AttributeError(name)
        return getattr(self.objective, name)


def check_objective(objective: object, name: str = "objective") -> ELBO:
    """Return an objective that is an instance of a Pyro ELBO.

    Raises:
        TypeError: if it is anything else.
    """
    if isinstance(objective, ELBO):
        return objective
    raise TypeError(
        f"{name} is {kind_of(objective)}: it must be an instance of a Pyro ELBO, such as "
        "pyro.infer.Trace_ELBO()."
    )
