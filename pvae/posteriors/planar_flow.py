"""The planar flow."""

from pyro.distributions.transforms.planar import ConditionedPlanar
from torch import Tensor
from torch.distributions import Transform

from pvae.annotations import NetworkOrFactory, Shape
from pvae.checks import check_size
from pvae.posteriors.flow import Flow, no_inverse


class PlanarFlow(Flow):
    r"""A diagonal normal through planar steps (Rezende and Mohamed 2015).

    .. math::
        f(z) = z + \hat u \tanh(w^T z + b), \quad
        \log |\det| = \log(1 + (1 - \tanh^2(w^T z + b))\, w^T \hat u)

    Each step moves z along one direction. The network returns mu, log sigma, and u, w and b of
    every step; u-hat is u moved along w until w^T u-hat > -1, which makes the step invertible
    (their appendix A.1).

    The inverse has no closed form: the distribution scores only the latest of its own draws, as
    inference requires, and raises NotImplementedError for other points.

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents d.
        network: maps event_shape to (2 d + layers (2 d + 1),): a module, or a factory that takes
            the two shapes; ``None`` for an `MLP`.
        layers: the number of steps.

    Shape:
        x of (\*batch, \*event_shape) to a distribution of batch shape batch, event shape (d,).

    Raises:
        ValueError: if a size is below 1, or the network does not fit.

    Example:
        >>> import torch
        >>> from pvae.posteriors import PlanarFlow
        >>> q = PlanarFlow((1, 8, 8), 2, layers=4)(torch.zeros(5, 1, 8, 8))
        >>> q.log_prob(q.rsample()).shape
        torch.Size([5])
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        network: NetworkOrFactory | None = None,
        layers: int = 4,
    ) -> None:
        check_size("latent_dim", latent_dim)
        sizes = [1, latent_dim, latent_dim] * check_size("layers", layers)
        super().__init__(event_shape, latent_dim, sizes, network)

    def steps(self, *vectors: Tensor) -> list[Transform]:
        """Return the planar steps."""
        return [_Planar(vectors[i : i + 3]) for i in range(0, len(vectors), 3)]


class _Planar(ConditionedPlanar):
    def _inverse(self, y: Tensor) -> Tensor:
        raise NotImplementedError(no_inverse(self))
