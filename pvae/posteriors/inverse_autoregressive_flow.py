"""The inverse autoregressive flow."""

from collections.abc import Sequence
from typing import cast

import torch
from pyro.nn import ConditionalAutoRegressiveNN
from torch import Tensor, nn
from torch.distributions import Transform
from torch.nn.functional import logsigmoid

from pvae.annotations import NetworkOrFactory, Shape
from pvae.checks import check_shape, check_size
from pvae.posteriors.flow import Flow, Step

FORGET_BIAS = 2.0


class InverseAutoregressiveFlow(Flow):
    r"""A diagonal normal through inverse autoregressive steps (Kingma et al. 2016).

    .. math::
        f(z)_i = g_i z_i + (1 - g_i) m_i, \quad g_i = \mathrm{sigmoid}(2 + s_i), \quad
        \log |\det| = \sum_i \log g_i

    where m_i and s_i depend on z_1 ... z_{i-1} and on x, by a masked network (MADE, Germain et al.
    2015). The order of the latents is reversed from step to step. The encoder network returns mu,
    log sigma, and a context vector for the masked networks.

    Drawing, and scoring the latest draw, takes one pass through each masked network; scoring other
    points takes d passes, and is exact too.

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents d, at least 2.
        network: maps event_shape to (2 d + context_dim,): a module, or a factory that takes the two
            shapes; ``None`` for an `MLP`.
        layers: the number of steps.
        hidden: sizes of the hidden layers of each masked network, none below d.
        context_dim: the length of the context vector.

    Shape:
        x of (\*batch, \*event_shape) to a distribution of batch shape batch, event shape (d,).

    Raises:
        ValueError: if a size is below 1, latent_dim below 2, a hidden layer smaller than
            latent_dim, or the network does not fit.

    Example:
        >>> import torch
        >>> from pvae.posteriors import InverseAutoregressiveFlow
        >>> q = InverseAutoregressiveFlow((1, 8, 8), 2)(torch.zeros(5, 1, 8, 8))
        >>> q.log_prob(torch.zeros(5, 2)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        network: NetworkOrFactory | None = None,
        layers: int = 2,
        hidden: Sequence[int] = (128,),
        context_dim: int = 64,
    ) -> None:
        check_size("latent_dim", latent_dim)
        if latent_dim == 1:
            raise ValueError(
                "latent_dim is 1: an autoregressive flow needs at least 2 latents; for one there "
                "is SplineFlow."
            )
        hidden = check_shape("hidden", hidden)
        if min(hidden) < latent_dim:
            raise ValueError(
                f"hidden is {hidden}: no hidden layer of a masked network may be smaller than "
                f"latent_dim, which is {latent_dim}."
            )
        check_size("layers", layers)
        super().__init__(event_shape, latent_dim, [check_size("context_dim", context_dim)], network)
        order = torch.arange(latent_dim)
        orders = [cast(torch.LongTensor, each) for each in (order, order.flip(0))]
        self.masked = nn.ModuleList(
            ConditionalAutoRegressiveNN(
                latent_dim, context_dim, list(hidden), permutation=orders[i % 2]
            )
            for i in range(layers)
        )

    def steps(self, *vectors: Tensor) -> list[Transform]:
        """Return the autoregressive steps."""
        return [_InverseAutoregressive(network, *vectors) for network in self.masked]


class _InverseAutoregressive(Step):
    # Pyro's AffineAutoregressive is the same map, but inverts in single precision only.
    def __init__(self, network: nn.Module, context: Tensor) -> None:
        super().__init__()
        self.network = network
        self.context = context

    def call_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        m, s = self._step(x)
        gate = torch.sigmoid(s + FORGET_BIAS)
        return gate * x + (1 - gate) * m, logsigmoid(s + FORGET_BIAS).sum(-1)

    def _inverse(self, y: Tensor) -> Tensor:
        # Each pass computes one more latent, in the network's order: the first needs no pass.
        x = torch.zeros_like(y)
        for _ in range(y.shape[-1]):
            m, s = self._step(x)
            x = m + (y - m) / torch.sigmoid(s + FORGET_BIAS)
        return x

    def _step(self, x: Tensor) -> tuple[Tensor, Tensor]:
        batch = torch.broadcast_shapes(x.shape[:-1], self.context.shape[:-1])
        return self.network(x.expand(*batch, -1), self.context)
