"""Latents as unconstrained real vectors with a differentiable density, for HMC."""

from typing import Any, TypeAlias

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.distributions import biject_to
from torch.distributions.mixture_same_family import MixtureSameFamilyConstraint

from pvae.distributions import HypersphericalUniform
from pvae.interfaces import Model
from pvae.marginal import Marginal
from pvae.vae import VAE


class Smooth:
    """Latents that a bijection maps to real vectors u; the identity for real latents."""

    def __init__(self, p: dist.TorchDistribution, support: constraints.Constraint) -> None:
        self.z = biject_to(support)
        self.p = dist.TransformedDistribution(p, [self.z.inv])
        (self.dim,) = self.p.event_shape

    def sample(self, shape: torch.Size) -> Tensor:
        """Sample u, shape (*shape, dim)."""
        return self.p.expand(shape).sample()

    def log_prob(self, u: Tensor) -> Tensor:
        """The log-density of u."""
        return self.p.log_prob(u)


class Sphere:
    """Latents on the unit sphere, as directions of u, with lengths distributed as for N(0, I)."""

    def __init__(self, p: dist.TorchDistribution) -> None:
        self.p = p
        (self.dim,) = p.event_shape

    def sample(self, shape: torch.Size) -> Tensor:
        """Sample u, shape (*shape, dim)."""
        z = self.p.expand(shape).sample()
        return z * torch.randn_like(z).norm(dim=-1, keepdim=True)

    def log_prob(self, u: Tensor) -> Tensor:
        """The log-density of u: N(0, I), weighted by that of its direction."""
        z = self.z(u)
        normal = dist.Normal(torch.zeros_like(u), 1).to_event(1)
        uniform = HypersphericalUniform(self.dim, u.dtype, u.device)
        return normal.log_prob(u) + self.p.log_prob(z) - uniform.log_prob(z)

    def z(self, u: Tensor) -> Tensor:
        """The direction of u."""
        return u / u.norm(dim=-1, keepdim=True)


class Hierarchy:
    """Latents with a VAE as prior: u holds the latents of that VAE, then these latents."""

    def __init__(self, vae: Model) -> None:
        self.vae = vae
        self.above: Latents = latents_of(vae.prior())
        # The support of the latents does not depend on the levels above; their density does.
        self.below = self._given(self.above.sample(torch.Size()))
        self.dim: int = self.above.dim + self.below.dim

    def sample(self, shape: torch.Size) -> Tensor:
        """Sample u, shape (*shape, dim)."""
        above = self.above.sample(shape)
        return torch.cat([above, self._given(above).sample(shape)], -1)

    def log_prob(self, u: Tensor) -> Tensor:
        """The joint log-density of u, over all levels."""
        above, below = u.split([self.above.dim, self.below.dim], -1)
        return self.above.log_prob(above) + self._given(above).log_prob(below)

    def z(self, u: Tensor) -> Tensor:
        """The latents in u, without those of the levels above."""
        return self.below.z(u[..., self.above.dim :])

    def _given(self, above: Tensor) -> "Latents":
        return latents_of(self.vae.likelihood(self.above.z(above)))


Latents: TypeAlias = Smooth | Sphere | Hierarchy


def latents(vae: VAE, y: Tensor | None = None) -> Latents:
    """The latents of a VAE as real vectors u, which can be sampled, scored and mapped to z.

    Raises:
        ValueError: if they are discrete.
    """
    try:
        return latents_of(vae.p_z(y))
    except NotImplementedError as error:
        raise ValueError(
            f"The prior {type(vae.prior).__name__} is not over real numbers, and this "
            "method needs gradients: use log_likelihood for discrete latents, evaluate for codes."
        ) from error


def latents_of(p: dist.TorchDistribution) -> Latents:
    """The latents of a prior."""
    if isinstance(p, Marginal):
        return Hierarchy(p.vae)
    support: Any = p.support
    if isinstance(support, MixtureSameFamilyConstraint):  # such as a sum over classes
        support = support.base_constraint
    return Sphere(p) if support is constraints.sphere else Smooth(p, support)
