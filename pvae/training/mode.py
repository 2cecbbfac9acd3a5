"""The choice whether to compile, from its estimated cost and savings."""

import copy
import statistics
import time
from contextlib import ExitStack
from typing import Any, Literal

import pyro
import torch
from pyro.infer import ELBO
from torch.utils._python_dispatch import TorchDispatchMode

from pvae.data.batches import Batches
from pvae.inference.backends import Backend, best_backend
from pvae.seeds import seeded
from pvae.vae import VAE

Mode = Literal["eager"] | Backend

FEWEST_STEPS = 300  # below which compilation never pays off, and nothing is measured
MEASURED_STEPS = 5
# As measured on a common processor:
TRACE_SECONDS = 0.8  # cost of a graph, for each signature of a step
OPERATOR_SECONDS = 1e-3  # and for each operator of an eager step, of which sequences have many
COMPILE_SECONDS = 0.07  # additional cost of a compiler, for each operator of an eager step
PYTHON_SECONDS = 1e-3  # saved by a graph in each step, but at most
PYTHON_SHARE = 0.4  # this fraction of the step
COMPILED_SHARE = 0.2  # fraction of the rest that a compiler saves


def choose_mode(vae: VAE, objective: ELBO, train: Batches, steps: int) -> Mode:
    """Choose the fastest mode for the planned steps, by measuring a few eager ones.

    These have no effect: weights, random state and objective are restored.

    Args:
        vae: the VAE, on the device of training.
        objective: its objective.
        train: its minibatches.
        steps: planned gradient steps.

    Returns:
        ``"eager"``, ``"graph"`` for the operators without Python, or ``"inductor"``.
    """
    if steps < FEWEST_STEPS:
        return "eager"
    step, operators = _measure(vae, objective, train)
    python = min(PYTHON_SECONDS, PYTHON_SHARE * step)
    signatures = 2 if len(train.part) % train.batch_size else 1
    if steps * python < signatures * (TRACE_SECONDS + OPERATOR_SECONDS * operators):
        return "eager"
    if steps * COMPILED_SHARE * (step - python) < signatures * COMPILE_SECONDS * operators:
        return "graph"
    return best_backend(train.device)


def _measure(vae: VAE, objective: Any, train: Batches) -> tuple[float, int]:
    """Measure the seconds that loss and gradients of a minibatch take, and count its operators."""
    objective = copy.deepcopy(objective)  # it may count its steps
    arguments = train.first(train.batch_size)
    seconds = []
    with ExitStack() as stack:
        stack.enter_context(seeded(0, train.device))
        stack.enter_context(vae.evaluating())  # no statistics of the batch are kept
        stack.enter_context(torch.enable_grad())
        stack.enter_context(pyro.validation_enabled(False))
        with _Counting() as counted:
            objective.loss_and_grads(vae.model, vae.guide, *arguments)
        for _ in range(MEASURED_STEPS):
            began = time.perf_counter()
            float(objective.loss_and_grads(vae.model, vae.guide, *arguments))
            seconds.append(time.perf_counter() - began)
    vae.zero_grad()
    return statistics.median(seconds), counted.operators


class _Counting(TorchDispatchMode):
    """Count the operators of torch that run while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.operators = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: Any = None
    ) -> Any:
        self.operators += 1
        return function(*args, **(kwargs or {}))
