"""The spline flow."""

from collections.abc import Sequence
from functools import partial

import pyro.distributions as dist
import torch
from pyro.distributions.transforms import Permute
from torch import Tensor, nn
from torch.distributions import Transform
from torch.distributions.transforms import AffineTransform

from pvae.annotations import NetworkOrFactory, Shape
from pvae.checks import check_size
from pvae.distributions.spline_coupling import SplineCoupling
from pvae.networks.mlp import MLP
from pvae.posteriors.flow import Flow, flowed

BOUND = 4.0  # the standard normal has a mass of 6e-5 beyond
MOST_BINS = 500  # each at least a thousandth wide


class SplineFlow(Flow):
    r"""A diagonal normal whose noise is transformed by splines (Durkan et al. 2019).

    .. math::
        z = \mu(x) + \sigma(x)\, f_x(\epsilon), \quad \epsilon \sim N(0, I)

    f is made of coupling steps. Each leaves the first d // 2 values unchanged, transforms every one
    of the others by a monotone rational-quadratic spline on [-4, 4] and the identity beyond, and
    reverses their order. A small network computes knots and slopes from the unchanged values and
    the context. Two steps transform every latent. The encoder network returns mu, log sigma, and
    the context vector.

    The inverse is in closed form, so any point can be scored.

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents d.
        network: maps event_shape to (2 d + context_dim,): a module, or a factory that takes the two
            shapes; ``None`` for an `MLP`.
        layers: the number of coupling steps.
        bins: pieces of each spline, 2 to 500.
        hidden: sizes of the hidden layers of the network in each step.
        context_dim: the length of the context vector.

    Shape:
        x of (\*batch, \*event_shape) to a distribution of batch shape batch, event shape (d,).

    Raises:
        ValueError: if a size is below 1, bins outside 2 to 500, or the network does not fit.

    Example:
        >>> import torch
        >>> from pvae.posteriors import SplineFlow
        >>> q = SplineFlow((1, 8, 8), 2)(torch.zeros(5, 1, 8, 8))
        >>> q.log_prob(torch.zeros(5, 2)).shape
        torch.Size([5])
    """

    reverse: Tensor

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        network: NetworkOrFactory | None = None,
        layers: int = 2,
        bins: int = 8,
        hidden: Sequence[int] = (128,),
        context_dim: int = 64,
    ) -> None:
        check_size("latent_dim", latent_dim)
        if not 2 <= check_size("bins", bins) <= MOST_BINS:
            raise ValueError(f"bins is {bins}: a spline has 2 to {MOST_BINS} of them.")
        check_size("layers", layers)
        super().__init__(event_shape, latent_dim, [check_size("context_dim", context_dim)], network)
        self.bins = bins
        self.split = latent_dim // 2
        self.register_buffer("reverse", torch.arange(latent_dim).flip(0), persistent=False)
        self.couplings = nn.ModuleList(
            MLP(
                (self.split + context_dim,),
                ((latent_dim - self.split) * (3 * bins - 1),),
                hidden=hidden,
            )
            for _ in range(layers)
        )

    def steps(self, *vectors: Tensor) -> list[Transform]:
        """Return the coupling steps, with a reversal after each."""
        (context,) = vectors
        steps: list[Transform] = []
        for network in self.couplings:
            given = partial(_given, network, context)
            steps += [SplineCoupling(self.split, given, self.bins, BOUND), Permute(self.reverse)]
        return steps

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(z|x)."""
        loc, log_scale, context = self.raw(x)
        noise = dist.Normal(torch.zeros_like(loc), torch.ones_like(loc)).to_event(1)
        # Splines on a fixed interval suit the noise for any x, but not z.
        place = AffineTransform(loc, log_scale.exp(), event_dim=1, cache_size=1)
        return flowed(noise, [*self.steps(context), place])


def _given(network: nn.Module, context: Tensor, left: Tensor) -> Tensor:
    """Call a network on a context and the values that a coupling leaves unchanged."""
    return network(torch.cat((left, context.expand(*left.shape[:-1], -1)), -1))
