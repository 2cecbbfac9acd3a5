"""The importance-weighted bound."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from pyro.distributions.util import is_identically_zero
from pyro.infer.util import get_dependent_plate_dims, torch_sum
from pyro.poutine import Trace
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pvae.checks import check_size
from pvae.messages import shown
from pvae.objectives.objective import (
    Objective,
    check_reparameterized,
    with_gradient_of,
)

GRADIENTS = ("plain", "stl", "dreg")


class ImportanceWeighted(Objective):
    r"""The bound of the importance-weighted autoencoder, IWAE (Burda, Grosse, Salakhutdinov 2016).

    .. math::
        E_{z_1, \ldots, z_K \sim q(z|x)} \log \frac{1}{K} \sum_{k=1}^K w_k,
        \qquad w_k = \frac{p(x, z_k)}{q(z_k|x)}

    K = 1 is the ELBO; the bound rises with K to log p(x). The K draws are one dimension of the
    programs, not a loop.

    There are three kinds of gradient. They agree for the parameters of the model, and differ in
    those of the posterior, with :math:`\tilde w_k = w_k / \sum_j w_j`:

    =========  ================================================================================
    gradient   of the posterior's parameters phi
    =========  ================================================================================
    ``plain``  that of the bound. Its signal-to-noise ratio falls as K grows (Rainforth et al.
               2018). If draws are not reparameterized, by the score function, with a baseline from
               the other draws (Mnih and Rezende 2016).
    ``stl``    :math:`\sum_k \tilde w_k \frac{\partial \log w_k}{\partial z_k}
               \frac{d z_k}{d\phi}`, "sticking the landing" (Roeder, Wu, Duvenaud 2017): zero
               where q is the exact posterior. Unbiased for K = 1 only.
    ``dreg``   the same with :math:`\tilde w_k^2`, doubly reparameterized (Tucker et al. 2019):
               unbiased for every K, and also zero there.
    =========  ================================================================================

    The last two score a copy of z. So they need draws that carry gradients, and a density that can
    be evaluated anywhere: not planar flows, which can score only their own draws.

    Args:
        num_samples: draws K for each datum.
        gradient: ``"plain"``, ``"stl"`` or ``"dreg"``.

    Raises:
        ValueError: if num_samples is below 1, or the gradient unknown; and from a step with
            ``stl`` or ``dreg``, if the posterior allows neither.

    Example:
        >>> import pvae, pyro, torch
        >>> from pvae.objectives import ImportanceWeighted
        >>> vae = pvae.build((1, 8, 8), latent_dim=2)
        >>> objective = ImportanceWeighted(num_samples=10, gradient="dreg")
        >>> svi = pyro.infer.SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-3}), objective)
        >>> loss = svi.step(torch.ones(5, 1, 8, 8))
    """

    weighs_data = "site"
    num_bounds = 1  # the average of how many bounds, as in MIWAE
    beta = 0.0  # the share of the ELBO, as in CIWAE

    def __init__(self, num_samples: int = 5, gradient: str = "plain") -> None:
        check_size("num_samples", num_samples)
        if gradient not in GRADIENTS:
            raise ValueError(
                f"gradient is {shown(gradient)}: it must be one of "
                f"{', '.join(map(repr, GRADIENTS))}."
            )
        super().__init__(num_particles=self.num_bounds * num_samples)
        self.num_samples = num_samples
        self.gradient = gradient

    @property
    def _separate(self) -> bool:
        """Whether the gradients of model and posterior are of different quantities."""
        return self.gradient != "plain"

    def _get_trace(
        self, model: Callable, guide: Callable, args: tuple, kwargs: dict
    ) -> tuple[Trace, Trace]:
        if not (self._separate and torch.is_grad_enabled()):
            return super()._get_trace(model, guide, args, kwargs)
        try:
            return super()._get_trace(model, _Cut()(guide), args, kwargs)
        except (KeyError, NotImplementedError) as error:
            raise ValueError(
                f"{type(self).__name__} with gradient={self.gradient!r} scores a copy of the draw, "
                f"which these programs cannot do ({error}): choose a posterior with an inverse, or "
                "ImportanceWeighted or MIWAE with gradient='plain'."
            ) from error

    def _loss(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        dims = get_dependent_plate_dims(model_trace.nodes.values())
        sites: list[Any] = [s for s in guide_trace.nodes.values() if s["type"] == "sample"]
        # Unknown labels have all classes as one more dimension, with weights.
        weights = [s["data_weight"] for s in sites if "data_weight" in s]
        sites = [site for site in sites if "data_weight" not in site]
        arrange = partial(self._arranged, classes=bool(weights))
        log_p, log_q = (arrange(self._log_prob(t, dims)) for t in (model_trace, guide_trace))
        log_w = log_p - log_q  # (num_bounds, num_samples, *plates)
        bound = self._bound(log_w)
        weight = weights[0].reshape(bound.shape) if weights else torch.ones_like(bound)
        bound = (weight * bound).sum()
        if not torch.is_grad_enabled():
            return -bound
        if self._separate:
            surrogate = self._surrogate(log_p, log_q, weight.detach(), sites)
            surrogate = surrogate + (weight * self._bound(log_w).detach()).sum()
        else:
            scores = [site["score_parts"].score_function for site in sites]
            scores = [score for score in scores if not is_identically_zero(score)]
            if not scores:
                return -bound
            score = arrange(sum(torch_sum(score, dims) for score in scores))
            signal = weight.detach() * self._signal(log_w.detach())
            surrogate = bound + (signal * score).sum()
        return -with_gradient_of(bound, surrogate)

    def _log_prob(self, trace: Trace, dims: list[int]) -> Tensor:
        sites = [s for s in trace.nodes.values() if s["type"] == "sample"]
        return cast(Tensor, sum(torch_sum(site["log_prob"], dims) for site in sites))

    def _arranged(self, log_prob: Tensor, classes: bool) -> Tensor:
        """A sum of log-probabilities in shape (num_bounds, num_samples, *plates)."""
        if self.num_particles > 1 and classes and log_prob.dim() > 2:
            log_prob = log_prob.movedim(0, 1)
        plates = log_prob.shape if self.num_particles == 1 else log_prob.shape[1:]
        return log_prob.reshape(self.num_bounds, self.num_samples, *plates)

    def _bounds(self, log_w: Tensor, dim: int) -> Tensor:
        """The bound from the log-weights along a dimension."""
        bounds = log_w.logsumexp(dim) - math.log(self.num_samples)
        return torch.lerp(bounds, log_w.mean(dim), self.beta) if self.beta else bounds

    def _bound(self, log_w: Tensor) -> Tensor:
        """The bound of each datum, from log-weights of shape (num_bounds, num_samples, ...)."""
        return self._bounds(log_w, dim=1).mean(0)

    # Gradients ---------------------------------------------------------------------------------

    def _surrogate(self, log_p: Tensor, log_q: Tensor, weight: Tensor, sites: list[dict]) -> Tensor:
        """A surrogate with the gradient of the bound; log p and log q are detached from draws."""
        log_w = log_p - log_q
        shares = weight * self._shares(log_w.detach())
        along = shares
        if self.gradient == "dreg":
            # The exponent follows the weight of log q(z|x), which is below 1 in a warm-up.
            squares = weight * self._shares(log_w.detach(), power=2)
            along = shares + sites[0].get("kl_weight", 1.0) * (squares - shares)
        surrogate = (weight * self._model_shares(log_w.detach()) * log_p).sum()
        surrogate = surrogate + _through_draws((along * log_w).sum(), sites)
        return surrogate - (shares * log_q).sum() if self.gradient == "plain" else surrogate

    def _shares(self, log_w: Tensor, power: int = 1) -> Tensor:
        """The weights of the draws in the bound's gradient, for DReG squared."""
        shares = log_w.softmax(1) ** power
        if self.beta:
            shares = torch.lerp(shares, torch.full_like(shares, 1 / self.num_samples), self.beta)
        return shares / self.num_bounds

    def _model_shares(self, log_w: Tensor) -> Tensor:
        return self._shares(log_w)

    def _signal(self, log_w: Tensor) -> Tensor:
        """The difference of the bound with and without each draw."""
        bounds = self._bounds(log_w, dim=1).unsqueeze(1)
        if self.num_samples > 1:
            others = (log_w.sum(1, keepdim=True) - log_w) / (self.num_samples - 1)
            own = torch.eye(self.num_samples, dtype=torch.bool, device=log_w.device)
            own = own.reshape(*own.shape, *(1,) * (log_w.dim() - 2))
            swapped = torch.where(own, others.unsqueeze(2), log_w.unsqueeze(1))
            bounds = bounds - self._bounds(swapped, dim=2)
        return bounds.expand_as(log_w) / self.num_bounds


class _Cut(Messenger):
    """Replace each draw by a copy for all later computations, so that its gradient is separate."""

    def _pyro_sample(self, msg: Any) -> None:
        if msg["is_observed"] or site_is_subsample(msg) or msg["value"] is not None:
            return
        check_reparameterized(msg)
        msg["drawn"] = msg["fn"]()
        msg["value"] = msg["drawn"].detach().requires_grad_()
        msg["done"] = True


def _through_draws(number: Tensor, sites: list[dict]) -> Tensor:
    """A surrogate with the gradient of a value through the draws only."""
    copies = [site["value"] for site in sites]
    gradients = list(torch.autograd.grad(number, copies, retain_graph=True))
    total = torch.zeros_like(number)
    for i in reversed(range(len(sites))):
        along = (gradients[i] * sites[i]["drawn"]).sum()
        if i and along.requires_grad:  # a draw may depend on those before it
            before = torch.autograd.grad(
                along, copies[:i], retain_graph=True, allow_unused=True, materialize_grads=True
            )
            gradients[:i] = [g + more for g, more in zip(gradients[:i], before, strict=True)]
        total = total + along
    return total
