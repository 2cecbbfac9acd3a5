"""A posterior whose network returns vectors of different lengths."""

from collections.abc import Callable, Sequence

from torch import Tensor

from pvae.conditional import Conditional
from pvae.interfaces import Network
from pvae.networks.shapes import Shape, check_size


class Split(Conditional):
    """What posteriors have in common whose parameters are no multiple of the latents.

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents.
        sizes: lengths of the vectors, which the network returns as one.
        network: a module, or what makes one from an input shape and an output shape;
            ``None`` for an `MLP`.

    Raises:
        ValueError: if a size is below 1, or the network does not fit.
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        sizes: Sequence[int],
        network: Network | Callable[[Shape, Shape], Network] | None,
    ) -> None:
        check_size("latent_dim", latent_dim)
        super().__init__(event_shape, (sum(sizes),), numbers=1, network=network)
        self.event_shape = (latent_dim,)
        self.sizes = list(sizes)

    def raw(self, context: Tensor) -> tuple[Tensor, ...]:
        """Return the vectors, each of shape (\\*batch, its size), for a context."""
        (out,) = super().raw(context)
        return out.split(self.sizes, dim=-1)
