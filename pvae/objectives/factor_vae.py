"""The ELBO with a penalty on the total correlation, estimated by a discriminator."""

from collections.abc import Sequence

import torch
from pyro.poutine import Trace
from torch import Tensor
from torch.nn.functional import softplus

from pvae.checks import check_number
from pvae.objectives.discriminating import DiscriminatingLatents
from pvae.objectives.objective import (
    kl,
    latents,
    log_likelihood,
    shares,
    weighs_each,
    weights,
    with_gradient_of,
)


class FactorVAE(DiscriminatingLatents):
    r"""The ELBO less gamma times the total correlation of the latents (Kim and Mnih 2018).

    .. math::
        E[\log p(x|z)] - KL(q(z|x) \,\|\, p(z)) - \gamma\, KL(q(z) \,\|\, \textstyle\prod_j q(z_j))

    per datum, with q(z) the average of q(z|x) over the data. A discriminator D is trained with the
    VAE to distinguish the minibatch's z from z with each latent permuted over the minibatch; its
    logit then estimates the log of the ratio of the two densities, and the mean of the logit over z
    the total correlation.

    The discriminator belongs to the objective. One step trains both: the gradient of the VAE takes
    the discriminator as fixed, and that of the discriminator takes the latents as fixed.
    Under SVI its parameters are those of the parameter store named ``discriminator``; an optimizer
    that is given its parameters beforehand must have those of `parameters` as well. The loss is
    that of the VAE.

    Args:
        latent_dim: the number of latents.
        gamma: the weight of the total correlation, at least 0.
        hidden: sizes of the discriminator's hidden layers.
        seed: of the discriminator's initial weights, as in `pvae.build`.

    Attributes:
        discriminator: maps z of shape (\*batch, latent_dim) to a logit of shape (\*batch, 1).

    Raises:
        ValueError: if a size is below 1 or gamma negative; and from a step, if the VAE has
            another number of latents, or draws that carry no gradients.

    Example:
        >>> import pvae, pyro, torch
        >>> from pvae.objectives import FactorVAE
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> objective = FactorVAE(latent_dim=2, gamma=10.0)
        >>> svi = pyro.infer.SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-3}), objective)
        >>> loss = svi.step(torch.ones(5, 1, 8, 8))
    """

    def __init__(
        self,
        latent_dim: int,
        gamma: float = 10.0,
        hidden: Sequence[int] = (256, 256, 256),
        seed: int | None = 0,
    ) -> None:
        if not 0 <= check_number("gamma", gamma) < float("inf"):
            raise ValueError(
                f"gamma is {gamma}: the weight of the total correlation must be finite and at "
                "least 0."
            )
        super().__init__(latent_dim, hidden, seed)
        self.gamma = gamma

    def _loss(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        sites = latents(model_trace, guide_trace)
        z = self._latents([q for q, _ in sites])
        # The latents of a datum are one row, with the scale and the mask of the first of them.
        first = sites[0][0]
        weight = weights(first)
        correlation = weight @ self._fixed(z).squeeze(-1)
        divergence = sum(kl(q, p).sum() for q, p in sites)
        loss = divergence + self.gamma * correlation - log_likelihood(model_trace)
        z = z.detach()
        ours, theirs = self.discriminator(z), self.discriminator(shuffled(z, first))
        entropy = weight @ softplus(-ours).squeeze(-1) + weight.sum() * softplus(theirs).mean()
        return with_gradient_of(loss, loss + entropy / 2)


def shuffled(z: Tensor, site: dict) -> Tensor:
    """Each latent permuted over the minibatch, or drawn from it if data have own weights."""
    if weighs_each(site):
        ends = shares(site).cumsum(0)
        chosen = torch.searchsorted(ends, torch.rand_like(z) * ends[-1], right=True)
        chosen = chosen.clamp_max(len(z) - 1)
    else:
        chosen = torch.rand_like(z).argsort(0)
    return z.gather(0, chosen)
