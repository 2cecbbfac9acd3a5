"""From an event shape and factories to a VAE."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from pvae.likelihoods.bernoulli import Bernoulli
from pvae.networks.mlp import MLP
from pvae.networks.shapes import Shape, check_shape, check_size
from pvae.posteriors.diagonal_normal import DiagonalNormal
from pvae.priors.standard_normal import StandardNormal
from pvae.vae import VAE


def build(
    event_shape: Shape,
    latent_dim: int,
    prior: Callable[[int], nn.Module] = StandardNormal,
    likelihood: Callable[..., nn.Module] = Bernoulli,
    posterior: Callable[..., nn.Module] = DiagonalNormal,
    network: Callable[[Shape, Shape], nn.Module] = MLP,
) -> VAE:
    """Size the parts of a VAE and connect them.

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

    Returns:
        The VAE; its ``arguments`` hold what it was built from.

    Raises:
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
    vae = VAE(
        prior(latent_dim),
        likelihood(latent_dim, event_shape, **_network_for(likelihood, network)),
        posterior(event_shape, latent_dim, **_network_for(posterior, network)),
    )
    vae.arguments = {
        "event_shape": event_shape,
        "latent_dim": latent_dim,
        "prior": prior,
        "likelihood": likelihood,
        "posterior": posterior,
        "network": network,
    }
    return vae


def _network_for(part: Callable[..., nn.Module], network: Any) -> dict[str, Any]:
    """The network argument of a part: none if it sets its own or has no use for one."""
    if isinstance(part, partial) and part.keywords.get("network") is not None:
        return {}
    return {"network": network} if "network" in inspect.signature(part).parameters else {}
