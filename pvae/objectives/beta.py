"""The ELBO with a weight on its KL term."""

from typing import Any

import torch
from pyro.infer import TraceMeanField_ELBO

from pvae.checks import check_number
from pvae.objectives.counting import Counting
from pvae.objectives.warmup import ScaleLatents


class BetaELBO(Counting, TraceMeanField_ELBO):
    r"""The ELBO with its KL term weighted by beta, constant or warmed up.

    .. math::
        E_{q(z|x)}[\log p(x|z)] - \beta_t\, KL(q(z|x) \,\|\, p(z))

    beta = 1 is the ELBO, by which every VAE is *evaluated*, however it was trained. The
    KL is in closed form where torch has one for the pair, as in `TraceMeanField_ELBO`.

    With ``warmup_steps`` = w the weight rises linearly from 0 to beta over the first w gradient
    steps (Bowman et al. 2016; Sønderby et al. 2016). With ``cycle_steps`` = c the rise starts
    again every c steps (Fu et al. 2019)::

        beta_t = beta * min(1, (t mod c) / w)

    Args:
        beta: the weight, at least 0 (Higgins et al. 2017).
        warmup_steps: gradient steps until the weight is reached; 0 for a constant weight.
        cycle_steps: gradient steps between two warm-ups; ``None`` for one warm-up only.
        elbo: further arguments of `pyro.infer.ELBO`, such as ``num_particles``.

    Attributes:
        step: gradient steps taken so far, the t above; counted by `loss_and_grads`.

    Raises:
        ValueError: if beta or warmup_steps is negative, or a cycle is shorter than its warm-up.

    Example:
        >>> from pvae.objectives import BetaELBO
        >>> objective = BetaELBO(beta=4.0, warmup_steps=100)
        >>> objective.step = 25
        >>> objective.weight
        1.0
    """

    weighs_data = "scale"

    def __init__(
        self,
        beta: float = 1.0,
        warmup_steps: int = 0,
        cycle_steps: int | None = None,
        **elbo: Any,
    ) -> None:
        if not 0 <= check_number("beta", beta) < float("inf"):
            raise ValueError(f"beta is {beta}: the weight of the KL must be finite and at least 0.")
        if check_number("warmup_steps", warmup_steps) < 0:
            raise ValueError(f"warmup_steps is {warmup_steps}: it must be at least 0.")
        shortest = max(warmup_steps, 1)
        if cycle_steps is not None and check_number("cycle_steps", cycle_steps) < shortest:
            raise ValueError(
                f"cycle_steps is {cycle_steps}: a cycle must hold its warm-up of "
                f"{warmup_steps} steps, and at least one step."
            )
        super().__init__(**elbo)
        self.beta = beta
        self.warmup_steps = warmup_steps
        self.cycle_steps = cycle_steps

    @property
    def warms_up(self) -> bool:
        """Whether `pvae.fit` may warm up its KL: not if it has a warm-up of its own."""
        return self.warmup_steps == 0

    @property
    def weight(self) -> float:
        """The weight beta_t of the KL at the current step."""
        return float(self._weight(self._step.device))

    def _weight(self, device: torch.device) -> float | torch.Tensor:
        return self.beta * self._rise(device, self.warmup_steps, self.cycle_steps)

    def _get_trace(self, model: Any, guide: Any, args: tuple, kwargs: dict) -> tuple:
        # Both programs are run with their latent sites scaled, so log p(z) and log q(z|x), or
        # their analytic KL, carry the weight, and the likelihood does not.
        device = next((x.device for x in args if torch.is_tensor(x)), self._step.device)
        weighted = ScaleLatents(self._weight(device))
        return super()._get_trace(weighted(model), weighted(guide), args, kwargs)
