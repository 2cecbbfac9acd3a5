"""An objective for uncertain weights, which other objectives are given."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from pyro import poutine
from pyro.infer import ELBO
from pyro.poutine import Trace
from torch import Tensor
from torch.distributions import biject_to, constraints, kl_divergence

from pvae.distributions.elements import element_support
from pvae.objectives.counting import nested
from pvae.objectives.wrapper import Wrapper
from pvae.weights.weights import Weights


class WithWeights(Wrapper):
    r"""An objective of the latents of each datum, given weights, with the KL of the weights.

    .. math::
        E_{q(w)} [L_B(w)] + \lambda \frac{B}{N} KL(q(w) \,\|\, p(w))

    for the loss :math:`L_B` of a minibatch of B data given the weights, any objective of pvae or
    Pyro. Weights are drawn once for a minibatch, and not once for a particle. If -L is a bound of
    log p(x|w), as the ELBO and the importance-weighted bounds are, and :math:`\lambda \ge 1`, then
    -loss over all data is a bound of their log p(x): that given w is taken before the mean over w
    (Jensen's inequality). With a smaller ``kl_weight`` of `Weights` it is none. Beta, free bits and
    warm-ups weigh the KL of the latents and not that of the weights, which is in closed form for
    `AutoNormal` and a `Normal` prior. For others log q(w) is an entropy if the posterior has one.

    `pvae.fit` applies it to a VAE with uncertain weights.

    Args:
        objective: any Pyro ELBO.
        weights: the weights of the VAE.

    Raises:
        TypeError: if the objective is not an instance of a Pyro ELBO.

    Example:
        >>> import pvae, pyro, torch
        >>> from pvae.weights import Weights, WithWeights
        >>> vae = pvae.build((1, 8, 8), latent_dim=2, weights=Weights)
        >>> objective = WithWeights(pvae.objectives.FreeBits(0.1), vae.weights)
        >>> svi = pyro.infer.SVI(vae.model, vae.guide, pyro.optim.Adam({}), objective)
        >>> loss = svi.step(torch.ones(5, 1, 8, 8))
    """

    def __init__(self, objective: ELBO, weights: Weights) -> None:
        super().__init__(objective)
        self.weights = weights
        *_, inner = nested(self.objective)
        if inner.num_particles > 1:  # each goes back through the same draw of the weights
            inner.retain_graph = True

    def __deepcopy__(self, memo: dict) -> "WithWeights":
        # The weights are those of the VAE, which is not copied.
        return type(self)(copy.deepcopy(self.objective, memo), self.weights)

    def _programs(self, model: Callable, guide: Callable, args: tuple) -> tuple[Callable, Callable]:
        return self._given(model, guide, args)[0]

    def _given(
        self, model: Callable, guide: Callable, args: tuple
    ) -> tuple[tuple[Callable, Callable], Tensor]:
        """Draw weights; return the programs given them, and the KL of the weights."""
        n = len(args[0])
        q = poutine.trace(partial(self.weights.sites, n)).get_trace()
        p = poutine.trace(poutine.replay(partial(self.weights.model, n), trace=q)).get_trace()
        names = [*q.stochastic_nodes, *p.stochastic_nodes]
        programs = (
            poutine.block(poutine.replay(program, trace=q), hide=names)
            for program in (model, guide)
        )
        model, guide = programs
        divergence = kl(q, p)
        if self.weights.samples:
            divergence = divergence - _log_jacobian(p)
        return (model, guide), self.weights.share(n) * divergence

    def differentiable_loss(
        self, model: Callable, guide: Callable, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Estimate the loss, as a differentiable tensor."""
        programs, divergence = self._given(model, guide, args)
        return self.objective.differentiable_loss(*programs, *args, **kwargs) + divergence

    def loss(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> float:
        """Estimate the loss."""
        with torch.no_grad():
            programs, divergence = self._given(model, guide, args)
        return self.objective.loss(*programs, *args, **kwargs) + divergence.item()

    def loss_and_grads(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> float:
        """Estimate the loss, and accumulate its gradients."""
        programs, divergence = self._given(model, guide, args)
        if divergence.requires_grad:
            divergence.backward(retain_graph=True)  # the draw is the loss's as well
        return self.objective.loss_and_grads(*programs, *args, **kwargs) + divergence.item()


def kl(q: Trace, p: Trace) -> Tensor:
    """An estimate of KL(q(w) || p(w)) from traces of both programs, unscaled."""
    terms: list[Tensor] = []
    nodes: dict[str, Any] = dict(q.nodes)
    for name in p.stochastic_nodes:
        prior: Any = p.nodes[name]
        latent = nodes.get(f"{name}_unconstrained")
        try:
            if latent is None or element_support(prior["fn"].support) is not constraints.real:
                raise NotImplementedError
            terms.append(kl_divergence(latent["fn"], prior["fn"]))
            del nodes[name], nodes[f"{name}_unconstrained"]
        except NotImplementedError:
            terms.append(-prior["fn"].log_prob(prior["value"]))
    for site in nodes.values():
        if site["type"] != "sample":
            continue
        try:
            terms.append(-site["fn"].entropy() if site["infer"].get("is_auxiliary") else _log(site))
        except NotImplementedError:
            terms.append(_log(site))
    return torch.stack([term.sum() for term in terms]).sum()


def _log_jacobian(p: Trace) -> Tensor:
    """log abs det dw/du of the unconstrained weights u, which a sampler moves."""
    terms = []
    for name in p.stochastic_nodes:
        site: Any = p.nodes[name]
        transform, value = biject_to(site["fn"].support), site["value"]
        terms.append(transform.log_abs_det_jacobian(transform.inv(value), value).sum())
    return torch.stack(terms).sum()


def _log(site: Any) -> Tensor:
    return site["fn"].log_prob(site["value"])
