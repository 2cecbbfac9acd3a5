"""Stochastic-gradient Hamiltonian Monte Carlo over weights, as a torch optimizer."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from pvae.checks import check_number, check_size
from pvae.messages import shown


class SGHMC(torch.optim.Optimizer):
    r"""Stochastic-gradient Hamiltonian Monte Carlo with a cyclical learning rate.

    A sampler of the uncertain weights w of a VAE, in the form of an optimizer, for
    `pvae.weights.Weights` with the posterior `AutoDelta`, whose loss is
    :math:`U(w) = -\sum_n ELBO_n(w) - \log p(w)`, and ``draws``. With the gradient g of U / N, as
    estimated by a minibatch, a step is (Chen, Fox, Guestrin 2014, equation 15)

    .. math::
        r \leftarrow m r - \eta_t M g + \sqrt{2 (1 - m) T \eta_t M / N}\; \epsilon,
        \qquad w \leftarrow w + r,

    whose distribution is :math:`\exp(-U(w) / T)` for small steps. The step sizes of the weights,
    :math:`M = 1 / (\sqrt{v} + \epsilon)`, are by the mean square v of their gradients (Springenberg
    et al. 2016), which is followed while exploring and kept while sampling.

    The learning rate falls in cycles of C steps, so that each explores another mode (Zhang et al.
    2020, equation 1):

    .. math::
        \eta_t = \frac{\eta}{2} \Big[\cos\Big(\frac{\pi (t \, \mathrm{mod} \, C)}{C}\Big) + 1\Big]

    In the first part of a cycle, ``exploration``, there is no noise; in the rest there is, and
    draws are left at equal distances, the last at the end of the cycle. Parameters that are not
    uncertain get the same steps without noise.

    Args:
        params: the parameters.
        lr: the learning rate eta at the start of a cycle.
        cycle_steps: steps C of a cycle.
        momentum: m.
        exploration: the share of a cycle without noise.
        draws_per_cycle: draws of the weights left by a cycle.
        temperature: T; 1 for the posterior, less for a colder one (Wenzel et al. 2020).
        decay: of the mean square v of the gradients.
        eps: the least root mean square of a gradient, epsilon, which bounds the steps of weights
            that the data do not depend on.

    Attributes:
        is_draw: whether the weights after the last step are a draw.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> from functools import partial
        >>> from pyro.infer.autoguide import AutoDelta
        >>> import pvae
        >>> from pvae.weights import SGHMC, Weights
        >>> data = pvae.data.load("digits")
        >>> weights = partial(Weights, posterior=AutoDelta, draws=4)
        >>> vae = pvae.build(data.event_shape, latent_dim=2, weights=weights)
        >>> optimizer = partial(SGHMC, cycle_steps=20, draws_per_cycle=2)
        >>> history = pvae.fit(
        ...     vae, data, epochs=4, optimizer=optimizer, keep="last", patience=None, progress=False
        ... )
        >>> int(vae.weights.count)
        4
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        cycle_steps: int = 1000,
        momentum: float = 0.9,
        exploration: float = 0.5,
        draws_per_cycle: int = 5,
        temperature: float = 1.0,
        decay: float = 0.99,
        eps: float = 1e-3,
    ) -> None:
        for name, value, most in (
            ("lr", lr, math.inf),
            ("eps", eps, math.inf),
            ("momentum", momentum, 1.0),
            ("exploration", exploration, 1.0),
            ("decay", decay, 1.0),
        ):
            if not 0 < check_number(name, value) < most:
                wanted = "positive" if most == math.inf else "between 0 and 1"
                raise ValueError(f"{name} is {shown(value)}: it must be {wanted}.")
        if not 0 <= check_number("temperature", temperature) < math.inf:
            raise ValueError(f"temperature is {shown(temperature)}: it must be at least 0.")
        check_size("cycle_steps", cycle_steps), check_size("draws_per_cycle", draws_per_cycle)
        if draws_per_cycle > cycle_steps * (1 - exploration) + 1e-9:
            raise ValueError(
                f"draws_per_cycle is {draws_per_cycle}: a cycle of {cycle_steps} steps, of which "
                f"{100 * exploration:g} % explore, has fewer to leave draws at."
            )
        settings = {
            "lr": lr,
            "cycle_steps": cycle_steps,
            "momentum": momentum,
            "exploration": exploration,
            "draws_per_cycle": draws_per_cycle,
            "temperature": temperature,
            "decay": decay,
            "eps": eps,
        }
        super().__init__(params, {**settings, "steps": 0})

    @property
    def is_draw(self) -> bool:
        """Whether the weights after the last step are a draw."""
        group = self.param_groups[0]
        cycle, done = group["cycle_steps"], group["steps"] % group["cycle_steps"] or None
        left = cycle - (cycle if done is None else done)
        apart = int(cycle * (1 - group["exploration"]) / group["draws_per_cycle"] + 1e-9)
        return group["steps"] > 0 and left % apart == 0 and left < apart * group["draws_per_cycle"]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # it has no loss
        """Take a step by the gradients of the mean loss of a datum."""
        for group in self.param_groups:
            at = group["steps"] % group["cycle_steps"] / group["cycle_steps"]
            rate = group["lr"] / 2 * (math.cos(math.pi * at) + 1)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group, float(rate), at < group["exploration"])
            group["steps"] += 1

    def _move(self, w: Tensor, group: dict[str, Any], rate: float, explores: bool) -> None:
        state, gradient = self.state[w], w.grad
        assert gradient is not None
        if not state:
            state["velocity"] = torch.zeros_like(w)
            state["mean_square"] = torch.zeros_like(w)
            state["weight"] = 0.0
        size = getattr(w, "data_size", None)  # of uncertain weights
        if explores or size is None:
            state["mean_square"].lerp_(gradient.square(), 1 - group["decay"])
            state["weight"] += (1 - group["decay"]) * (1 - state["weight"])
        step = rate / ((state["mean_square"] / max(state["weight"], 1e-8)).sqrt() + group["eps"])
        velocity = state["velocity"].mul_(group["momentum"]).sub_(step * gradient)
        if size is not None and not explores:
            variance = 2 * (1 - group["momentum"]) * group["temperature"] * step / size
            velocity.add_(variance.sqrt() * torch.randn_like(w))
        w.add_(velocity)
