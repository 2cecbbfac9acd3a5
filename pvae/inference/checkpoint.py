"""The state of a training run: what must be kept so that it can go on as if never stopped."""

import copy
import json
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pvae import files
from pvae.inference import storage
from pvae.inference.optimizer import FUSED, Optimizer
from pvae.inference.runs import Run, load_weights
from pvae.vae import VAE


@dataclass
class Position:
    """Where training stands.

    Attributes:
        epoch: completed epochs.
        batch: completed minibatches of the present epoch.
        step: completed gradient steps.
        loss: sum of the losses of the present epoch; on CUDA a tensor until it is read.
        seconds: time spent training.
        rows: the figures of the completed epochs.
        best: the smallest validation −ELBO so far.
        best_weights: the weights it was reached with.
        stale: epochs since then.
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
    """Reads and writes the state of everything that changes in training.

    Args:
        vae: the VAE.
        optimizer: its optimizer.
        scheduler: the learning-rate schedule, or ``None``.
        objective: the ELBO; its ``step`` is kept where it counts them.
        device: where training runs.
    """

    vae: VAE
    optimizer: Optimizer
    scheduler: Any
    objective: Any
    device: torch.device

    def state(self, position: Position) -> dict[str, Any]:
        """Return a copy of everything, as tensors and plain values."""
        cuda = self.device.type == "cuda"
        return {
            "position": vars(position)
            | {"rows": list(position.rows), "loss": float(position.loss)},
            "weights": weights_of(self.vae),
            "optimizer": copy.deepcopy(self.optimizer.get_state()),
            "scheduler": copy.deepcopy(self.scheduler.state_dict()) if self.scheduler else None,
            "objective_step": getattr(self.objective, "step", None),
            "objective": copy.deepcopy(getattr(self.objective, "state_dict", dict)()),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.device) if cuda else None,
        }

    def restore(self, state: dict[str, Any], source: object) -> Position:
        """Put everything back, and return the position.

        Raises:
            ValueError: if the state is not of this model and optimizer.
        """
        try:
            load_weights(self.vae, state["weights"], source)
            self._check_moments(state["optimizer"])
            self.optimizer.set_state(copy.deepcopy(state["optimizer"]))
            if self.scheduler:
                self.scheduler.load_state_dict(copy.deepcopy(state["scheduler"]))
            if state["objective_step"] is not None:
                self.objective.step = state["objective_step"]
            if state.get("objective"):
                self.objective.load_state_dict(state["objective"])
            torch.set_rng_state(state["random"])
            if self.device.type == "cuda" and state["random_cuda"] is not None:
                torch.cuda.set_rng_state(state["random_cuda"], self.device)
            return Position(**state["position"] | {"rows": list(state["position"]["rows"])})
        except (KeyError, TypeError, AttributeError, RuntimeError) as error:
            said = " ".join(str(error).split())
            raise ValueError(f"{source} is not a checkpoint of this run: {said}.") from error

    def _check_moments(self, state: dict[str, Any]) -> None:
        # Fused kernels trust these shapes, and write past the end of tensors that are too small.
        if type(self.optimizer.torch_optimizer) not in FUSED:
            return
        for index, moments in state["state"].items():
            shape = self.optimizer.parameters[index].shape
            for name, moment in moments.items():
                if torch.is_tensor(moment) and moment.dim() and moment.shape != shape:
                    raise TypeError(f"{name} has shape {tuple(moment.shape)}, not {tuple(shape)}")

    def save(self, run: Run, position: Position, stopped: str | None) -> None:
        """Write the run folder's files, the state last: it is what the others are derived from."""
        rows = "".join(json.dumps(row) + "\n" for row in position.rows)
        last = weights_of(self.vae)
        storage.write_weights(run.path / "weights.safetensors", position.best_weights or last)
        storage.write_weights(run.path / "last.safetensors", last)
        files.write(run.path / "metrics.jsonl", rows.encode())
        run.update(epochs=position.epoch, stopped=stopped)
        storage.write_state(run.path / "state.pt", self.state(position))


def weights_of(vae: VAE) -> dict[str, Tensor]:
    """A copy of the weights, on the CPU, that further training does not change."""
    return {name: w.detach().to("cpu", copy=True) for name, w in vae.state_dict().items()}
