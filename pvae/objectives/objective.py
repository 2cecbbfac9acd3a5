"""Base class of objectives: a loss from one trace of the two programs."""

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from pyro.distributions.util import scale_and_mask
from pyro.infer import ELBO
from pyro.infer.enum import get_importance_trace
from pyro.infer.util import is_validation_enabled
from pyro.poutine import Trace
from pyro.util import check_if_enumerated, warn_if_nan
from torch import Tensor
from torch.distributions import Distribution, Independent, kl_divergence

from pvae.distributions.elements import elements


class Objective(ELBO):
    """Base class of objectives that take one trace of model and guide, with a dimension for draws.

    A subclass defines the loss in `_loss`. Its value is reported, in nats summed over the
    data, and its gradient is that of the step.

    Args:
        num_particles: draws of the latents for each datum; more than one are a plate to the left
            of all others.

    Attributes:
        warms_up: whether `pvae.fit` may warm up its KL, see `pvae.objectives.Warmup`; the loss must
            then take log p(z) and log q(z|x) as the traces have them, with their scale.
    """

    warms_up = True

    def __init__(self, num_particles: int = 1) -> None:
        super().__init__(num_particles=num_particles, vectorize_particles=num_particles > 1)

    @abstractmethod
    def _loss(self, model_trace: Trace, guide_trace: Trace) -> Tensor:
        """Return the loss of a trace, one number."""

    def _get_trace(
        self, model: Callable, guide: Callable, args: tuple, kwargs: dict
    ) -> tuple[Trace, Trace]:
        model_trace, guide_trace = get_importance_trace(
            "flat", self.max_plate_nesting, model, guide, args, kwargs
        )
        _check_per_datum(self, model_trace)
        if is_validation_enabled():
            check_if_enumerated(guide_trace)
        return model_trace, guide_trace

    def _guess_max_plate_nesting(self, *programs: Any) -> None:
        with quiet():
            super()._guess_max_plate_nesting(*programs)

    def differentiable_loss(
        self, model: Callable, guide: Callable, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Estimate the loss, as a differentiable tensor."""
        (traces,) = self._get_traces(model, guide, args, kwargs)
        return self._loss(*traces)

    def loss(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> float:
        """Estimate the loss."""
        with torch.no_grad():
            return _number(self.differentiable_loss(model, guide, *args, **kwargs))

    def loss_and_grads(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> float:
        """Estimate the loss, and accumulate its gradients."""
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        if loss.requires_grad:
            loss.backward()
        return _number(loss)


def _number(loss: Tensor) -> float:
    """A loss as a number, with Pyro's warning where it is nan."""
    number: Any = loss.item()  # to a type checker a float is no numbers.Number
    warn_if_nan(number, "loss")
    return number


def _check_per_datum(objective: ELBO, model_trace: Trace) -> None:
    """Raise if a latent is outside of the plate of the data, as weights are."""
    nodes: Mapping[str, Any] = model_trace.nodes
    sites = [site for site in nodes.values() if site["type"] == "sample"]
    if any(site["is_observed"] and site["cond_indep_stack"] for site in sites):
        for site in sites:
            if not site["is_observed"] and not site["cond_indep_stack"]:
                raise ValueError(
                    f"{type(objective).__name__} would take the weights {site['name']} for latents "
                    "of each datum: train with pvae.fit, or "
                    "pvae.weights.WithWeights(objective, vae.weights)."
                )


def latents(model_trace: Trace, guide_trace: Trace) -> list[tuple[dict, dict]]:
    """The latent sites, as pairs from guide and model.

    Raises:
        ValueError: if the draws of one carry no gradient.
    """
    q_nodes: Mapping[str, Any] = guide_trace.nodes
    p_nodes: Mapping[str, Any] = model_trace.nodes
    sites = [s for s in q_nodes.values() if s["type"] == "sample"]
    for site in sites:
        check_reparameterized(site)
    return [(site, p_nodes[site["name"]]) for site in sites]


def check_reparameterized(q: dict) -> None:
    """Raise if the draws of a latent carry no gradient."""
    if not q["fn"].has_rsample:
        raise ValueError(
            f"The draws of {q['name']!r} from a posterior of type {name_of(q['fn'])} carry no "
            "gradient (has_rsample is False), which this objective needs: choose another "
            "posterior, or Trace_ELBO or ImportanceWeighted with gradient='plain'."
        )


def log_likelihood(model_trace: Trace) -> Tensor:
    """log p(x|z), summed over the data."""
    sites = (s for s in model_trace.nodes.values() if s["type"] == "sample")
    # No data at all make a 0 that is no tensor, which the arithmetic of objectives takes as well.
    return cast(Tensor, sum(site["log_prob_sum"] for site in sites if site["is_observed"]))


def kl(q: dict, p: dict) -> Tensor:
    """`divergence` with the scale and the mask of the site."""
    return weighted(q, divergence(q, p))


def divergence(q: dict, p: dict) -> Tensor:
    """KL(q(z|x) || p(z)) of a latent site for each datum, before it is weighted.

    It is in closed form where torch has one for the pair, else log q(z|x) − log p(z) at the draw.
    """
    try:
        return kl_divergence(q["fn"], p["fn"])
    except NotImplementedError:
        return q["unscaled_log_prob"] - p["unscaled_log_prob"]


def weighted(site: dict, values: Tensor) -> Tensor:
    """Values of each datum with the scale and the mask of its site."""
    return scale_and_mask(values, scale=site["scale"], mask=site["mask"])


def weights(site: dict) -> Tensor:
    """The weight of each datum by the scale and the mask of a site, shape (n,)."""
    return weighted(site, torch.ones_like(site["log_prob"])).reshape(-1)


def shares(site: dict) -> Tensor:
    """The share of each datum in the weight of all, shape (n,); equal if none has a weight."""
    each = weights(site)
    each = torch.where(each.sum() > 0, each, torch.ones_like(each))
    return each / each.sum()


def weighs_each(site: dict) -> bool:
    """Whether a site has a scale or a mask for each datum, and not one for all."""
    both = site["scale"], site["mask"]
    return any(torch.is_tensor(value) and value.numel() > 1 for value in both)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Pyro from logging the number of plates, at level INFO."""
    logger = logging.getLogger(ELBO.__module__)
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def factor(p: Distribution) -> Distribution | None:
    """The distribution of the factors of a product of independent ones; ``None`` for others."""
    return elements(p) if isinstance(p, Independent) else None


def name_of(p: Distribution) -> str:
    """The name of a distribution, for messages."""
    return type(factor(p) or p).__name__


def rows(sites: list[dict], key: str = "value") -> Tensor:
    """The latents of all sites, concatenated: a row for each datum, shape (n, d)."""
    return torch.cat([s[key].reshape(-1, s["fn"].event_shape.numel()) for s in sites], dim=-1)


def with_gradient_of(value: Tensor, surrogate: Tensor) -> Tensor:
    """A value with the gradient of a surrogate."""
    return value.detach() + (surrogate - surrogate.detach())
