"""Checks that a run can resume from a saved state, made in memory before anything is written.

A run folder is not trusted, and checksums detect damage, not forgery. So the state is compared
with a state that this run could have saved, and the next step is tried and undone.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyro
import torch
from pyro.infer import ELBO, SVI
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from pvae.inference.optimizer import Optimizer
from pvae.inference.rollback import undone
from pvae.interfaces import option
from pvae.messages import brief, shown
from pvae.objectives.counting import nested
from pvae.training import optimization
from pvae.training.checkpoint import Checkpoint, Position, check_kinds, check_state
from pvae.training.records import check_row

_FORMS = {"foreach", "fused", "capturable"}  # options that do not change an optimizer's results
_SLACK = 1e-6  # relative; another version of torch may round a learning rate differently


def check_saved(
    state: Any,
    source: Path,
    checkpoint: Checkpoint,
    optimizer: Callable[..., torch.optim.Optimizer],
    scheduler: Callable[..., LRScheduler] | None,
    followed: str,
    batches: int,
) -> None:
    """Raise if a run with these arguments cannot have saved a state.

    Args:
        state: the state that was read.
        source: the file, for the error message.
        checkpoint: the checkpoint that will restore the state.
        optimizer: the factory of the torch optimizer.
        scheduler: the factory of the learning-rate schedule, if there is one.
        followed: the monitored metric.
        batches: minibatches per epoch.

    Raises:
        ValueError: if not.
    """
    check_state(state, source)
    position = state["position"]
    _check_position(state, source, checkpoint.objective, batches)
    for number, row in enumerate(position["rows"], 1):
        check_row(row, number, source, "row")
        if not math.isfinite(row.get(followed, math.nan)):
            raise ValueError(f"{source} is damaged: row {number} has no finite {followed}.")
    try:
        _check_finite(state["weights"], "weights")
        _check_finite(position.get("best_weights", {}), "best_weights")
        _check_finite(state.get("objective", {}), "objective")
        reference = _reference(checkpoint.optimizer.parameters, optimizer)
        schedule = scheduler and scheduler(reference)
        reference.step()
        if schedule:
            for row in position["rows"]:
                optimization.step(schedule, row[followed])
            _check_schedule(schedule, state["scheduler"])
        _check_groups(reference, state["optimizer"]["param_groups"])
        _check_moments(reference, state["optimizer"]["state"], position["step"])
    except (TypeError, KeyError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{source} is not a checkpoint of this run: {brief(error, 140)}."
        ) from error


def rehearse(
    checkpoint: Checkpoint, position: Position, minibatch: Sequence[Tensor], source: Path
) -> None:
    """Try a gradient step by SVI, and undo it.

    Raises:
        FloatingPointError: if the loss before or after it is not finite.
        ValueError: if the step fails from the saved state.
    """
    vae, optim, objective = checkpoint.vae, checkpoint.optimizer, checkpoint.objective
    before = checkpoint.state(position)
    attributes = [(one, dict(vars(one))) for one in nested(objective)]
    optim.batch_size = len(minibatch[0])
    try:
        with undone(optim.parameters), pyro.validation_enabled(False):
            vae.train()
            losses = [float(SVI(vae.model, vae.guide, optim, objective).step(*minibatch))]
            with torch.no_grad():
                losses.append(float(objective.loss(vae.model, vae.guide, *minibatch)))
    except (TypeError, KeyError, IndexError, AttributeError, RuntimeError) as error:
        raise ValueError(
            f"{source.parent} cannot be continued: its next step fails ({brief(error)})."
        ) from error
    finally:
        for one, values in attributes:
            vars(one).clear()
            vars(one).update(values)
        checkpoint.restore(before, source)
    for loss in losses:
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"{source.parent} cannot be continued: the loss of its next step is {loss}; "
                "restore it from a copy, or start a new run with a lower learning rate."
            )


def _check_position(state: dict[str, Any], source: Path, objective: ELBO, batches: int) -> None:
    position, counted = state["position"], state["objective_step"]
    most = {
        "epoch": len(position["rows"]),
        "batch": batches,
        "step": position["epoch"] * batches + position["batch"],
        "stale": position["epoch"],
    }
    for name, value in most.items():
        exact = name in ("epoch", "step")
        found = position.get(name, 0)
        if found > value or (exact and found != value):
            raise ValueError(
                f"{source} is damaged: position.{name} is {brief(found, 30)}, where {value} is "
                f"{'expected' if exact else 'the most'}."
            )
    if math.isnan(position.get("best", 0.0)):
        raise ValueError(f"{source} is damaged: position.best is nan.")
    counts = option(objective, "step") is not None
    if (counted is not None) != counts or (counted or 0) > position["step"]:
        raise ValueError(
            f"{source} is damaged: objective_step is {brief(counted, 30)} after "
            f"{position['step']} steps."
        )


def _check_finite(tensors: dict[str, Tensor], name: str) -> None:
    for entry, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{name}.{brief(entry, 60)} has numbers that are not finite")


def _reference(
    parameters: Sequence[Tensor], factory: Callable[..., torch.optim.Optimizer]
) -> torch.optim.Optimizer:
    """Make an optimizer like that of the run, for parameters and gradients of zeros."""
    stand_ins = [nn.Parameter(torch.zeros_like(p)) for p in parameters]
    for p in stand_ins:
        p.grad = torch.zeros_like(p)
    return Optimizer(stand_ins, factory).torch_optimizer


def _check_groups(reference: torch.optim.Optimizer, found: list[dict[str, Any]]) -> None:
    own = reference.state_dict()["param_groups"]
    if len(own) != len(found):
        raise ValueError(f"it has {len(found)} groups of parameters, not {len(own)}")
    for ours, theirs in zip(own, found, strict=True):
        if ours["params"] != theirs.get("params"):
            raise ValueError("the optimizer is of other parameters")
        ours, theirs = ({k: v for k, v in g.items() if k not in _FORMS} for g in (ours, theirs))
        _check_settings(reference, ours, theirs, "the optimizer")


def _check_schedule(schedule: LRScheduler, found: Any) -> None:
    if not isinstance(found, dict):
        raise TypeError(f"the scheduler is {shown(found)}")
    _check_settings(schedule, schedule.state_dict(), found, "the scheduler")


def _check_settings(owner: object, own: dict[str, Any], found: dict[str, Any], name: str) -> None:
    if type(owner).__module__.startswith("torch.optim"):
        _check_equal(own, found, name)
    else:  # a user's own code may change its settings in any way
        check_kinds(own, found, name)
        for entry, value in found.items():
            if isinstance(value, float) and not math.isfinite(value) and value != own.get(entry):
                raise ValueError(f"{brief(entry, 60)} of {name} is {value}")


def _check_equal(own: Any, found: Any, name: str) -> None:
    """Raise if nested settings differ; numbers may differ by rounding."""
    if isinstance(own, dict):
        if not isinstance(found, dict) or own.keys() != found.keys():
            raise ValueError(f"{name} has other entries")
        for entry, value in own.items():
            _check_equal(value, found[entry], f"{brief(entry, 60)} of {name}")
    elif isinstance(own, list | tuple):
        if not isinstance(found, list | tuple) or len(own) != len(found):
            raise ValueError(f"{name} is {shown(found)}, not {shown(own)}")
        for ours, theirs in zip(own, found, strict=True):
            _check_equal(ours, theirs, name)
    elif _is_number(own):
        if not _is_number(found) or not _near(own, found):
            raise ValueError(f"{name} is {shown(found)}, not {shown(own)}")
    elif type(own) is not type(found) or (isinstance(own, bool | str) and own != found):
        raise ValueError(f"{name} is {shown(found)}, not {shown(own)}")


def _is_number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_complex()
    return isinstance(value, int | float) and not isinstance(value, bool)


def _near(own: Any, found: Any) -> bool:
    own, found = (value.item() if isinstance(value, Tensor) else value for value in (own, found))
    if isinstance(own, int) or isinstance(found, int):  # integers may be too large for a float
        return own == found
    return math.isclose(own, found, rel_tol=_SLACK)


def _check_moments(reference: torch.optim.Optimizer, found: dict[Any, Any], steps: int) -> None:
    native = type(reference).__module__.startswith("torch.optim")
    # Fused kernels do not check shapes, and write past the end of tensors that are too small.
    expected = reference.state_dict()["state"]
    parameters = [p for group in reference.param_groups for p in group["params"]]
    for index, moments in found.items():
        if (
            type(index) is not int
            or not 0 <= index < len(parameters)
            or not isinstance(moments, dict)
        ):
            raise ValueError(f"the optimizer has a state of parameter {brief(index, 30)}")
        # None for parameters that the factory holds itself, which have no stand-in.
        own = expected.get(index)
        if native and own is not None and own.keys() != moments.keys():
            raise ValueError(f"the optimizer has other entries for parameter {index}")
        for name, moment in moments.items():
            alike = parameters[index] if native and own is None and _has_shape(moment) else None
            _check_moment(str(name), (own or {}).get(name, alike), moment, steps, native)


def _has_shape(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0


def _check_moment(name: str, own: Any, found: Any, steps: int, native: bool) -> None:
    if own is not None and isinstance(own, Tensor) != isinstance(found, Tensor):
        raise TypeError(f"{brief(name, 60)} of the optimizer is {shown(found)}")
    if not isinstance(found, Tensor):
        return
    if own is not None and own.shape != found.shape:
        raise TypeError(f"{name} has shape {tuple(found.shape)}, not {tuple(own.shape)}")
    if own is not None and own.dim() and own.dtype != found.dtype:
        raise TypeError(f"{name} is of {found.dtype}, not {own.dtype}")
    if found.is_floating_point() and not found.isfinite().all():
        raise ValueError(f"{name} of the optimizer has numbers that are not finite")
    if native and name == "step" and not 0 <= found.item() <= steps:
        raise ValueError(f"the optimizer counts {found.item():g} steps, and the run {steps}")
