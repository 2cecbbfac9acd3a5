"""The state of a training run, from which it can resume exactly."""

import copy
import json
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pvae.inference.optimizer import Optimizer
from pvae.interfaces import option
from pvae.messages import brief, shown
from pvae.storage import schema, tensors
from pvae.storage.schema import Count, Finite, Number
from pvae.training.rebuild import check_tensors, load_weights
from pvae.training.runs import Run
from pvae.vae import VAE

_STATE = {
    "position": {
        "epoch": Count,
        "batch": Count,
        "step": Count,
        "loss": Finite,
        "seconds": Finite,
        "rows": [dict],
        "best?": Number,
        "best_weights?": {"*": Tensor},
        "stale?": Count,
    },
    "weights": {"*": Tensor},
    "optimizer": {"state": dict, "param_groups": [dict]},
    "scheduler": dict | None,
    "objective_step": Count | None,
    "objective?": {"*": Tensor},
    "random": Tensor,
    "random_cuda": Tensor | None,
}


@dataclass
class Position:
    """The progress of a training run.

    Attributes:
        epoch: completed epochs.
        batch: completed minibatches of the current epoch.
        step: completed gradient steps.
        loss: sum of the losses of the current epoch; on CUDA a tensor until it is read.
        seconds: time spent training.
        rows: the metrics of the completed epochs.
        best: the best monitored metric so far.
        best_weights: the weights of that epoch.
        stale: epochs since the best one.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss: float | Tensor = 0.0
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    best: float = float("inf")
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    stale: int = 0


@dataclass
class Checkpoint:
    """Saves and restores the state of everything that changes in training.

    Args:
        vae: the VAE.
        optimizer: its optimizer.
        scheduler: the learning-rate schedule, or ``None``.
        objective: the ELBO; its ``step`` is saved if it counts them.
        device: where training runs.
    """

    vae: VAE
    optimizer: Optimizer
    scheduler: Any
    objective: Any
    device: torch.device

    def state(self, position: Position) -> dict[str, Any]:
        """Return a copy of the state, as tensors and plain values."""
        cuda = self.device.type == "cuda"
        state_dict = option(self.objective, "state_dict")
        return {
            "position": vars(position)
            | {"rows": list(position.rows), "loss": float(position.loss)},
            "weights": weights_of(self.vae),
            "optimizer": copy.deepcopy(self.optimizer.get_state()),
            "scheduler": copy.deepcopy(self.scheduler.state_dict()) if self.scheduler else None,
            "objective_step": option(self.objective, "step"),
            "objective": copy.deepcopy(state_dict() if state_dict else {}),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.device) if cuda else None,
        }

    def restore(self, state: dict[str, Any], source: object) -> Position:
        """Restore the state, and return the position.

        Raises:
            ValueError: if the state does not match the model and optimizer.
        """
        check_state(state, source)
        position = state["position"]
        if position.get("best_weights"):
            check_tensors(self.vae.state_dict(), position["best_weights"], source)
        if state.get("objective"):
            check_tensors(self.objective.state_dict(), state["objective"], source)
        try:
            load_weights(self.vae, state["weights"], source)
            self.optimizer.set_state(copy.deepcopy(state["optimizer"]))
            if self.scheduler:
                self.scheduler.load_state_dict(copy.deepcopy(state["scheduler"]))
            if state["objective_step"] is not None:
                self.objective.step = state["objective_step"]
            if state.get("objective"):
                self.objective.load_state_dict(state["objective"])
            _check_random(state["random"], torch.get_rng_state())
            torch.set_rng_state(state["random"])
            if self.device.type == "cuda" and state["random_cuda"] is not None:
                torch.cuda.set_rng_state(state["random_cuda"], self.device)
            return Position(**position | {"rows": list(position["rows"])})
        except (KeyError, IndexError, TypeError, AttributeError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"{source} is not a checkpoint of this run: {brief(error, 140)}."
            ) from error

    def save(self, run: Run, position: Position, stopped: str | None) -> None:
        """Write the files of the run folder, the state last: the others derive from it."""
        rows = "".join(json.dumps(row) + "\n" for row in position.rows)
        last = weights_of(self.vae)
        run.write_files(
            {
                "weights.safetensors": tensors.pack_weights(position.best_weights or last),
                "last.safetensors": tensors.pack_weights(last),
                "metrics.jsonl": rows.encode(),
                "state.pt": tensors.pack_state(self.state(position)),
            },
            epochs=position.epoch,
            step=position.step,
            stopped=stopped,
        )


def weights_of(vae: VAE) -> dict[str, Tensor]:
    """Copy the weights to the CPU, with uncertain ones at their medians."""
    if vae.weights is not None:
        vae.weights.center(vae)
    return {name: w.detach().to("cpu", copy=True) for name, w in vae.state_dict().items()}


def check_state(state: Any, source: object) -> None:
    """Raise if a state lacks entries, or has entries of other types.

    Raises:
        ValueError: if not.
    """
    schema.check(state, _STATE, source)
    unknown = state["position"].keys() - vars(Position()).keys()
    if unknown:
        raise ValueError(f"{source} is damaged: position has {brief(min(unknown), 60)}.")


def check_kinds(own: dict[str, Any], found: dict[str, Any], name: str) -> None:
    """Raise if settings lack entries of ours, or have entries of other types.

    Raises:
        TypeError: if not.
    """
    if own.keys() - found.keys():
        raise TypeError(f"{name} lacks entries")
    for entry, value in own.items():
        if value is None:
            continue
        number = isinstance(value, int | float | Tensor) and not isinstance(value, bool)
        if not isinstance(found[entry], (int, float, Tensor) if number else type(value)) or (
            isinstance(value, bool | str) and value != found[entry]
        ):
            raise TypeError(f"{entry} of {name} is {shown(found[entry])}")


def _check_random(found: Tensor, own: Tensor) -> None:
    if found.dtype != own.dtype or found.shape != own.shape:
        raise TypeError(f"random has shape {tuple(found.shape)}, not {tuple(own.shape)}")
