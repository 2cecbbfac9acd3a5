"""Whether to compile: what it costs, and what it saves."""

import copy
import statistics
import time
from typing import Any, Literal

import pyro
from pyro.infer import ELBO

from pvae.data.batches import Batches
from pvae.inference.backends import Backend, best_backend
from pvae.seeds import seeded
from pvae.vae import VAE

Mode = Literal["eager"] | Backend

FEWEST_STEPS = 300  # below which nothing repays, and nothing is measured
MEASURED_STEPS = 5
# As measured on a common processor:
TRACE_SECONDS = 1.0  # what a graph costs for each signature of a step, and
COMPILE_SECONDS = 12.0  # what a compiler costs on top of it
PYTHON_SECONDS = 1e-3  # what a graph saves in a step, but no more than
PYTHON_SHARE = 0.4  # of the step
COMPILED_SHARE = 0.2  # of the rest is what a compiler saves


def choose_mode(vae: VAE, objective: ELBO, train: Batches, steps: int) -> Mode:
    """Choose what the planned steps repay, from a few eager ones.

    These are forgotten: weights, random state and objective stay as they are.

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
    step = _measure(vae, objective, train)
    python = min(PYTHON_SECONDS, PYTHON_SHARE * step)
    signatures = 2 if len(train.part) % train.batch_size else 1
    if steps * python < signatures * TRACE_SECONDS:
        return "eager"
    if steps * COMPILED_SHARE * (step - python) < signatures * COMPILE_SECONDS:
        return "graph"
    return best_backend(train.device)


def _measure(vae: VAE, objective: Any, train: Batches) -> float:
    """Seconds of loss and gradients of one minibatch."""
    objective = copy.deepcopy(objective)  # some count their steps
    arguments = train.first(train.batch_size)
    seconds = []
    with seeded(0, train.device), vae.evaluating(), pyro.validation_enabled(False):
        for _ in range(1 + MEASURED_STEPS):
            began = time.perf_counter()
            float(objective.loss_and_grads(vae.model, vae.guide, *arguments))
            seconds.append(time.perf_counter() - began)
    vae.zero_grad()
    return statistics.median(seconds[1:])
