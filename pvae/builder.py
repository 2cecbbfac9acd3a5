"""Build a VAE from an event shape and factories of its parts."""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from pyro.optim import PyroOptim
from torch import nn
from torch.distributions import Distribution

from pvae.annotations import Shape
from pvae.checks import check_shape, check_size
from pvae.interfaces import option
from pvae.labels import Labels
from pvae.likelihoods.bernoulli import Bernoulli
from pvae.messages import kind_of, shown
from pvae.networks.mlp import MLP
from pvae.networks.shapes import more_channels
from pvae.posteriors.diagonal_normal import DiagonalNormal
from pvae.priors.standard_normal import StandardNormal
from pvae.seeds import seeded
from pvae.vae import PARTS, VAE
from pvae.weights.weights import Weights, own_less

DROPOUT = {"counts": 0.3}  # of an MLP, by the domain of the likelihood


def build(
    event_shape: Shape,
    latent_dim: int,
    prior: Callable[[int], nn.Module] = StandardNormal,
    likelihood: Callable[..., nn.Module] = Bernoulli,
    posterior: Callable[..., nn.Module] = DiagonalNormal,
    network: Callable[[Shape, Shape], nn.Module] = MLP,
    conditional: bool | Sequence[str] = False,
    classes: int | None = None,
    label_dim: int | None = None,
    classifier: Callable[..., nn.Module] | None = None,
    class_prior: Literal["uniform", "learned"] = "uniform",
    seed: int | None = 0,
    weights: Callable[[VAE], nn.Module] | None = None,
) -> VAE:
    """Build a VAE: make its parts in matching sizes.

    Each part is a factory: a class, or a `functools.partial` that sets some of its arguments. A
    VAE made of such factories can be rebuilt from its run folder.

    Args:
        event_shape: shape of one datum, such as (1, 28, 28).
        latent_dim: the number of latents.
        prior: called as ``prior(latent_dim)``.
        likelihood: called as ``likelihood(latent_dim, event_shape, network=network)``.
        posterior: called as ``posterior(event_shape, latent_dim, network=network)``.
        network: called as ``network(in_shape, out_shape)``, once for the encoder and once for the
            decoder. A likelihood or posterior whose factory sets a network of its own keeps it.
            An `MLP` whose dropout is not set gets 0.3 for a likelihood of counts, which it would
            overfit, and 0 otherwise (measured by results/defaults.py).
        conditional: the parts that see labels: ``"prior"``, ``"likelihood"``, ``"posterior"``;
            ``True`` for the last two, ``False`` for a VAE without labels. A prior that sees labels
            is one of `pvae.posteriors`, called as ``prior((size,), latent_dim)`` with the length
            of the label vector; the standard normal, which cannot depend on anything, becomes
            a `DiagonalNormal`.
        classes: the number of classes, if labels are classes.
        label_dim: the number of values in a label, if labels are continuous.
        classifier: q(y|x), if labels are classes that may be unknown, such as
            `pvae.classifiers.Softmax`; called as ``classifier(event_shape, classes,
            network=network)``.
        class_prior: p(y) with a classifier: ``"uniform"``, or ``"learned"`` as for clusters.
        seed: of the initial weights, independent of torch's random state, which is restored.
            ``None`` draws them from that state instead. `pvae.fit` takes a seed for training; the
            command line passes the same seed to both.
        weights: a distribution over the weights of some parts: `pvae.weights.Weights`, or a
            `functools.partial` of it; ``None`` for weights that are parameters.

    Returns:
        The VAE; its ``arguments`` are those of this call.

    Raises:
        TypeError: if a factory is not callable, such as a name, or fails when it is called
            as above, or does not make a module.
        ValueError: if a size is below 1, or parts and networks do not fit.

    Example:
        >>> from functools import partial
        >>> import pvae
        >>> vae = pvae.build(
        ...     (1, 28, 20),
        ...     latent_dim=2,
        ...     likelihood=partial(pvae.likelihoods.Gaussian, scale="learned"),
        ...     network=partial(pvae.networks.Conv, channels=[16, 32]),
        ... )
        >>> vae.sample(3).shape
        torch.Size([3, 1, 28, 20])
    """
    event_shape = check_shape("event_shape", event_shape)
    check_size("latent_dim", latent_dim)
    factories = {"prior": prior, "likelihood": likelihood, "posterior": posterior}
    for name, factory in (factories | {"network": network}).items():
        check_factory(name, factory)
    network = _suited(network, likelihood)
    if classifier is not None:
        check_factory("classifier", classifier)
    if class_prior not in ("uniform", "learned") or (class_prior, classifier) == ("learned", None):
        raise ValueError(
            f"class_prior is {shown(class_prior)}: it must be 'uniform' or, with a classifier, "
            "'learned'."
        )
    if isinstance(conditional, str):
        conditional = [conditional]
    if not isinstance(conditional, bool | Sequence):
        raise TypeError(
            f"conditional is {shown(conditional)}: it must be True, False or a list of parts."
        )
    seen = ("likelihood", "posterior") if conditional is True else tuple(conditional or ())
    if bool(seen) != (classes is not None or label_dim is not None):
        raise ValueError(
            "A conditional VAE needs labels, and labels a part that sees them: give conditional "
            "together with classes or label_dim."
        )
    if classifier is not None and classes is None:
        raise ValueError(
            "A classifier needs labels that are classes, and a part that sees them: give "
            "conditional and classes with it."
        )
    labels = Labels(classes, label_dim, class_prior == "learned") if seen else None
    size = {part: labels.size if labels is not None and part in seen else 0 for part in PARTS}
    z_size = latent_dim + size["likelihood"]
    x_shape = more_channels(event_shape, size["posterior"])
    with seeded(seed, torch.get_default_device()):
        vae = VAE(
            _prior_given(prior, size["prior"], latent_dim)
            if "prior" in seen
            else _make("prior", prior, latent_dim),
            _make("likelihood", likelihood, z_size, event_shape, network=network),
            _make("posterior", posterior, x_shape, latent_dim, network=network),
            labels,
            seen or ("likelihood", "posterior"),
            None
            if classifier is None
            else _make("classifier", classifier, event_shape, classes, network=network),
        )
        vae.weights = _weights_of(vae, weights)
    vae.arguments = {
        "event_shape": event_shape,
        "latent_dim": latent_dim,
        "prior": prior,
        "likelihood": likelihood,
        "posterior": posterior,
        "network": network,
        "conditional": list(seen),
        "classes": classes,
        "label_dim": label_dim,
        "classifier": classifier,
        "class_prior": class_prior,
        "seed": seed,
        "weights": _described(weights),
    }
    return vae


def _described(weights: Any) -> Any:
    """A factory of weights as a configuration names it: the command line sets every argument."""
    if not isinstance(weights, partial) or "posterior" not in weights.keywords:
        return weights
    return partial(weights, posterior=own_less(weights.keywords["posterior"]))


def _weights_of(vae: VAE, factory: Callable[[VAE], nn.Module] | None) -> Weights | None:
    """The distribution over the weights of a VAE, if it has one."""
    if factory is None:
        return None
    made = factory(vae) if callable(factory) and not isinstance(factory, nn.Module) else None
    if not isinstance(made, Weights):
        raise TypeError(
            f"weights is {kind_of(factory)}: give pvae.weights.Weights, or a functools.partial of "
            "it, to be called with the VAE."
        )
    return made


def check_factory(name: str, factory: object) -> None:
    """Raise if this cannot be a factory of modules.

    Raises:
        TypeError: if it is an object, a name, or a class of something else.
    """
    advice = f"give a class, such as those in pvae.{name}s, or a"
    if isinstance(factory, nn.Module | Distribution | PyroOptim) or not callable(factory):
        raise TypeError(f"{name} is {kind_of(factory)}: {advice} functools.partial of one.")
    cls, _ = _parts_of(factory)
    if isinstance(cls, type) and not issubclass(cls, nn.Module):
        raise TypeError(
            f"{name} is the class {cls.__name__}, which is not a torch.nn.Module: {advice} module "
            "of your own whose forward returns a distribution."
        )


def _suited(network: Callable[..., nn.Module], likelihood: Callable[..., nn.Module]) -> Callable:
    """The network, with defaults that suit the kind of data."""
    cls, given = _parts_of(network)
    kind = option(_parts_of(likelihood)[0], "domain")
    if cls is MLP and given.get("dropout") is None and kind in DROPOUT:
        return partial(network, dropout=DROPOUT[kind])
    return network


def _parts_of(factory: Any) -> tuple[Any, dict[str, Any]]:
    """The class of a factory, and the arguments that it sets."""
    return (factory.func, factory.keywords) if isinstance(factory, partial) else (factory, {})


def _make(name: str, factory: Callable[..., nn.Module], *sizes: Any, **network: Any) -> nn.Module:
    """Call the factory of a part; an error names the part."""
    sizes_shown = ", ".join(map(str, sizes))
    try:
        inspect.signature(factory).bind(*sizes)
    except TypeError as error:
        raise TypeError(
            f"The {name} {_name_of(factory)} is called with ({sizes_shown}), which it does not "
            f"take: {error}."
        ) from error
    except ValueError:  # it has no signature
        pass
    part = factory(*sizes, **_network_for(factory, **network) if network else {})
    if not isinstance(part, nn.Module):
        raise TypeError(
            f"The {name} {_name_of(factory)} makes an object of type {type(part).__name__}: it "
            "must make a torch.nn.Module whose forward returns a distribution."
        )
    return part


def _name_of(factory: Any) -> str:
    cls, _ = _parts_of(factory)
    return getattr(cls, "__name__", type(cls).__name__)


def _prior_given(prior: Callable[..., nn.Module], size: int, latent_dim: int) -> nn.Module:
    """A prior p(z|y): a module of `pvae.posteriors` that is given labels in place of data."""
    family, _ = _parts_of(prior)
    prior = DiagonalNormal if family is StandardNormal else prior
    if "event_shape" not in inspect.signature(prior).parameters:
        raise ValueError(
            f"The prior {_name_of(family)} cannot see labels: choose a family "
            "of pvae.posteriors, such as DiagonalNormal, for p(z|y)."
        )
    return prior((size,), latent_dim)


def _network_for(part: Callable[..., nn.Module], network: Any) -> dict[str, Any]:
    """The network argument of a part; empty if it sets its own or takes none."""
    if isinstance(part, partial) and part.keywords.get("network") is not None:
        return {}
    return {"network": network} if "network" in inspect.signature(part).parameters else {}
