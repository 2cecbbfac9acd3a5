"""The regularized autoencoder."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from pyro.poutine import Trace
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import Distribution

from pvae.checks import check_number
from pvae.messages import shown
from pvae.moments import mean
from pvae.objectives.objective import Objective, latents, log_likelihood, weighted

Regularizer = Literal["gradient", "weights", "none"]


class RAE(Objective):
    r"""The regularized autoencoder (Ghosh et al. 2020, eq. 11): a loss, and **no bound**.

    .. math::
        E[-\log p(x|z)] + \frac{\beta}{2} \|z\|^2 + \lambda R

    per datum, for a posterior that is a point, `pvae.posteriors.Delta`. In place of the noise of
    a VAE, R makes the decoder smooth. It is the squared norm of the gradient of the decoded mean,
    estimated without bias from one direction u of N(0, I),

    .. math::
        R = \|\partial E[x|z] / \partial z\|_F^2 = E_u \|\partial\, u^T E[x|z] / \partial z\|^2,

    or that of the decoder's weights. (For the paper's third kind, give the likelihood a network
    whose layers have torch's `spectral_norm`.) The reconstruction loss of the paper, the squared
    error, is twice −log p(x|z) of a Gaussian of scale 1, up to a constant.

    The prior has no part in it: `pvae.refit_prior` fits one to the codes afterwards, such as
    a `pvae.priors.Mixture` of 10 normals, as the paper does, which makes it a generative model.
    Since q(z|x) has no density, there is no ELBO, and importance sampling refuses it; `ais`
    estimates log p(x) of the model.

    Args:
        beta: the weight of the squared length of the latents, at least 0.
        weight: lambda, at least 0.
        regularizer: ``"gradient"``; ``"weights"``, all parameters that the model registers with
            Pyro but those of the prior; or ``"none"``.

    Raises:
        ValueError: if a weight is negative or not finite, or the regularizer unknown; and from a
            step, if the mean of the likelihood carries no gradient.

    Example:
        >>> import pvae, torch
        >>> from pvae.objectives import RAE
        >>> vae = pvae.build((1, 8, 8), latent_dim=2, posterior=pvae.posteriors.Delta)
        >>> loss = RAE(beta=0.1).loss(vae.model, vae.guide, torch.ones(5, 1, 8, 8))
    """

    warms_up = False  # it has no KL
    is_bound = False

    def __init__(
        self, beta: float = 0.1, weight: float = 0.01, regularizer: Regularizer = "gradient"
    ) -> None:
        for name, value in (("beta", beta), ("weight", weight)):
            if not 0 <= check_number(name, value) < float("inf"):
                raise ValueError(f"{name} is {value}: it must be finite and at least 0.")
        if regularizer not in get_args(Regularizer):
            raise ValueError(
                f"regularizer is {shown(regularizer)}: it must be one of "
                f"{', '.join(map(repr, get_args(Regularizer)))}."
            )
        super().__init__()
        self.beta = beta
        self.weight = weight
        self.regularizer = regularizer

    def loss(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> float:
        """Estimate the loss; the gradient penalty needs gradients here as well."""
        with torch.enable_grad():
            number: Any = self.differentiable_loss(model, guide, *args, **kwargs).item()
        return number

    def _get_trace(
        self, model: Callable, guide: Callable, args: tuple, kwargs: dict
    ) -> tuple[Trace, Trace]:
        if self.regularizer == "gradient":
            guide = _WithGradient()(guide)
        return super()._get_trace(model, guide, args, kwargs)

    def _loss(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        loss = -log_likelihood(model_trace)
        sites = [q for q, _ in latents(model_trace, guide_trace)]
        loss = loss + self.beta / 2 * sum(
            weighted(q, _square(q["value"], q["fn"])).sum() for q in sites
        )
        if self.regularizer == "gradient":
            loss = loss + self.weight * _gradient_penalty(model_trace, sites)
        elif self.regularizer == "weights":
            nodes: Any = model_trace.nodes
            weights = [
                site["value"].square().sum()
                for name, site in nodes.items()
                if site["type"] == "param" and not name.startswith("prior$$$")
            ]
            # Once for each datum, however many sites it has.
            data = [
                weighted(site, torch.ones_like(site["log_prob"])).sum()
                for site in _observed(model_trace)
            ]
            loss = loss + self.weight * torch.stack(data).max() * sum(weights)
        return loss


class _WithGradient(Messenger):
    """Make latents differentiable, also those of an encoder that is not trained."""

    def _pyro_sample(self, msg: Any) -> None:
        if not msg["is_observed"] and not site_is_subsample(msg) and msg["value"] is None:
            z = msg["fn"](*msg["args"], **msg["kwargs"])
            msg["value"] = z if z.requires_grad else z.detach().requires_grad_()


def _observed(trace: Trace) -> list[Any]:
    nodes: Any = trace.nodes.values()
    return [s for s in nodes if s["type"] == "sample" and s["is_observed"]]


def _square(value: Tensor, p: Distribution) -> Tensor:
    """The squared length of each datum's value of a site."""
    square, event_dim = value.square(), len(p.event_shape)
    return square.flatten(square.dim() - event_dim).sum(-1) if event_dim else square


def _gradient_penalty(model_trace: Trace, sites: list[Any]) -> Tensor:
    """The squared norm of the gradient of E[x|z] by z, summed over the data."""
    z = [site["value"] for site in sites]
    total = torch.zeros((), dtype=z[0].dtype, device=z[0].device)
    for site in _observed(model_trace):
        decoded = mean(site["fn"])
        if not decoded.requires_grad:
            raise ValueError(
                f"The mean of {site['name']!r} carries no gradient, which the gradient penalty of "
                "RAE needs: choose another likelihood, or regularizer='weights'."
            )
        along = (decoded * torch.randn_like(decoded)).sum()
        slopes = torch.autograd.grad(along, z, create_graph=True, allow_unused=True)
        for slope, q in zip(slopes, sites, strict=True):
            if slope is not None:
                total = total + weighted(site, _square(slope, q["fn"])).sum()
    return total
