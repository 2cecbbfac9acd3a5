"""A wrapper of objectives with a KL weight that rises from 0."""

from collections.abc import Callable

import torch
from pyro.infer import (
    ELBO,
    RenyiELBO,
    Trace_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
)
from pyro.poutine.messenger import Messenger

from pvae.checks import check_size
from pvae.interfaces import option
from pvae.objectives.counting import Counting
from pvae.objectives.wrapper import Wrapper

# Pyro's bounds whose KL is weighted by a weight on log p(z) and log q(z|x). Of the others,
# TraceEnum_ELBO needs one scale for all sites, the jitted ones would keep the first weight, and the
# posterior of ReweightedWakeSleep would not be trained.
WEIGHTED = (Trace_ELBO, TraceMeanField_ELBO, TraceGraph_ELBO, RenyiELBO)


class Warmup(Counting, Wrapper):
    r"""An objective with a weight on its KL term that rises from 0 to 1.

    Over the first w gradient steps, log p(z) and log q(z|x) have the weight :math:`t / w`. So the
    decoder learns to use z before the KL moves q(z|x) to the prior, which otherwise can lead to
    posterior collapse (Bowman et al. 2016; Sønderby et al. 2016). The ELBO becomes

    .. math::
        E_{q(z|x)}[\log p(x|z)] - \min(1, t / w)\, KL(q(z|x) \,\|\, p(z)),

    an importance-weighted bound has weights :math:`p(x|z) (p(z) / q(z|x))^{\min(1, t / w)}`, and
    an objective with its own weight on the KL gets the product of both weights.

    `pvae.fit` applies it by default.

    Args:
        objective: any Pyro ELBO, such as ``FreeBits()`` or ``Denoising()``.
        warmup_steps: gradient steps w until the weight is 1.

    Attributes:
        step: gradient steps taken so far, the t above; counted by `loss_and_grads`.

    Raises:
        TypeError: if the objective is not an instance of a Pyro ELBO.
        ValueError: if warmup_steps is below 1.

    Example:
        >>> from pvae.objectives import FreeBits, Warmup
        >>> objective = Warmup(FreeBits(0.1), warmup_steps=100)
        >>> objective.step = 25
        >>> objective.weight
        0.25
    """

    warms_up = False  # it has a warm-up already

    def __init__(self, objective: ELBO, warmup_steps: int = 1000) -> None:
        super().__init__(objective=objective)
        self.warmup_steps = check_size("warmup_steps", warmup_steps)

    @property
    def step(self) -> int:
        """Gradient steps taken so far."""
        return int(self._step)

    @step.setter
    def step(self, step: int) -> None:
        self._step.fill_(step)
        if option(self.objective, "step") is not None:
            self.objective.step = step

    @property
    def weight(self) -> float:
        """The weight of the KL at the current step."""
        return float(self._rise(self._step.device, self.warmup_steps))

    def _programs(self, model: Callable, guide: Callable, args: tuple) -> tuple[Callable, Callable]:
        device = next((x.device for x in args if torch.is_tensor(x)), self._step.device)
        weighted = ScaleLatents(self._rise(device, self.warmup_steps))
        return weighted(model), weighted(guide)


def can_warm_up(objective: ELBO) -> bool:
    """Whether `pvae.fit` may warm up this objective: whether it has a KL that can be weighted.

    These are Pyro's Trace_ELBO, TraceMeanField_ELBO, TraceGraph_ELBO and RenyiELBO, and the
    objectives of pvae that have a KL and no schedule of their own. Other ELBOs of Pyro, and
    subclasses of these, are excluded.
    """
    if isinstance(objective, Warmup):
        return False
    if isinstance(objective, Wrapper):
        return can_warm_up(objective.objective)
    declared = option(objective, "warms_up")
    return type(objective) in WEIGHTED if declared is None else declared


class ScaleLatents(Messenger):
    """Scale the log-probability of every site that is not observed."""

    def __init__(self, scale: float | torch.Tensor) -> None:
        super().__init__()
        self.scale = scale

    def _pyro_sample(self, msg: dict) -> None:
        if not msg["is_observed"]:
            msg["scale"] = msg["scale"] * self.scale
            msg["kl_weight"] = msg.get("kl_weight", 1.0) * self.scale
