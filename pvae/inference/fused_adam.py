"""torch's fused Adam without the Python overhead of `torch.optim`."""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Adam, AdamW, Optimizer
from torch.optim import optimizer as optim

from pvae.inference.denormals import clear_denormals

_WHEN = ("pre", "post")
_HOOKS = vars(optim)  # of all optimizers


def hooked(optimizer: Optimizer) -> bool:
    """Whether something is called with each step."""
    own = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
    return bool(own or any(_HOOKS.get(f"_global_optimizer_{when}_hooks") for when in _WHEN))


def _kernel(optimizer: Optimizer, group: dict[str, Any]) -> Callable[..., None]:
    decoupled = isinstance(optimizer, AdamW) or group.get("decoupled_weight_decay")
    return torch._fused_adamw_ if decoupled else torch._fused_adam_


class LeanAdam:
    """A step of torch's fused Adam or AdamW on a CPU, without overhead.

    In a small step `torch.optim` spends more time on hooks, on sorting parameters and on counting
    steps per parameter than in its kernel. States and settings remain those of the torch optimizer,
    and are read from it at every step.

    Args:
        optimizer: the torch optimizer, for which `fits` holds; its states are complete once it has
            taken a step.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.counts: list[torch.Tensor] = []  # of steps, for each group
        self.groups: list[tuple[dict[str, Any], list, list]] = []  # settings, parameters, states
        self.steps: list[tuple[dict[str, Any], torch.Tensor]] = []
        for group in optimizer.param_groups:
            members = [p for p in group["params"] if "step" in optimizer.state[p]]
            if members:
                states = [optimizer.state[p] for p in members]
                # Counts in contiguous memory are incremented by one operation.
                steps = torch.stack([state["step"] for state in states])
                for state, step in zip(states, steps.unbind(), strict=True):
                    state["step"] = step
                    self.steps.append((state, step))
                self.counts.append(steps)
                self.groups.append((group, members, states))
        self.updated = {id(p) for _, members, _ in self.groups for p in members}

    @staticmethod
    def fits(optimizer: Optimizer) -> bool:
        """Whether this class supports everything that the optimizer does."""
        return (
            type(optimizer) in (Adam, AdamW)
            and not hooked(optimizer)
            and all(
                group.get("fused")
                and isinstance(group["lr"], float)
                and not any(p.is_cuda for p in group["params"])
                for group in optimizer.param_groups
            )
        )

    def step(self) -> bool:
        """Update by the gradients; return False if this is not the update that it was made for.

        Other parameters may have gradients than before, and other optimizers may have taken over
        the counts of steps, where a Pyro optimizer is shared.
        """
        if not all(state.get("step") is step for state, step in self.steps):
            return False
        if {id(p) for p in self.parameters if p.grad is not None} != self.updated:
            return False
        for steps in self.counts:
            steps += 1
        for group, members, states in self.groups:
            self._update(group, members, states)
        return True

    def _update(self, group: dict[str, Any], members: list, states: list) -> None:
        beta1, beta2 = group["betas"]
        _kernel(self.optimizer, group)(
            members,
            [p.grad for p in members],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [state["max_exp_avg_sq"] for state in states] if group["amsgrad"] else [],
            [state["step"] for state in states],
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=group["amsgrad"],
            maximize=group["maximize"],
        )


class Stepper:
    """Takes the steps of a torch optimizer, by `LeanAdam` if that is equivalent.

    Args:
        optimizer: the torch optimizer.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.lean: LeanAdam | None = None
        self._until = 1  # so many steps until moments are looked at

    def reset(self) -> None:
        """Inspect the optimizer again after its states were replaced."""
        self.lean = None

    def step(self) -> None:
        """Update the parameters by their gradients."""
        if self.lean is None or not self.lean.step():
            self.optimizer.step()
            self.lean = LeanAdam(self.optimizer) if LeanAdam.fits(self.optimizer) else None
            self._until = 1  # the count of steps may be another
        self._until -= 1
        if not self._until:
            self._until = clear_denormals(self.optimizer)
