"""The space of the latents: its kind, and the point of it that is nearest to a vector."""

from typing import Any, Literal

import torch
from pyro.distributions import constraints
from torch import Tensor, nn

from pvae.distributions import Codes, PoincareBall, RelaxedBernoulli, RelaxedOneHot
from pvae.distributions.elements import element_support
from pvae.messages import shorten
from pvae.vae import VAE

Kind = Literal["real", "sphere", "ball", "binary", "one-hot", "codes", "bounded"]


class Space:
    """The support of a prior, for latents flattened to vectors.

    Args:
        vae: the VAE.
        y: a label, if its prior sees labels.

    Attributes:
        kind: ``"real"``, ``"sphere"``, ``"ball"``, ``"binary"``, ``"one-hot"``, ``"codes"``, or
            ``"bounded"`` for others.
        groups: the number of one-hot variables.
        radius: the length that latents on a sphere have, or in a ball have at most.
        size: the number of latents.
    """

    def __init__(self, vae: VAE, y: object = None) -> None:
        with vae.evaluating():
            support = vae.p_z(y).support
        if support is None:
            raise ValueError(f"The prior {type(vae.prior).__name__} does not say its support.")
        self.support: Any = support
        self.shape = vae.latent_shape
        self.size = vae.latent_shape.numel()
        self.groups = 1
        self.radius = 1.0
        base = element_support(support)
        self.kind: Kind = "bounded"
        if isinstance(base, type(constraints.real)):
            self.kind = "real"
        elif base is constraints.sphere:
            self.kind = "sphere"
        elif isinstance(base, PoincareBall):
            self.kind = "ball"
            self.radius = 0.999 * base.radius  # at the border decoders have no meaning
        elif isinstance(base, Codes):
            self.kind = "codes"
        elif isinstance(base, type(RelaxedBernoulli.support)):
            self.kind = "binary"
        elif isinstance(base, type(RelaxedOneHot(torch.zeros(1, 2)).support)):
            self.kind = "one-hot"
            self.groups = base.groups

    @property
    def is_discrete(self) -> bool:
        """Whether all the mass is at a finite number of points."""
        return self.kind in ("binary", "one-hot", "codes")

    def nearest(self, z: Tensor) -> Tensor:
        r"""The latents of the support that are nearest to vectors, shape (\*batch, size)."""
        if self.kind == "sphere":
            norm = z.norm(dim=-1, keepdim=True)
            first = torch.zeros_like(z)
            first[..., 0] = 1
            return torch.where(norm > 1e-6, z / norm.clamp_min(1e-6), first)
        if self.kind == "ball":
            return z * (self.radius / z.norm(dim=-1, keepdim=True).clamp_min(self.radius))
        if self.kind == "codes":
            codes = self.support
            return codes.vectors(codes.indices(z.to(codes.codebook))).to(z)
        if self.kind == "binary":
            return (z > 0.5).to(z)
        if self.kind == "one-hot":
            grouped = z.unflatten(-1, (self.groups, -1))
            best = nn.functional.one_hot(grouped.argmax(-1), grouped.shape[-1])
            return best.to(z).flatten(-2)
        return z

    def check(self, z: Tensor) -> Tensor:
        r"""Return vectors as latents, shape (\*batch, \*latent_shape).

        Raises:
            ValueError: if some lie outside the support.
        """
        inside = z.isfinite().all(-1)
        if self.kind == "codes":  # any vector stands for the nearest codes
            z = self.nearest(z)
        shaped = z.unflatten(-1, self.shape)
        if bool(inside.all()):
            own = self.support.check(shaped)
            inside = own.flatten(z.dim() - 1).all(-1) if own.dim() >= z.dim() else own
        if not bool(inside.all()):
            wrong = z.reshape(-1, self.size)[~inside.reshape(-1)][0].tolist()
            values = shorten(", ".join(f"{value:g}" for value in wrong), 60)
            raise ValueError(f"z = ({values}) lies outside the support of the prior, {self.words}.")
        return shaped

    @property
    def words(self) -> str:
        """The support, in words."""
        return {
            "real": "finite real numbers",
            "sphere": "vectors of length 1",
            "ball": f"vectors shorter than {self.radius:g}",
            "binary": "numbers from 0 to 1",
            "codes": "finite real numbers, which stand for the nearest codes",
            "one-hot": "numbers from 0 to 1 whose sum in each group is 1",
            "bounded": str(self.support).replace("\n", " "),
        }[self.kind]
