"""The ELBO with a target for its KL term."""

from functools import reduce
from operator import add

from pyro.poutine import Trace
from torch import Tensor

from pvae.checks import check_number
from pvae.objectives.counting import Counting
from pvae.objectives.objective import (
    Objective,
    divergence,
    latents,
    log_likelihood,
    weighted,
)


class CapacityELBO(Counting, Objective):
    r"""The ELBO with a penalty that moves the KL to a rising capacity C (Burgess et al. 2018).

    .. math::
        E_{q(z|x)}[\log p(x|z)] - \gamma\, \bigl| KL(q(z|x) \,\|\, p(z)) - C_t \bigr|,
        \qquad C_t = C \min(1, t / w)

    So the information in the latents grows gradually, the most useful first. The KL is in closed
    form where torch has one for the pair, else its estimate at the draw.

    Args:
        capacity: the target C in nats per datum, at least 0.
        gamma: the weight of the distance from it, at least 0.
        warmup_steps: gradient steps w until C is reached; 0 for a constant target.

    Attributes:
        step: gradient steps taken so far, the t above; counted by `loss_and_grads`.

    Raises:
        ValueError: if an argument is negative or not finite.

    Example:
        >>> from pvae.objectives import CapacityELBO
        >>> objective = CapacityELBO(capacity=25.0, warmup_steps=1000)
        >>> objective.step = 100
        >>> objective.target
        2.5
    """

    warms_up = False  # its KL has a target of its own

    def __init__(
        self, capacity: float = 25.0, gamma: float = 1000.0, warmup_steps: int = 100_000
    ) -> None:
        for name, value in {"capacity": capacity, "gamma": gamma}.items():
            if not 0 <= check_number(name, value) < float("inf"):
                raise ValueError(f"{name} is {value}: it must be finite and at least 0.")
        if check_number("warmup_steps", warmup_steps) < 0:
            raise ValueError(f"warmup_steps is {warmup_steps}: it must be at least 0.")
        super().__init__()
        self.capacity = capacity
        self.gamma = gamma
        self.warmup_steps = warmup_steps

    @property
    def target(self) -> float:
        """The target C_t at the current step."""
        return float(self.capacity * self._rise(self._step.device, self.warmup_steps))

    def _loss(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        sites = latents(model_trace, guide_trace)
        total = reduce(add, (divergence(q, p) for q, p in sites))
        target = self.capacity * self._rise(total.device, self.warmup_steps)
        distance = weighted(sites[0][0], (total - target).abs()).sum()
        return self.gamma * distance - log_likelihood(model_trace)
