"""The Laplace approximation of the posterior over weights, at the end of training."""

from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor
from torch.autograd.functional import hessian
from torch.distributions import biject_to

from pvae.data.batches import Batches
from pvae.objectives.counting import settled
from pvae.seeds import seeded
from pvae.vae import VAE
from pvae.weights.objective import WithWeights
from pvae.weights.weights import Weights, substituted, unpacked


def approximate(vae: VAE, objective: WithWeights, train: Batches, seed: int) -> None:
    r"""Set the covariance of a Laplace approximation to the inverse Hessian of the loss.

    .. math::
        q(w) = N(\hat w, H^{-1}), \qquad
        H = -\nabla^2 \Big[\sum_n ELBO_n(w) + \log p(w)\Big] \text{ at } \hat w

    (MacKay 1992, with the ELBO in place of the likelihood, by one draw of z for each datum). The
    loss of a network is not convex: directions of less curvature than the prior has at its least
    get that.

    Args:
        vae: the VAE, with its kept weights.
        objective: the training objective, of the latents and of the weights.
        train: the minibatches of the train part.
        seed: of the draws.
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
            prior = -hessian(lambda latent: _log_prior(weights, latent), centre)
            total = weights.kl_weight * prior
            for batch in train.arguments(order, seed=seed):
                total = total + hessian(lambda latent, batch=batch: loss(latent, *batch), centre)
    finally:
        weights.fixed = False
    with torch.no_grad():
        least = torch.linalg.eigvalsh(prior).min().clamp_min(1e-6)
        values, vectors = torch.linalg.eigh(total)
        weights.factor.copy_(vectors / values.clamp_min(least).sqrt())
        weights.center(vae)


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
