"""The ELBO with free bits: a KL without cost up to some nats per latent."""

import torch
from pyro.distributions.util import scale_and_mask
from pyro.poutine import Trace
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from pvae.checks import check_number
from pvae.distributions.top_down import TopDown, level_kl
from pvae.objectives.objective import (
    Objective,
    factor,
    kl,
    latents,
    log_likelihood,
    weighted,
)


class FreeBits(Objective):
    r"""The ELBO whose KL costs nothing below lambda nats per latent or level (Kingma et al. 2016).

    .. math::
        E[\log p(x|z)] - \sum_j \max\Bigl(\lambda,\,
        \frac{1}{n} \sum_{i=1}^n KL\bigl(q(z_j|x_i) \,\|\, p(z_j)\bigr)\Bigr)

    per datum, with the KL averaged over the minibatch before it is compared: a latent with a KL
    below lambda is not penalized, which prevents its collapse early in training.

    Each latent is a group if q and p both are independent over latents; its KL is in closed form
    if torch has one, else estimated at the draw. In a `pvae.priors.TopDown` with its posterior each
    level is a group, its KL in closed form given the levels above it in the draw. If q or p is
    neither, such as a flow or a mixture, the whole z is one group. Draws must carry gradients.

    lambda is in nats of a datum before it is scaled: with weights w_i of the data, as of a scale,
    a mask or a warm-up, the term is :math:`\max(\lambda \sum_i w_i, \sum_i w_i KL_i)`.

    Args:
        free_nats: lambda, the nats of each group that are free, at least 0; 0 is the ELBO.

    Raises:
        ValueError: if free_nats is negative or not finite.

    Example:
        >>> import pvae, torch
        >>> from pvae.objectives import FreeBits
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> loss = FreeBits(0.25).loss(vae.model, vae.guide, torch.ones(5, 1, 8, 8))
    """

    def __init__(self, free_nats: float = 0.25) -> None:
        if not 0 <= check_number("free_nats", free_nats) < float("inf"):
            raise ValueError(f"free_nats is {free_nats}: it must be finite and at least 0.")
        super().__init__()
        self.free_nats = free_nats

    def _loss(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        loss = -log_likelihood(model_trace)
        for q, p in latents(model_trace, guide_trace):
            groups, weights = _groups(q, p)
            loss = loss + torch.maximum(groups.sum(0), self.free_nats * weights.sum(0)).sum()
        return loss


def _groups(q: dict, p: dict) -> tuple[Tensor, Tensor]:
    """The weighted KL of each datum and group, and the weights, both of shape (n, groups)."""
    of_q, of_p = factor(q["fn"]), factor(p["fn"])
    if isinstance(q["fn"], TopDown) and isinstance(p["fn"], TopDown):
        divergence = level_kl(q["fn"], p["fn"])
    elif of_q is None or of_p is None or of_q.event_shape != of_p.event_shape:
        divergence = kl(q, p)
        weights = weighted(q, torch.ones_like(divergence))
        return divergence.reshape(-1, 1), weights.reshape(-1, 1)
    else:
        divergence = _kl_of_factors(q, of_q, of_p)
    mask = q["mask"].unsqueeze(-1) if torch.is_tensor(q["mask"]) else q["mask"]
    scale = q["scale"].unsqueeze(-1) if torch.is_tensor(q["scale"]) else q["scale"]
    weights = torch.ones_like(divergence)
    if isinstance(q["fn"], TopDown) and q["fn"].weights is not None:  # in the KL of levels as well
        weights = weights * q["fn"].weights
    both = (scale_and_mask(each, scale=scale, mask=mask) for each in (divergence, weights))
    of_kl, of_data = (each.flatten(0, -2) for each in both)
    return of_kl, of_data


def _kl_of_factors(q: dict, of_q: Distribution, of_p: Distribution) -> Tensor:
    """The KL of each latent, in closed form or at the draw."""
    try:
        divergence = kl_divergence(of_q, of_p)
    except NotImplementedError:
        divergence = of_q.log_prob(q["value"]) - of_p.log_prob(q["value"])
    return divergence.reshape(*q["fn"].batch_shape, -1)
