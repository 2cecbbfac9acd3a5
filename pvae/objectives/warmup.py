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

from pvae.checks import check_flag, check_size
from pvae.distributions.top_down import TopDown
from pvae.interfaces import option
from pvae.objectives.counting import Counting, nested
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
    an objective with its own weight on the KL gets the product of both weights. A penalty on the
    aggregate posterior, as that of `pvae.objectives.InfoVAE`, rises with the KL.

    `pvae.fit` applies it by default.

    The levels of a `pvae.priors.TopDown` with its posterior may rise one after another, the lowest
    first: each from 0 to 1 in w / L steps. The levels at the top are the first to collapse, and so
    are free for longest.

    Args:
        objective: any Pyro ELBO, such as ``FreeBits()`` or ``Denoising()``.
        warmup_steps: gradient steps w until the weight is 1.
        by_level: whether the levels of a hierarchy rise one after another; all other latents rise
            as without, and so do those of a `pvae.priors.TopDown` with another posterior.

    Attributes:
        step: gradient steps taken so far, the t above; counted by `loss_and_grads`.

    Raises:
        TypeError: if the objective is not an instance of a Pyro ELBO, or by_level not a flag.
        ValueError: if warmup_steps is below 1, or by_level is asked for with a DReG gradient, which
            needs one weight of the whole KL.

    Example:
        >>> from pvae.objectives import FreeBits, Warmup
        >>> objective = Warmup(FreeBits(0.1), warmup_steps=100)
        >>> objective.step = 25
        >>> objective.weight
        0.25
    """

    warms_up = False  # it has a warm-up already

    def __init__(self, objective: ELBO, warmup_steps: int = 1000, by_level: bool = False) -> None:
        super().__init__(objective=objective)
        self.warmup_steps = check_size("warmup_steps", warmup_steps)
        self.by_level = check_flag("by_level", by_level)
        if by_level and any(vars(o).get("gradient") == "dreg" for o in nested(objective)):
            raise ValueError(
                "A DReG gradient needs one weight of the whole KL: warm up without by_level, or "
                "choose another gradient."
            )

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
        scale = ScaleLevels if self.by_level else ScaleLatents
        weighted = scale(self._rise(device, self.warmup_steps))
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


class ScaleLevels(ScaleLatents):
    """Scale the levels of a hierarchy one after another, the lowest first; other latents at once.

    One of these scales both programs, the guide first: where its posterior has no levels, those of
    the prior rise at once as well, as log p(z) and log q(z|x) need the same weight.

    Args:
        scale: how far the warm-up is, from 0 to 1.
    """

    def __init__(self, scale: float | torch.Tensor) -> None:
        super().__init__(scale)
        self.names: set[str] = set()  # of the sites with levels in the guide

    def _pyro_sample(self, msg: dict) -> None:
        fn = msg["fn"]
        if isinstance(fn, TopDown) and fn.combine is not None:
            self.names.add(msg["name"])
        if msg["is_observed"] or not isinstance(fn, TopDown) or msg["name"] not in self.names:
            super()._pyro_sample(msg)
            return
        scale = torch.as_tensor(self.scale, dtype=fn.start.dtype, device=fn.start.device)
        number = len(fn.path.sizes)
        before = torch.arange(number - 1, -1, -1, dtype=scale.dtype, device=scale.device)
        msg["fn"] = fn.weighted((number * scale - before).clamp(0, 1))
