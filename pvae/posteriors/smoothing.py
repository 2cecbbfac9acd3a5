"""The smoothing posterior of a state space."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from pvae.annotations import NetworkOrFactory, Shape
from pvae.checks import check_size, check_states
from pvae.conditional import Conditional
from pvae.distributions.normal_chain import NormalChain, mean_and_scale
from pvae.distributions.padded import padding
from pvae.interfaces import option


class Smoothing(Conditional):
    r"""A posterior over states in time, each given the state before it and the data from there on.

    .. math::
        q(z|x) = \prod_{t=1}^T N\bigl(z_t; \mu(z_{t-1}, h_t),
        \mathrm{diag}\, \sigma^2(z_{t-1}, h_t)\bigr), \quad
        \mu = W c_t + w, \quad \sigma^2 = \mathrm{softplus}(V c_t + v), \quad
        c_t = \tfrac{1}{2} \bigl(\tanh(U z_{t-1} + u) + h_t\bigr)

    (the deep Kalman smoother, DKS, of Krishnan, Shalit, Sontag 2017, with its combiner c_t, and h_t
    the output of the network). The exact posterior of a state space factorizes in this way, with
    h_t a function of x_t, ..., x_T: use it with a `pvae.networks.GRU` of the same state_dim, which
    reads x from its end. The state z_0 before the first is learned. See `pvae.priors.StateSpace`
    for an example; it works with any prior over real numbers.

    *Lengths.* Nothing is known of states after the end of a sequence that NaN pads. With a
    likelihood `pvae.likelihoods.Padded` and the prior `pvae.priors.StateSpace` they follow the
    prior's transition, as under the exact posterior, so that they add nothing to the KL. `pvae.VAE`
    calls `connect` to set the prior, whose weights are shared, not owned.

    Args:
        event_shape: event shape of x, (T, D) for T steps of D values.
        latent_dim: the number of latents d of all states together.
        network: maps event_shape to (message d,), for each state so many numbers h_t for each of
            its latents: a module, or a factory that takes the two shapes; ``None`` for an `MLP`.
        state_dim: the number of latents of one state; there are T = d / state_dim states.
        message: how many numbers of h_t there are for each latent of a state.

    Shape:
        x of (\*batch, \*event_shape) to a distribution of batch shape batch, event shape (d,).

    Raises:
        ValueError: if a size is below 1, the latents do not divide into states, or the network does
            not fit.

    Example:
        >>> import torch
        >>> from pvae.posteriors import Smoothing
        >>> Smoothing((24, 5), 48, state_dim=2)(torch.zeros(7, 24, 5)).sample().shape
        torch.Size([7, 48])
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_dim: int,
        network: NetworkOrFactory | None = None,
        state_dim: int = 1,
        message: int = 8,
    ) -> None:
        self.steps = check_states(latent_dim, state_dim)
        check_size("message", message)
        super().__init__(event_shape, (latent_dim,), outputs=message, network=network)
        size = message * state_dim
        self.before = nn.Linear(state_dim, size)
        self.loc = nn.Linear(size, state_dim)
        self.variance = nn.Linear(size, state_dim)
        self.start = nn.Parameter(torch.zeros(state_dim))
        # A tuple hides the prior from torch, and so from parameters and state_dict.
        self._prior: tuple[nn.Module, ...] = ()

    def connect(self, prior: nn.Module, likelihood: nn.Module) -> None:
        """Set the prior that states after the end of a padded sequence follow."""
        ends = option(likelihood, "padded") and len(self.context_shape) == 2
        self._prior = (prior,) if ends and option(prior, "transition") else ()

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(z|x)."""
        h = torch.cat([raw.unflatten(-1, (self.steps, -1)) for raw in self.raw(x)], -1)
        # W and V are one matrix, and what h_t adds is computed for all steps at once.
        weight = 0.5 * torch.cat([self.loc.weight, self.variance.weight])
        seen = linear(h, weight, torch.cat([self.loc.bias, self.variance.bias]))

        def own(z: Tensor, seen: Tensor) -> Tensor:
            return seen + linear(self.before(z).tanh(), weight)

        def transition(z: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
            return mean_and_scale(own(z, seen))

        def to_the_end(z: Tensor, seen: Tensor, pads: Tensor) -> tuple[Tensor, Tensor]:
            return mean_and_scale(torch.where(pads, prior(z), own(z, seen)))

        first, later = transition(self.start, seen[..., 0, :]), seen[..., 1:, :]
        if self.steps == 1 or not self._prior:
            return NormalChain(transition, *first, self.steps, later)
        prior = option(self._prior[0], "transition")()
        return NormalChain(to_the_end, *first, self.steps, later, padding(x, 2)[..., 1:, :])
