"""The Laplace approximation of the posterior over weights, at the end of training."""

from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor
from torch.autograd.functional import hessian
from torch.distributions import biject_to, constraints

from pvae.data.batches import Batches
from pvae.distributions.elements import element_support
from pvae.objectives.counting import settled
from pvae.seeds import seeded
from pvae.vae import VAE
from pvae.weights.objective import WithWeights
from pvae.weights.weights import Weights, substituted, unpacked

DRAWS = 1000  # of the prior, for standard deviations that are not known
FLAT = 0.5  # curvature in that of the prior below which a direction is named


def approximate(vae: VAE, objective: WithWeights, train: Batches, seed: int) -> str | None:
    r"""Set the covariance of a Laplace approximation to the inverse Hessian of the loss.

    .. math::
        q(w) = N(\hat w, H^{-1}), \qquad
        H = -\nabla^2 \Big[\sum_n ELBO_n(w) + \lambda \log p(w)\Big] \text{ at } \hat w

    (MacKay 1992, with the ELBO in place of the likelihood, by one draw of z for each datum). The
    loss of a network is not convex. In units of the prior's standard deviations, directions in
    which H is below :math:`\lambda`, the curvature of a normal prior, get that: the data do not
    make weights less certain than the prior.

    Args:
        vae: the VAE, with its kept weights.
        objective: the training objective, of the latents and of the weights.
        train: the minibatches of the train part.
        seed: of the draws.

    Returns:
        A sentence on such directions, ``None`` if there are none.
    """
    weights, guide = objective.weights, objective.weights.guide
    centre: Any = guide.loc.detach()

    def loss(latent: Tensor, *batch: Tensor) -> Tensor:
        with substituted(vae, weights.at(unpacked(guide, latent))):
            return objective.objective.differentiable_loss(vae.model, vae.guide, *batch)

    order = torch.arange(len(train.part))
    weights.fixed = True  # at what is substituted
    try:
        with seeded(seed, vae.device), pyro.validation_enabled(False), settled(objective):
            scale = _prior_scale(weights)
            total = -weights.kl_weight * hessian(lambda u: _log_prior(weights, u), centre)
            for batch in train.arguments(order, seed=seed):
                total = total + hessian(lambda latent, batch=batch: loss(latent, *batch), centre)
    finally:
        weights.fixed = False
    with torch.no_grad():
        values, vectors = torch.linalg.eigh(scale.unsqueeze(-1) * total * scale)
        kept = values.clamp_min(weights.kl_weight)
        weights.factor.copy_(scale.unsqueeze(-1) * vectors / kept.sqrt())
        weights.center(vae)
    flat = int((values < FLAT * weights.kl_weight).sum())
    if not flat:
        return None
    return (
        f"In {flat:,} of {len(values):,} directions of the weights the loss curves less than the "
        "prior does: the Laplace approximation has the prior's width there."
    )


def _prior_scale(weights: Weights) -> Tensor:
    """The standard deviation of each unconstrained latent under the prior."""
    with poutine.block():
        nodes: dict[str, Any] = dict(poutine.trace(weights.model).get_trace().nodes)
    scales = []
    for site, _ in weights.guide._unpack_latent(weights.guide.loc.detach()):
        p, transform = nodes[site["name"]]["fn"], biject_to(site["fn"].support)
        exact = element_support(p.support) is constraints.real and bool(p.stddev.isfinite().all())
        draws = transform.inv(p.sample(torch.Size([DRAWS])))
        scales.append((p.stddev if exact else draws.std(0)).flatten())
    return torch.cat(scales)


def _log_prior(weights: Weights, latent: Tensor) -> Tensor:
    """log p(w) of unconstrained latents, with the Jacobian of their transformation."""
    total, values = latent.new_zeros(()), {}
    for site, u in weights.guide._unpack_latent(latent):
        transform = biject_to(site["fn"].support)
        values[site["name"]] = transform(u)
        total = total + transform.log_abs_det_jacobian(u, values[site["name"]]).sum()
    with poutine.block():
        conditioned = poutine.condition(weights.model, data=values)
        return total + poutine.trace(conditioned).get_trace().log_prob_sum()
