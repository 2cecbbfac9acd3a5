"""A wrapper of objectives that corrupts the input of the posterior."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from pyro.infer import Trace_ELBO
from torch import Tensor

from pvae.annotations import Objective
from pvae.checks import check_number
from pvae.messages import shown
from pvae.objectives.wrapper import Wrapper

KINDS = ("gaussian", "mask", "salt and pepper")


class Denoising(Wrapper):
    r"""An objective with input noise: the guide takes a corrupted x, the model the clean one.

    With the ELBO, the default objective that it wraps,

    .. math::
        E_{\tilde x \sim c(\tilde x|x)} E_{q(z|\tilde x)} \bigl[ \log p(x, z)
        - \log q(z|\tilde x) \bigr]

    Denoising autoencoders are trained this way (Vincent et al. 2008, 2010); here it is still a
    lower bound of log p(x), with the mixture of all q(z|x~) as its posterior (Im et al. 2017). It
    can wrap another objective: ``Denoising(objective=BetaELBO(beta=4.0))``.
    Evaluation, by `pvae.evaluation`, sees clean data.

    ===================  =====================================================================
    kind                 each element of x, the first argument of the programs
    ===================  =====================================================================
    ``gaussian``         gets a normal number of standard deviation ``noise`` added, in the
                         units of the data
    ``mask``             becomes 0 with probability ``noise``
    ``salt and pepper``  becomes the smallest or the largest of the minibatch, with
                         probability ``noise``
    ===================  =====================================================================

    Args:
        noise: the amount of noise, at least 0; a probability for the last two kinds.
        kind: one of the above.
        objective: the objective that the noise is added to; ``None`` for `Trace_ELBO`.
        elbo: arguments of that `pyro.infer.Trace_ELBO`, such as ``num_particles``.

    Raises:
        TypeError: if the objective is not an instance of a Pyro ELBO, or is given together with
            arguments of Trace_ELBO.
        ValueError: if the kind is unknown, or noise out of range.

    Example:
        >>> import pvae, torch
        >>> from pvae.objectives import Denoising
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> loss = Denoising(0.3, "mask").loss(vae.model, vae.guide, torch.ones(5, 1, 8, 8))
    """

    def __init__(
        self,
        noise: float = 0.3,
        kind: str = "gaussian",
        objective: Objective | None = None,
        **elbo: Any,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(
                f"kind is {shown(kind)}: it must be one of {', '.join(map(repr, KINDS))}."
            )
        most = float("inf") if kind == "gaussian" else 1
        if not 0 <= check_number("noise", noise) <= most or noise == float("inf"):
            raise ValueError(
                f"noise is {noise}: for kind {kind!r} it must be "
                + ("a standard deviation, " if kind == "gaussian" else "a probability, ")
                + ("finite and at least 0." if kind == "gaussian" else "from 0 to 1.")
            )
        known = inspect.signature(Trace_ELBO).parameters
        misplaced = [k for k, v in elbo.items() if k not in known or v != known[k].default]
        if objective is not None and misplaced:
            raise TypeError(
                f"{misplaced[0]} is an argument of the Trace_ELBO that Denoising wraps if "
                "no objective is given: give it to the objective."
            )
        super().__init__(Trace_ELBO(**elbo) if objective is None else objective)
        self.noise = noise
        self.kind = kind

    def _programs(self, model: Callable, guide: Callable, args: tuple) -> tuple[Callable, Callable]:
        def shown(x: Tensor, *rest: Any, **named: Any) -> Any:
            return guide(self._corrupt(x), *rest, **named)

        return model, shown

    def _corrupt(self, x: Tensor) -> Tensor:
        if self.noise == 0:
            return x
        if self.kind == "gaussian":
            return x + self.noise * torch.randn_like(x)
        hit = torch.rand_like(x) < self.noise
        if self.kind == "mask":
            return torch.where(hit, torch.zeros_like(x), x)
        return torch.where(hit, torch.where(torch.rand_like(x) < 0.5, x.min(), x.max()), x)
