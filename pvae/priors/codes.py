"""Base class of priors over the codes of a posterior, and the uniform one."""

import pyro.distributions as dist
from torch import nn

from pvae import distributions
from pvae.checks import check_size
from pvae.consistency import check_same_event
from pvae.distributions.codes import Codes
from pvae.interfaces import option


class CodesPrior(nn.Module):
    """Base class of priors over the codes of a posterior, such as `pvae.posteriors.VQ`.

    `pvae.VAE` calls `connect` to set the posterior. Its weights are shared, not owned: they are not
    parameters of the prior.

    Args:
        latent_dim: the number of latents.

    Raises:
        ValueError: if latent_dim is below 1, or the posterior has no codes or other latents.
        RuntimeError: if it is called before it is connected.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = check_size("latent_dim", latent_dim)
        # A tuple hides the posterior from torch, and so from parameters and state_dict.
        self._posterior: tuple[nn.Module, ...] = ()

    def connect(self, posterior: nn.Module) -> None:
        """Set the posterior whose codes these are."""
        codes = option(posterior, "codes")
        name = type(self).__name__
        if codes is None:
            raise ValueError(
                f"The posterior {type(posterior).__name__} has no codes, and the prior {name} is "
                "over codes: choose a pair over the same z, such as with posteriors.VQ or FSQ."
            )
        own = (self.latent_dim,)
        check_same_event(option(posterior, "event_shape") or own, own)
        self._posterior = (posterior,)

    @property
    def codes(self) -> Codes:
        """The space of the codes."""
        if not self._posterior:
            name = type(self).__name__
            raise RuntimeError(f"A {name} is over codes of a posterior: connect(posterior) it.")
        return option(self._posterior[0], "codes")


class UniformCodes(CodesPrior):
    r"""Codes that are all equally likely, at every position.

    .. math::
        p(z) = K^{-P}

    for K codes and P positions of the posterior, `pvae.posteriors.VQ` or `pvae.posteriors.FSQ`.

    Args:
        latent_dim: the number of latents.

    Raises:
        ValueError: if latent_dim is below 1, or the posterior has no codes or other latents.
        RuntimeError: if it is called before it is connected.

    Example:
        >>> import pvae
        >>> vae = pvae.build(
        ...     (1, 8, 8), 6, prior=pvae.priors.UniformCodes, posterior=pvae.posteriors.VQ
        ... )
        >>> vae.sample(3).shape
        torch.Size([3, 1, 8, 8])
    """

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), of event shape (latent_dim,)."""
        return distributions.UniformCodes(self.codes)
