"""The ELBO with a penalty on the discrepancy of aggregate posterior and prior."""

from collections.abc import Callable
from typing import Any

import torch
from pyro.poutine import Trace
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pvae.checks import check_number
from pvae.messages import shown
from pvae.objectives.mmd import KERNELS, mean_of_pairs, mmd, squared_distances
from pvae.objectives.objective import (
    Objective,
    kl,
    latents,
    log_likelihood,
    rows,
    shares,
    weights,
)


class InfoVAE(Objective):
    r"""The ELBO with weights on mutual information and aggregate posterior (Zhao et al. 2019).

    .. math::
        E[\log p(x|z)] - (1 - \alpha)\, KL(q(z|x) \,\|\, p(z))
        - (\alpha + \lambda - 1)\, MMD(q(z), p(z))

    per datum, with q(z) the average of q(z|x) over the data. alpha = 0 and lambda = 1 are the
    ELBO; alpha = 1 is the MMD-VAE, which does not penalize the information of z about x.

    The maximum mean discrepancy is estimated without bias between the minibatch's z and as many
    draws of the prior (`pvae.objectives.mmd`). The width of its kernel is the mean squared distance
    between further draws of the prior, for any prior. A learned prior gets gradients through its
    draws, if they carry any, and through the KL. For a minibatch of one datum there is no penalty.

    Args:
        alpha: the fraction of the KL that is left out, at most 1.
        lambda_: the weight of the aggregate; alpha + lambda must be at least 1.
        kernel: ``"imq"``, an inverse multiquadric of several scales, or ``"rbf"``.

    Raises:
        ValueError: if alpha is above 1, alpha + lambda below 1, or the kernel unknown.

    Example:
        >>> import pvae, torch
        >>> from pvae.objectives import InfoVAE
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> loss = InfoVAE(alpha=0.5, lambda_=10.0).loss(
        ...     vae.model, vae.guide, torch.ones(5, 1, 8, 8)
        ... )
    """

    def __init__(self, alpha: float = 0.5, lambda_: float = 10.0, kernel: str = "imq") -> None:
        if not float("-inf") < check_number("alpha", alpha) <= 1:
            raise ValueError(f"alpha is {alpha}: it must be finite and at most 1.")
        if not 1 <= alpha + check_number("lambda_", lambda_) < float("inf"):
            raise ValueError(
                f"lambda_ is {lambda_}: with alpha {alpha} it must be finite and at least "
                f"{1 - alpha}."
            )
        if kernel not in KERNELS:
            raise ValueError(
                f"kernel is {shown(kernel)}: it must be one of {', '.join(map(repr, KERNELS))}."
            )
        super().__init__()
        self.alpha = alpha
        self.lambda_ = lambda_
        self.kernel = kernel
        self.warms_up = alpha != 1  # else it has no KL
        self.is_bound = alpha <= 0

    def _get_trace(
        self, model: Callable, guide: Callable, args: tuple, kwargs: dict
    ) -> tuple[Trace, Trace]:
        return super()._get_trace(_DrawPrior()(model), guide, args, kwargs)

    def _loss(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        loss = -log_likelihood(model_trace)
        sites = latents(model_trace, guide_trace)
        if self.alpha != 1:
            loss = loss + (1 - self.alpha) * sum(kl(q, p).sum() for q, p in sites)
        z = rows([q for q, _ in sites])
        drawn, others = (rows([p for _, p in sites], key) for key in ("drawn", "others"))
        # The latents of a datum are one row, with the scale and the mask of the first of them.
        first = sites[0][0]
        share = shares(first)
        width = mean_of_pairs(squared_distances(others, others), share).detach()
        # A few draws of a discrete prior may all be equal.
        width = width.clamp_min(torch.finfo(width.dtype).eps)
        weight = (self.alpha + self.lambda_ - 1) * weights(first).sum()
        return loss + weight * mmd(z, drawn, self.kernel, width, share)


class _DrawPrior(Messenger):
    """Draw every latent from the prior as well, twice."""

    def _pyro_sample(self, msg: Any) -> None:
        if not msg["is_observed"] and not site_is_subsample(msg):
            msg["drawn"] = msg["fn"]()
            with torch.no_grad():
                msg["others"] = msg["fn"]()
