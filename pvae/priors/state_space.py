"""The state-space prior."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pvae.checks import check_size, check_states
from pvae.distributions.normal_chain import SMALLEST_VARIANCE, NormalChain


class StateSpace(nn.Module):
    r"""A prior over T states in time, each a normal given the state before it.

    .. math::
        p(z) = N(z_1; 0, I) \prod_{t=2}^T
        N\bigl(z_t; \mu(z_{t-1}), \mathrm{diag}\, \sigma^2(z_{t-1})\bigr)

    with the gated transition of the deep Markov model (Krishnan, Shalit, Sontag 2017), in each
    dimension between a linear and a nonlinear one:

    .. math::
        \mu(z) = (1 - g) \odot (A z + a) + g \odot h, \quad
        \sigma^2(z) = \mathrm{softplus}(B\, \mathrm{relu}(h) + b), \quad
        g = \mathrm{sigmoid}(f_g(z)), \quad h = f_h(z)

    Both networks f have one hidden layer; A starts at the identity. z is one vector, the states one
    after the other, so that any posterior over real numbers works with it; the smoothing one is
    `pvae.posteriors.Smoothing`. The likelihood should see each state at its step::

        vae = pvae.build(
            (24, 5),  # 24 steps of 5 values
            latent_dim=48,
            prior=partial(pvae.priors.StateSpace, state_dim=2),
            posterior=partial(pvae.posteriors.Smoothing, state_dim=2),
            likelihood=pvae.likelihoods.Gaussian,
            network=partial(pvae.networks.GRU, state_dim=2),
        )

    A density takes one pass for all steps at once, a draw one after the other.

    Args:
        latent_dim: the number of latents d of all states together.
        state_dim: the number of latents of one state; there are T = d / state_dim states.
        hidden: size of the hidden layer of the networks.

    Raises:
        ValueError: if a size is below 1, or the latents do not divide into states.

    Example:
        >>> from pvae.priors import StateSpace
        >>> StateSpace(48, state_dim=2)().sample((5,)).shape
        torch.Size([5, 48])
    """

    start: Tensor

    def __init__(self, latent_dim: int, state_dim: int = 1, hidden: int = 64) -> None:
        super().__init__()
        self.steps = check_states(latent_dim, state_dim)
        check_size("hidden", hidden)
        if self.steps > 1:  # or there is no transition
            self.gate, self.proposal = (
                nn.Sequential(nn.Linear(state_dim, hidden), nn.ReLU(), nn.Linear(hidden, state_dim))
                for _ in range(2)
            )
            self.linear = nn.Linear(state_dim, state_dim)
            self.variance = nn.Linear(state_dim, state_dim)
            nn.init.eye_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)
        self.register_buffer("start", torch.zeros(state_dim), persistent=False)

    def transition(self, z: Tensor, context: None) -> tuple[Tensor, Tensor]:
        r"""Return mean and scale of the state after z, each of the shape of z, (\*batch, L)."""
        g, h = self.gate(z).sigmoid(), self.proposal(z)
        loc = (1 - g) * self.linear(z) + g * h
        return loc, (SMALLEST_VARIANCE + softplus(self.variance(h.relu()))).sqrt()

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), of event shape (latent_dim,)."""
        return NormalChain(self.transition, self.start, torch.ones_like(self.start), self.steps)
