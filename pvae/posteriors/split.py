"""Base class of posteriors whose network returns vectors of different lengths."""

from collections.abc import Sequence

from torch import Tensor

from pvae.annotations import NetworkOrFactory, Shape
from pvae.checks import check_size
from pvae.conditional import Conditional


class Split(Conditional):
    """Base class of posteriors whose network returns vectors of different lengths.

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents.
        sizes: lengths of the vectors, which the network returns as one.
        network: a module, or a factory that takes an input shape and an output shape;
            ``None`` for an `MLP`.

    Raises:
        ValueError: if a size is below 1, or the network does not fit.
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        sizes: Sequence[int],
        network: NetworkOrFactory | None,
    ) -> None:
        check_size("latent_dim", latent_dim)
        super().__init__(event_shape, (sum(sizes),), outputs=1, network=network)
        self.event_shape = (latent_dim,)
        self.sizes = list(sizes)

    def raw(self, context: Tensor) -> tuple[Tensor, ...]:
        """Return the vectors, each of shape (\\*batch, its size), for a context."""
        (out,) = super().raw(context)
        return out.split(self.sizes, dim=-1)
