"""Base classes of normalizing-flow posteriors."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Transform, constraints

from pvae.annotations import NetworkOrFactory, Shape
from pvae.posteriors.split import Split


class Flow(Split):
    r"""Base class of posteriors that transform a diagonal normal by a map that depends on x.

    .. math::
        z = f_x(z_0), \quad z_0 \sim N(\mu(x), \mathrm{diag}\, \sigma(x)^2), \quad
        \log q(z|x) = \log q_0(z_0|x) - \log |\det \partial f_x / \partial z_0|

    The network returns mu, log sigma, and the parameters of the flow's steps. The distribution
    caches its latest draw, so that scoring it needs no inverse. With gradients enabled the cache
    is not used for a draw that was made without gradients, since it would have none.

    Args:
        event_shape: event shape of x.
        latent_dim: the number of latents.
        sizes: lengths of the further vectors that the network returns.
        network: a module, or a factory that takes an input shape and an output shape;
            ``None`` for an `MLP`.
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        sizes: Sequence[int],
        network: NetworkOrFactory | None,
    ) -> None:
        super().__init__(event_shape, latent_dim, [latent_dim, latent_dim, *sizes], network)

    def steps(self, *vectors: Tensor) -> list[Transform]:
        r"""Return the steps of the flow.

        Args:
            vectors: the outputs of the network for x, each of shape (\*batch, its size).
        """
        raise NotImplementedError

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(z|x)."""
        loc, log_scale, *vectors = self.raw(x)
        base = dist.Normal(loc, log_scale.exp()).to_event(1)
        return flowed(base, self.steps(*vectors))


def flowed(base: dist.TorchDistribution, steps: list[Transform]) -> dist.TorchDistribution:
    """Return the base distribution transformed by the steps, which caches its latest draw."""
    return dist.TransformedDistribution(base, [*steps, _Memory()])


class Step(Transform):
    """A step of a flow, which computes its value and log |det| together and caches the latest."""

    domain = codomain = constraints.real_vector
    bijective = True

    def __init__(self) -> None:
        super().__init__(cache_size=1)
        self._latest: tuple[Tensor, Tensor] | None = None

    def call_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return y and log |det dy/dx|, of shapes (\*batch, d) and (\*batch,)."""
        raise NotImplementedError

    def _call(self, x: Tensor) -> Tensor:
        y, log_det = self.call_and_log_det(x)
        self._latest = x, log_det
        return y

    def _inverse(self, y: Tensor) -> Tensor:
        raise NotImplementedError(no_inverse(self))

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        r"""Return log |det dy/dx|, of shape (\*batch,)."""
        if self._latest is None or x is not self._latest[0]:
            _, log_det = self.call_and_log_det(x)
            self._latest = x, log_det
        return self._latest[1]


class _Memory(Transform):
    """The identity at the end of a flow, which hides the latest draw from the cache if needed."""

    domain = codomain = constraints.real_vector
    bijective = True

    def __init__(self) -> None:
        super().__init__()
        self._latest: tuple[Tensor, Tensor, bool] | None = None

    def _call(self, x: Tensor) -> Tensor:
        y = x.view_as(x)
        self._latest = x, y, torch.is_grad_enabled()
        return y

    def _inverse(self, y: Tensor) -> Tensor:
        if self._latest is not None:
            x, latest, with_gradients = self._latest
            if y is latest and (with_gradients or not torch.is_grad_enabled()):
                return x
        return y.view_as(y)  # another tensor, which is not in the cache

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.zeros_like(x[..., 0])


def no_inverse(step: Transform) -> str:
    """The error message for a flow without an inverse."""
    return (
        f"A {type(step).__name__.lstrip('_')} flow has no inverse in closed form: it scores the "
        "latest of its draws only, and with gradients only if it was drawn by rsample."
    )


def matvec(matrix: Tensor, vector: Tensor) -> Tensor:
    r"""Multiply, with shapes (\*batch, n, m) and (\*batch, m)."""
    return torch.matmul(matrix, vector.unsqueeze(-1)).squeeze(-1)
