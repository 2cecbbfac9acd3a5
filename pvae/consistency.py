"""Checks that the parts of a VAE match in event shape and support."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Size, Tensor, nn

from pvae.distributions.elements import element_support
from pvae.distributions.normal_chain import NormalChain
from pvae.distributions.poincare_ball import PoincareBall
from pvae.interfaces import option
from pvae.labels import Labels
from pvae.messages import brief, kind_of, shown
from pvae.networks.shapes import more_channels
from pvae.seeds import seeded

PARTS = ("prior", "likelihood", "posterior")


def check_parts(prior: object, likelihood: object, posterior: object) -> None:
    """Raise unless each part is a module.

    Raises:
        TypeError: if one is not, such as a class or a distribution.
    """
    for name, part in zip(PARTS, (prior, likelihood, posterior), strict=True):
        if not isinstance(part, nn.Module):
            raise TypeError(
                f"{name} is {kind_of(part)}: it must be a torch.nn.Module whose forward returns a "
                "distribution."
            )


def event_shapes(
    prior: nn.Module,
    likelihood: nn.Module,
    posterior: nn.Module,
    label_sizes: Mapping[str, int],
    like: Tensor,
) -> tuple[Size, Size]:
    """Pass values through the parts, so that a mismatch raises before training.

    Args:
        prior: p(z).
        likelihood: p(x|z).
        posterior: q(z|x).
        label_sizes: the length of the label vector that each part sees, by its name; 0
            for a part that sees none.
        like: a tensor of the parts' dtype, on their device.

    Returns:
        The event shapes of x and of z.

    Raises:
        ValueError: if a part fails on the event shape of another, or prior and posterior are over
            different z.
    """
    zeros = {"dtype": like.dtype, "device": like.device}
    if label_sizes["prior"]:
        p = _distribution("prior(y)", prior, Size([label_sizes["prior"]]), zeros, "y")
    else:
        p = prior()
    z_shape = Size(more_channels(p.event_shape, label_sizes["likelihood"]))
    event = _distribution("likelihood(z)", likelihood, z_shape, zeros, "the prior's z")
    x_shape = Size(more_channels(event.event_shape, label_sizes["posterior"]))
    x = None
    if x_shape == event.event_shape and option(likelihood, "domain") not in ("bytes", "counts"):
        with seeded(0, like.device):
            # For posteriors that score x; zeros are bytes and counts.
            x = event.sample().to(like)
    q = _distribution("posterior(x)", posterior, x_shape, zeros, "x", x)
    check_same_events(q.event_shape, p.event_shape)
    for part, chain in ((prior, p), (posterior, q)):
        steps = event.event_shape[0]
        if isinstance(chain, NormalChain) and len(event.event_shape) == 2 and chain.steps != steps:
            raise ValueError(
                f"Sequences of {steps} steps need as many states, and {type(part).__name__} has "
                f"{chain.steps}: give latent_dim = {steps} × state_dim, and all parts the same "
                "state_dim."
            )
    with seeded(0, like.device):
        try:
            z = q.sample((50,))
        except (ValueError, TypeError) as error:  # of a posterior that follows the prior
            raise ValueError(
                f"The posterior {type(posterior).__name__} does not draw with the prior "
                f"{type(prior).__name__}: choose a pair over the same z."
            ) from error
        fit = _holds(p, z) and _holds(q, p.sample((50, *q.batch_shape)))
        # A point that begins in the ball may be moved out of it.
        if type(q) is dist.Delta and isinstance(p.support, PoincareBall):
            fit = fit and _holds(p, 100 * torch.randn_like(z))
        fit = fit and bool((_score(p, z) > -torch.inf).any())
    if not fit:
        known = ", such as with priors.UniformCodes" if option(posterior, "codes") else ""
        raise ValueError(
            f"The posterior {type(posterior).__name__} is over {_support(q)}, the prior "
            f"{type(prior).__name__} over {_support(p)}: choose a pair over the same z{known}."
        )
    # A distribution of the user's own may hold a plain tuple.
    return Size(event.event_shape), Size(p.event_shape)


def check_same_events(of_posterior: Sequence[int], of_prior: Sequence[int]) -> None:
    """Raise unless posterior and prior are over z of one event shape.

    Raises:
        ValueError: if they are not.
    """
    if tuple(of_posterior) != tuple(of_prior):
        raise ValueError(
            f"The posterior is over z of event shape {tuple(of_posterior)}, the prior over z of "
            f"event shape {tuple(of_prior)}: they must be equal."
        )


def check_conditional(conditional: Collection[str], labels: Labels | None) -> None:
    """Raise unless conditional names parts, at least one if there are labels.

    Raises:
        ValueError: if it does not.
    """
    if not set(conditional) <= set(PARTS) or (labels is not None and not conditional):
        raise ValueError(
            f"conditional is {shown(conditional)}: it must name parts that see the labels, of "
            f"{', '.join(PARTS)}."
        )


def check_classifier(
    classifier: object, labels: Labels | None, event_shape: Size, like: Tensor
) -> None:
    """Raise unless a classifier, if there is one, returns probabilities of the classes of labels.

    Args:
        classifier: q(y|x), or ``None``.
        labels: the kind of labels; ``None`` for a VAE without.
        event_shape: the event shape of x.
        like: a tensor of the parts' dtype, on their device.

    Raises:
        TypeError: if it is not a module.
        ValueError: if there are no labels, they are continuous, or of other classes.
    """
    if classifier is None:
        return
    if not isinstance(classifier, nn.Module):
        raise TypeError(
            f"classifier is {kind_of(classifier)}: it must be a torch.nn.Module whose forward "
            "returns a Categorical distribution."
        )
    if labels is None:
        raise ValueError(
            "A classifier needs labels, and a part that sees them: give conditional and classes."
        )
    if labels.classes is None:
        raise ValueError(
            "A classifier needs labels that are classes, and these are continuous: leave it out, "
            "or give classes."
        )
    zeros = {"dtype": like.dtype, "device": like.device}
    q = _distribution("classifier(x)", classifier, event_shape, zeros, "x")
    if not isinstance(q, dist.Categorical) or q.logits.shape != (2, labels.size):
        kind = f"{type(q).__name__} of shape {tuple(q.batch_shape)}"
        raise ValueError(
            f"The classifier returns a {kind} for 2 data: expected a Categorical over "
            f"{labels.size} classes for each."
        )


def _distribution(
    call: str,
    part: nn.Module,
    in_shape: Size,
    zeros: dict[str, Any],
    given: str,
    value: Tensor | None = None,
) -> dist.TorchDistribution:
    """The distribution that a part returns for zeros of this shape, or another value."""
    try:
        p = part(torch.zeros(2, *in_shape, **zeros) if value is None else value)
        p.event_shape  # noqa: B018  (raises for anything but a distribution)
        return p
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{call} fails on {given} of shape {(2, *in_shape)}: {brief(error, 150)}"
        ) from error


def _holds(p: dist.TorchDistribution, z: Tensor) -> bool:
    """Whether samples of another distribution lie in the support of this one."""
    try:
        return p.support is None or bool(p.support.check(z).all())
    except NotImplementedError:  # the support is not declared
        return True


def _score(p: dist.TorchDistribution, z: Tensor) -> Tensor:
    try:
        return p.log_prob(z)
    except NotImplementedError as error:
        raise ValueError(
            f"The prior cannot score samples of the posterior: {brief(error, 150)}"
        ) from error


def _support(p: dist.TorchDistribution) -> str:
    support = element_support(p.support)
    name = type(support).__name__.lstrip("_")
    return "real numbers" if name in ("Real", "RealVector") else str(support)
