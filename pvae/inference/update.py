"""The optimizer update of a compiled step: one torch optimizer over all parameters."""

from collections.abc import Sequence
from typing import Any

import pyro
import torch
from pyro.optim import PyroLRScheduler, PyroOptim
from pyro.optim.optim import _load_state_dict, is_scheduler
from torch import Tensor

from pvae.inference.fused_adam import Stepper, hooked
from pvae.inference.optimizer import FUSED, Optimizer, fit_states, forms, place_rates


class Update:
    """The update of any Pyro optimizer, called after the graph.

    Args:
        optim: the optimizer.

    Attributes:
        leaves_zeros: whether gradients are set to zero after a step, as SVI does.
    """

    leaves_zeros = True

    def __init__(self, optim: PyroOptim) -> None:
        self.optim = optim
        self._moved = 0

    @property
    def batch_size(self) -> int:
        """What gradients are to be divided by."""
        return 1

    @property
    def capturable(self) -> bool:
        """Whether a CUDA graph can hold it."""
        return False

    @property
    def moved(self) -> int:
        """A number that changes when tensors that such a graph holds were replaced."""
        return self._moved

    def prepare(self, parameters: Sequence[Tensor]) -> None:
        """Register the parameters of a new graph."""

    def refresh(self) -> None:
        """Apply settings that were changed from outside."""

    def fit(self) -> None:
        """Convert states to the dtype, device and shape of their parameters."""

    def __call__(self, parameters: Sequence[Tensor]) -> None:
        """Update parameters by their gradients."""
        self.optim([*parameters])


class OwnUpdate(Update):
    """The update of a `pvae.inference.Optimizer`, which is one torch optimizer already."""

    optim: Optimizer
    leaves_zeros = False  # it has all parameters that there are

    @property
    def batch_size(self) -> int:
        """The number of data that the loss is summed over."""
        return self.optim.batch_size

    @property
    def capturable(self) -> bool:
        """Whether a CUDA graph can capture it, which cannot skip a step."""
        return self.optim.skip_norm is None and _capturable(self.optim.torch_optimizer)

    @property
    def moved(self) -> int:
        """How often its state has been replaced."""
        return self.optim.moved

    def fit(self) -> None:
        """Convert states to the dtype, device and shape of their parameters."""
        fit_states(self.optim.torch_optimizer)
        self.optim.reset()

    def prepare(self, parameters: Sequence[Tensor]) -> None:
        """Register the parameters of a new graph."""
        self.fit()

    def __call__(self, parameters: Sequence[Tensor]) -> None:
        """Update parameters by their gradients."""
        self.optim.update()


class FusedUpdate(Update):
    """One torch optimizer equivalent to a `PyroOptim`, which keeps one per parameter.

    The states are shared with these optimizers, so that saving, loading and learning-rate schedules
    still work on the `PyroOptim`; parameters of equal settings are updated together.
    """

    def __init__(self, optim: PyroOptim) -> None:
        super().__init__(optim)
        self.parameters: list[Tensor] = []
        self._stepper: Stepper | None = None
        self._settings: list[tuple[dict, str, Any]] = []
        self._clips: list[tuple[Any, Tensor]] = []

    @property
    def capturable(self) -> bool:
        """Whether a CUDA graph can capture it."""
        return _capturable(self._prepared.optimizer)

    @property
    def _prepared(self) -> Stepper:
        assert self._stepper is not None  # `prepare` comes first
        return self._stepper

    def fit(self) -> None:
        """Convert states to the dtype, device and shape of their parameters."""
        if self._stepper is not None:
            fit_states(self._stepper.optimizer)
            self._stepper.reset()

    def prepare(self, parameters: Sequence[Tensor]) -> None:
        """Register new parameters with the Pyro optimizer, and group all by their settings."""
        self.fit()
        optim = self.optim
        known = {id(p) for p in self.parameters}
        new = [p for p in parameters if id(p) not in known]
        if not new:
            return
        for p in new:
            if p not in optim.optim_objs:  # as PyroOptim does when it first meets a parameter
                optim.optim_objs[p] = optim._get_optim(p)
                optim.grad_clip[p] = optim._get_grad_clip(p)  # type: ignore[arg-type]  # as it calls it itself
                name = pyro.get_param_store().param_name(p)
                state = optim._state_waiting_to_be_consumed.pop(name, None)
                if state is not None:
                    _load_state_dict(optim.optim_objs[p], state)
            gradient, p.grad = p.grad, None
            self._single(p).step()  # without a gradient: a schedule wants to have seen a step
            p.grad = gradient
        self.parameters += new
        self._clips = [(optim.grad_clip[p], p) for p in self.parameters if optim.grad_clip[p]]
        self._group()

    def refresh(self) -> None:
        """Apply changed settings, such as a learning rate changed by its schedule."""
        singles, optimizer = self.optim.optim_objs, self._prepared.optimizer
        if any(
            p not in singles or self._single(p).state[p] is not optimizer.state[p]
            for p in self.parameters
        ):
            parameters, self.parameters = self.parameters, []
            self.prepare(parameters)
            return
        changed = {n for group, n, value in self._settings if group[n] != value}
        if not changed:
            return
        groups = self._equals()
        same = len(groups) == len(optimizer.param_groups)
        if same and changed == {"lr"}:
            for group, (settings, _) in zip(optimizer.param_groups, groups, strict=True):
                if torch.is_tensor(group["lr"]):
                    group["lr"].fill_(settings["lr"])
                else:
                    group["lr"] = settings["lr"]
            self._remember()
        else:
            self._group()

    def __call__(self, parameters: Sequence[Tensor]) -> None:
        """Update parameters by their gradients."""
        if not torch.cuda.is_available() or not torch.cuda.is_current_stream_capturing():
            self.refresh()
        if any(hooked(self._single(p)) for p in self.parameters):
            self.optim([*parameters])  # whose optimizers have the same states
            return
        # Those of other programs may have been left zeros by an eager step.
        given = {id(p) for p in parameters}
        others = [(p, p.grad) for p in self.parameters if id(p) not in given and p.grad is not None]
        for p, _ in others:
            p.grad = None
        for clip, p in self._clips:
            if p.grad is not None:
                clip(p)
        self._prepared.step()
        for p, gradient in others:
            p.grad = gradient

    def _single(self, p: Tensor) -> torch.optim.Optimizer:
        optimizer = self.optim.optim_objs[p]
        return optimizer.optimizer if is_scheduler(optimizer) else optimizer

    def _equals(self) -> list[tuple[dict, list[Tensor]]]:
        """Parameters by their settings."""
        groups: list[tuple[dict, list[Tensor]]] = []
        for p in self.parameters:
            own = self._single(p).param_groups[0]
            settings = {name: value for name, value in own.items() if name != "params"}
            for other, members in groups:
                if other == settings and members[0].device == p.device:
                    members.append(p)
                    break
            else:
                groups.append((settings, [p]))
        return groups

    def _group(self) -> None:
        factory: Any = self.optim.pt_optim_constructor
        groups = []
        for settings, members in self._equals():
            chosen = {} if _asked(settings) else forms(factory, members)
            groups.append({"params": members, **settings, **chosen})
        flags = {k: True for k in ("fused",) if all(group.get(k) for group in groups)}
        optimizer = factory(groups, lr=groups[0]["lr"], **flags)
        place_rates(optimizer)
        for p in self.parameters:
            optimizer.state[p] = self._single(p).state[p]  # one dictionary, two owners
        self._stepper = Stepper(optimizer)
        self._remember()
        self._moved += 1

    def _remember(self) -> None:
        owns = [self._single(p).param_groups[0] for p in self.parameters]
        self._settings = [(g, n, value) for g in owns for n, value in g.items() if n != "params"]


def update_of(optim: PyroOptim) -> Update:
    """The fastest update that is equivalent to an optimizer."""
    if isinstance(optim, Optimizer):
        return OwnUpdate(optim)
    # A subclass, or an object given methods of its own, does more than what is done here.
    plain = type(optim) in (PyroOptim, PyroLRScheduler) and not vars(PyroOptim).keys() & vars(optim)
    if plain and optim.pt_optim_constructor in FUSED:
        return FusedUpdate(optim)
    return Update(optim)


def _capturable(optimizer: torch.optim.Optimizer) -> bool:
    return all(g.get("capturable") or g.get("fused") for g in optimizer.param_groups)


def _asked(settings: dict) -> bool:
    """Whether the user requested a form."""
    return any(settings.get(k) for k in ("foreach", "differentiable", "capturable")) or (
        settings.get("fused") is False
    )
