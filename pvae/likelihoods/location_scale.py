"""Base class of likelihoods with a location and a scale."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pvae.annotations import NetworkOrFactory, Shape
from pvae.conditional import Conditional
from pvae.messages import shown


class LocationScale(Conditional):
    r"""Base class of likelihoods with a location from the network for each element, and a scale.

    The scale is a number that is fixed, ``"learned"``: one for all elements, ``"element"``: one
    for each element, or ``"predicted"``: one for each element and each z, from the network. The
    last three are kept above ``smallest_scale``; a learned one is initialized to ``first_scale``.

    Args:
        latent_dim: the number of latents d.
        event_shape: event shape of x.
        network: as of `Conditional`.
        scale: a positive number or the name of a kind, one of ``scales``.

    Raises:
        ValueError: if the scale is none of these, a size is below 1, or the network does not fit.
    """

    smallest_scale = 1e-3
    first_scale = 0.1
    scales: tuple[str, ...] = ("learned", "element", "predicted")

    def __init__(
        self,
        latent_dim: int,
        event_shape: Shape,
        network: NetworkOrFactory | None = None,
        scale: float | Literal["learned", "element", "predicted"] = "learned",
    ) -> None:
        if isinstance(scale, int | float) and not isinstance(scale, bool):
            good = 0 < scale < float("inf")
        else:
            good = isinstance(scale, str) and scale in self.scales
        if not good:
            *names, last = map(repr, self.scales)
            raise ValueError(
                f"scale is {shown(scale)}: it must be a positive number, {', '.join(names)} or "
                f"{last}."
            )
        outputs = 2 if scale == "predicted" else 1
        super().__init__((latent_dim,), event_shape, outputs=outputs, network=network)
        self.scale = scale
        if scale in ("learned", "element"):
            shape = self.event_shape if scale == "element" else ()
            self.log_scale = nn.Parameter(torch.full(shape, self.first_scale).log())

    def loc_scale(self, z: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return the location, of shape (\*batch, \*event_shape), and the scale, which broadcasts.

        Args:
            z: shape (\*batch, d).
        """
        loc, *raw_scale = self.raw(z)
        if self.scale == "predicted":
            return loc, self.smallest_scale + softplus(raw_scale[0])
        if self.scale in ("learned", "element"):
            return loc, self.smallest_scale + self.log_scale.exp()
        return loc, loc.new_tensor(self.scale)
