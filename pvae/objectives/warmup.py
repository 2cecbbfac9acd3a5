"""Any objective, with a weight on its KL term that rises from 0."""

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

# Pyro's bounds that a weight on log p(z) and log q(z|x) gives a weight on their KL. Of others,
# TraceEnum_ELBO wants one scale for all sites, the jitted ones would keep the first weight, and the
# posterior of ReweightedWakeSleep would learn nothing.
WEIGHTED = (Trace_ELBO, TraceMeanField_ELBO, TraceGraph_ELBO, RenyiELBO)


class Warmup(Counting, Wrapper):
    r"""An objective whose KL term is weighted by a number that rises from 0 to 1.

    Over the first w gradient steps, log p(z) and log q(z|x) count :math:`t / w` in place of 1. So
    the decoder learns to use z before the KL presses q(z|x) to the prior, which otherwise may
    happen before z is of any use (Bowman et al. 2016; Sønderby et al. 2016). Of the ELBO this makes

    .. math::
        E_{q(z|x)}[\log p(x|z)] - \min(1, t / w)\, KL(q(z|x) \,\|\, p(z)),

    of an importance-weighted bound the weights :math:`p(x|z) (p(z) / q(z|x))^{\min(1, t / w)}`, and
    of an objective that weighs the KL itself the product of both weights.

    `pvae.fit` warms up by itself, see there.

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

    warms_up = False  # it does so itself

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
        """The weight of the KL at the present step."""
        return float(self._rise(self._step.device, self.warmup_steps))

    def _programs(self, model: Callable, guide: Callable, args: tuple) -> tuple[Callable, Callable]:
        device = next((x.device for x in args if torch.is_tensor(x)), self._step.device)
        weighted = ScaleLatents(self._rise(device, self.warmup_steps))
        return weighted(model), weighted(guide)


def can_warm_up(objective: ELBO) -> bool:
    """Whether `pvae.fit` warms up this objective by itself: it has a KL that a weight is right for.

    Those are Pyro's Trace_ELBO, TraceMeanField_ELBO, TraceGraph_ELBO and RenyiELBO, and of pvae all
    that have a KL and no schedule of their own. A subclass of Pyro's may do anything, and is left
    as it is; so is what Pyro has beyond these.
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
